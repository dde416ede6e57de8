//! The `Host` of a request, by tables of cases.

use proptest::prelude::*;

use super::normal_host;

proptest! {
    #[test]
    fn a_normal_host_is_its_own_normal_form(host in "[A-Za-z0-9_.:\\[\\]-]{0,20}|[a-zA-Z]{1,5}(\\.[a-z0-9-]{1,5}){0,3}\\.?(:[0-9]{0,5})?") {
        if let Some(normal) = normal_host(&host) {
            prop_assert!(!normal.bytes().any(|b| b.is_ascii_uppercase()) || normal.starts_with('['));
            prop_assert_eq!(normal_host(&normal), Some(normal.clone()));
        }
    }
}

#[test]
fn a_host_is_looked_up_without_port_dot_and_case() {
    let cases = [
        ("shop.example.com", Some("shop.example.com")),
        ("Shop.EXAMPLE.com", Some("shop.example.com")),
        ("shop.example.com:8080", Some("shop.example.com")),
        ("shop.example.com:", Some("shop.example.com")),
        ("shop.example.com.", Some("shop.example.com")),
        ("SHOP.example.com.:443", Some("shop.example.com")),
        ("10.0.0.5:80", Some("10.0.0.5")),
        ("a_b.x", Some("a_b.x")),
        ("[::1]", Some("[::1]")),
        ("[::1]:8080", Some("[::1]")),
        ("[2001:DB8::1]", Some("[2001:DB8::1]")),
        ("", None),
        (".", None),
        (":80", None),
        ("..", None),
        ("a..b", None),
        (".a", None),
        ("a..", None),
        ("a:b", None),
        ("a:80:80", None),
        ("a:65536", None),
        ("a:+80", None),
        ("::1", None),
        ("[::1", None),
        ("[::1]x", None),
        ("[::1]:x", None),
        ("[a]", None),
        ("[", None),
        ("[]", None),
        ("[é]", None),
        ("a b", None),
        ("a/b", None),
        ("a@b", None),
        ("*.x", None),
        ("bücher.example", None),
    ];
    for (host, expected) in cases {
        assert_eq!(normal_host(host).as_deref(), expected, "{host}");
    }
    assert!(normal_host(&"a".repeat(253)).is_some());
    assert!(normal_host(&"a".repeat(254)).is_none());
}

#[test]
fn a_host_that_is_normal_is_not_copied() {
    assert!(matches!(normal_host("a.x:80"), Some(std::borrow::Cow::Borrowed("a.x"))));
}
