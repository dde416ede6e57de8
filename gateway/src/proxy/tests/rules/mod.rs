//! The rules that RFC 9110 and RFC 9112 give a proxy, as tables: what a client sends, what the upstream sees of it, what
//! it answers, and what the client gets.
//!
//! docs/HTTP.md is the same table for users: a test holds that every rule here is told there.

mod answers;
mod pressure;
mod requests;
mod scenes;

use super::harness::{Gateway, Reply, Upstream, short};

const PROBE: &str = "GET /probe HTTP/1.1\r\nHost: app.test\r\n\r\n";
const PROBED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nprobe";

/// One rule. In `client` and `upstream` a line ends in CR LF; `␊` is a bare line feed.
///
/// An expectation is how a line begins that must be there or, after `!`, must not. The lines are the first one, the
/// header fields with names in lower case, `body=`, `trailer ` and a trailer, and `cut` for a message that has no end.
struct Rule {
    /// RFC and section.
    section: &'static str,
    /// As docs/HTTP.md words it.
    says: &'static str,
    client: &'static str,
    /// What the upstream must have received. Empty: nothing.
    sees: &'static [&'static str],
    upstream: &'static str,
    /// What the client must receive.
    gets: &'static [&'static str],
    then: Then,
}

/// What becomes of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The client may ask again.
    Stays,
    /// The client's connection ends.
    Closes,
    /// The upstream closes its own after its answer; the client may ask again.
    UpstreamCloses,
    /// The upstream closes its own after its answer, and the client's ends as well.
    BothClose,
}

use Then::{BothClose, Closes, Stays, UpstreamCloses};

const GET: &str = "GET / HTTP/1.1\nHost: app.test\n\n";
const POST: &str = "POST / HTTP/1.1\nHost: app.test\nContent-Length: 4\n\nbody";
const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const FINE: &[&str] = &["HTTP/1.1 200", "body=ok"];

fn wire(text: &str) -> String {
    text.replace('\n', "\r\n").replace('␊', "\n")
}

/// A message as lines that expectations are about.
fn lines(message: Option<Reply>) -> Vec<String> {
    let Some(message) = message else { return vec!["cut".to_owned()] };
    let mut lines = vec![message.start.clone()];
    lines.extend(message.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.push(format!("body={}", String::from_utf8_lossy(&message.body)));
    lines.extend(message.trailers.iter().map(|(name, value)| format!("trailer {name}: {value}")));
    let length = message.header("content-length").and_then(|length| length.parse().ok());
    if length.is_some_and(|length| message.body.len() < length) {
        lines.push("cut".to_owned());
    }
    lines
}

fn check(rule: &Rule, whose: &str, lines: &[String], expected: &[&str]) {
    for expected in expected {
        let (wanted, start) = expected.strip_prefix('!').map_or((true, *expected), |start| (false, start));
        let found = lines.iter().any(|line| line.starts_with(start));
        assert_eq!(found, wanted, "{} {}: {whose} and `{expected}`:\n{}", rule.section, rule.says, lines.join("\n"));
    }
}

fn serve(rule: &Rule) -> Upstream {
    let (answer, closes) = (wire(rule.upstream), matches!(rule.then, UpstreamCloses | BothClose));
    Upstream::scripted(move |_, wire, seen| {
        while let Some(request) = wire.message("") {
            let probe = request.start.contains(" /probe ");
            if !probe {
                seen.send(request).unwrap();
            }
            wire.send(if probe { PROBED } else { &answer });
            if closes && !probe {
                return;
            }
        }
    })
}

impl Rule {
    fn hold(&self) {
        let upstream = serve(self);
        let gateway = Gateway::one(&short(&upstream));
        let mut client = gateway.connect();
        client.send(wire(self.client));
        let method = self.client.trim_start().split(' ').next().unwrap_or_default();
        let mut reply = client.message(method);
        if method == "HEAD" {
            // Its length is that of the answer to GET.
            reply.iter_mut().for_each(|reply| reply.headers.retain(|(name, _)| name != "content-length"));
        }
        check(self, "the client", &lines(reply), self.gets);
        self.check_upstream(&upstream);
        if matches!(self.then, Stays | UpstreamCloses) {
            client.send(PROBE);
            check(self, "the client that asks again", &lines(client.message("GET")), &["body=probe"]);
        } else {
            assert!(client.is_closed(), "{} {}: the client's connection ends", self.section, self.says);
        }
        assert!(upstream.saw_nothing(), "{} {}: the upstream sees one request", self.section, self.says);
    }

    fn check_upstream(&self, upstream: &Upstream) {
        if self.sees.is_empty() {
            assert!(upstream.saw_nothing(), "{} {}: the upstream sees nothing", self.section, self.says);
        } else {
            check(self, "the upstream", &lines(Some(upstream.request())), self.sees);
        }
    }
}

/// Every rule is held, and all that are not are told of.
fn hold(rules: &[Rule]) {
    let broken = rules.iter().filter(|rule| std::panic::catch_unwind(|| rule.hold()).is_err()).count();
    assert_eq!(broken, 0, "of {} rules", rules.len());
}

#[test]
fn every_rule_is_told_to_users() {
    let told = include_str!("../../../../../docs/HTTP.md");
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for rule in requests::RULES.iter().chain(answers::RULES) {
        assert!(told.contains(&format!("| {} | {} |", rule.section, rule.says)), "{} {}", rule.section, rule.says);
    }
}
