//! What the upstream is told about the client: X-Forwarded-*, Forwarded and Via.

use std::net::IpAddr;

use http::Version;

use super::target;
use crate::message::{Fields, names};

/// The client at the other end of a connection, told once for all its requests.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address; `None` on a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// Whether what it says of others is believed.
    pub(crate) trusted: bool,
    /// Its address as it is told.
    text: Option<Box<str>>,
}

impl Peer {
    /// A client at `address`.
    pub(crate) fn new(address: Option<IpAddr>, trusted: bool) -> Self {
        let address = address.map(|a| a.to_canonical());
        let text = address.map(|a| a.to_string().into_boxed_str());
        Self { address, trusted, text }
    }

    /// The client a request is from: the peer, or the last address that a trusted peer names.
    pub(crate) fn client(&self, fields: &Fields) -> Option<IpAddr> {
        let named = || str::from_utf8(fields.all(names::X_FORWARDED_FOR).next_back()?).ok()?.rsplit(',').next();
        let said = if self.trusted { named().and_then(|text| text.trim().parse().ok()) } else { None };
        said.or(self.address)
    }

    /// The scheme the client used, as far as is known: a trusted peer may have ended its TLS.
    pub(crate) fn scheme(&self, fields: &Fields) -> &'static str {
        let said = if self.trusted { fields.get(names::X_FORWARDED_PROTO) } else { None };
        if said.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https")) { "https" } else { "http" }
    }

    /// Writes X-Forwarded-* for the upstream. From a client that is not trusted nothing of the kind is passed on.
    pub(crate) fn announce(&self, fields: &mut Fields) {
        self.set_for(fields);
        if !self.trusted {
            fields.remove(names::FORWARDED);
        }
        self.set(fields, names::X_FORWARDED_PROTO, |fields| fields.set(names::X_FORWARDED_PROTO, "http"));
        self.set(fields, names::X_FORWARDED_HOST, |fields| fields.set_as(names::X_FORWARDED_HOST, names::HOST));
        self.set(fields, names::X_FORWARDED_PORT, set_port);
    }

    fn set_for(&self, fields: &mut Fields) {
        let before = if self.trusted { joined(fields, names::X_FORWARDED_FOR) } else { None };
        match (before, &self.text) {
            (None, Some(own)) => fields.set(names::X_FORWARDED_FOR, own.as_bytes()),
            (None, None) => drop(fields.remove(names::X_FORWARDED_FOR)),
            (Some(mut all), own) => {
                if let Some(own) = own {
                    all.extend_from_slice(b", ");
                    all.extend_from_slice(own.as_bytes());
                }
                fields.set(names::X_FORWARDED_FOR, all);
            }
        }
    }

    fn set(&self, fields: &mut Fields, name: &str, set: impl FnOnce(&mut Fields)) {
        if !(self.trusted && fields.contains(name)) {
            set(fields);
        }
    }
}

/// Appends this gateway to `Via`, with the version that was received (RFC 9110, 7.6.3).
pub(crate) fn append_via(fields: &mut Fields, received: Version) {
    fields.push(names::VIA, if received == Version::HTTP_10 { "1.0 holdgate" } else { "1.1 holdgate" });
}

/// The port the client used: that of the host it names, else that of the scheme that is spoken here.
fn set_port(fields: &mut Fields) {
    match fields.get(names::HOST).and_then(target::port) {
        Some(port) => fields.set_as_part(names::X_FORWARDED_PORT, names::HOST, port),
        None => fields.set(names::X_FORWARDED_PORT, "80"),
    }
}

/// All values of a list field as one list.
fn joined(fields: &Fields, name: &str) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = fields.all(name).collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(trusted: bool, lines: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut fields: Fields = [("host", "shop.example:8080")].iter().chain(lines).copied().collect();
        Peer::new(Some("::ffff:192.0.2.1".parse().unwrap()), trusted).announce(&mut fields);
        fields.remove("host");
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let mut all: Vec<_> = fields.iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
        all.sort();
        all
    }

    fn lines(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    const FORGED: &[(&str, &str)] = &[
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "10.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "other"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=203.0.113.9"),
    ];

    #[test]
    fn what_a_client_says_of_itself_is_replaced() {
        let expected = lines(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "shop.example:8080"),
            ("x-forwarded-port", "8080"),
            ("x-forwarded-proto", "http"),
        ]);
        assert_eq!(announced(false, FORGED), expected);
        assert_eq!(announced(true, &[]), expected);
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_its_own_address_appended() {
        let expected = lines(&[
            ("forwarded", "for=203.0.113.9"),
            ("x-forwarded-for", "203.0.113.9, 10.1.1.1, 192.0.2.1"),
            ("x-forwarded-host", "other"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(announced(true, FORGED), expected);
    }
}
