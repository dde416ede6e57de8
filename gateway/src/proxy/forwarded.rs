//! What the upstream is told about the client: X-Forwarded-*, Forwarded and Via.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use super::target::Target;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTP_PORT: HeaderValue = HeaderValue::from_static("80");
const VIA_11: HeaderValue = HeaderValue::from_static("1.1 holdgate");
const VIA_10: HeaderValue = HeaderValue::from_static("1.0 holdgate");

/// The client at the other end of a connection, told once for all its requests.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address; `None` on a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// Whether what it says of others is believed.
    pub(crate) trusted: bool,
    text: Option<HeaderValue>,
}

impl Peer {
    /// A client at `address`.
    pub(crate) fn new(address: Option<IpAddr>, trusted: bool) -> Self {
        let address = address.map(|a| a.to_canonical());
        let text = address.and_then(|a| HeaderValue::from_str(&a.to_string()).ok());
        Self { address, trusted, text }
    }

    /// The client a request is from: the peer, or the last address that a trusted peer names.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let named = || headers.get_all(&X_FORWARDED_FOR).iter().next_back()?.to_str().ok()?.rsplit(',').next();
        let said = if self.trusted { named().and_then(|text| text.trim().parse().ok()) } else { None };
        said.or(self.address)
    }

    /// The scheme the client used, as far as is known: a trusted peer may have ended its TLS.
    pub(crate) fn scheme(&self, headers: &HeaderMap) -> &'static str {
        let said = if self.trusted { headers.get(&X_FORWARDED_PROTO) } else { None };
        if said.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https")) { "https" } else { "http" }
    }

    /// Writes X-Forwarded-* for the upstream. From a client that is not trusted nothing of the kind is passed on.
    pub(crate) fn announce(&self, headers: &mut HeaderMap, target: &Target) {
        self.set_for(headers);
        if !self.trusted {
            headers.remove(header::FORWARDED);
        }
        self.set(headers, X_FORWARDED_PROTO, || Some(HTTP));
        self.set(headers, X_FORWARDED_HOST, || target.authority.clone());
        self.set(headers, X_FORWARDED_PORT, || Some(port(target)));
    }

    fn set_for(&self, headers: &mut HeaderMap) {
        let before = if self.trusted { joined(headers, &X_FORWARDED_FOR) } else { None };
        let value = match (before, &self.text) {
            (Some(before), Some(own)) => append(&before, own),
            (Some(before), None) => HeaderValue::from_bytes(&before).ok(),
            (None, own) => own.clone(),
        };
        put(headers, X_FORWARDED_FOR, value);
    }

    fn set(&self, headers: &mut HeaderMap, name: HeaderName, value: impl FnOnce() -> Option<HeaderValue>) {
        if !(self.trusted && headers.contains_key(&name)) {
            put(headers, name, value());
        }
    }
}

/// Appends this gateway to `Via`, with the version that was received (RFC 9110, 7.6.3).
pub(crate) fn append_via(headers: &mut HeaderMap, received: Version) {
    let own = if received == Version::HTTP_10 { VIA_10 } else { VIA_11 };
    headers.append(header::VIA, own);
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

fn port(target: &Target) -> HeaderValue {
    target.port().and_then(|p| HeaderValue::from_str(p).ok()).unwrap_or(HTTP_PORT)
}

/// All values of a list header as one list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

fn append(before: &[u8], own: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&[before, b", ", own.as_bytes()].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(trusted: bool, lines: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut request = http::Request::builder().uri("/").header("host", "shop.example:8080");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let target = super::super::target::read(&head).unwrap();
        head.headers.remove("host");
        Peer::new(Some("::ffff:192.0.2.1".parse().unwrap()), trusted).announce(&mut head.headers, &target);
        let mut all: Vec<_> =
            head.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
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
