use super::*;

fn admin(address: &str, token: Option<&str>) -> AdminConfig {
    AdminConfig {
        address: match address.strip_prefix("unix:") {
            Some(path) => ListenAddress::Unix(path.into()),
            None => ListenAddress::Tcp(address.parse().unwrap()),
        },
        token: token.map(str::to_owned),
        token_file: None,
        open_metrics: false,
        allowed_hosts: vec!["admin.example".to_owned(), "exact.example:444".to_owned()],
    }
}

fn request(headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri("/v1/status");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn check(config: &AdminConfig, headers: &[(&str, &str)]) -> Result<(), Refusal> {
    judge(config, Some(&Call::Status), &request(headers))
}

#[test]
fn without_a_token_only_our_own_names_are_answered() {
    let config = admin("127.0.0.1:9901", None);
    let own = ["127.0.0.1:9901", "localhost:9901", "LOCALHOST", "127.0.0.5", "[::1]:9901", "[::1]", "admin.example"];
    for host in own.into_iter().chain(["admin.example:9901", "exact.example:444"]) {
        assert_eq!(check(&config, &[("host", host)]), Ok(()), "{host}");
    }
    for host in ["evil.example", "evil.example:9901", "10.0.0.1:9901", "localhost.evil.example", "exact.example"] {
        assert_eq!(check(&config, &[("host", host)]), Err(Refusal::ForeignHost), "{host}");
    }
}

#[test]
fn the_admin_address_itself_is_an_own_name_with_its_port_only() {
    let config = admin("192.0.2.7:9901", None);
    assert_eq!(check(&config, &[("host", "192.0.2.7:9901")]), Ok(()));
    assert_eq!(check(&config, &[("host", "192.0.2.7:1")]), Err(Refusal::ForeignHost));
    assert_eq!(check(&config, &[("host", "192.0.2.8:9901")]), Err(Refusal::ForeignHost));
}

#[test]
fn a_request_without_one_readable_host_is_refused() {
    let config = admin("127.0.0.1:9901", None);
    assert_eq!(check(&config, &[]), Err(Refusal::NoHost));
    assert_eq!(check(&config, &[("host", "localhost"), ("host", "localhost")]), Err(Refusal::NoHost));
    assert_eq!(check(&config, &[("host", "a b")]), Err(Refusal::NoHost));
    let mut old = request(&[]);
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(judge(&config, Some(&Call::Readyz), &old), Ok(()), "no browser speaks HTTP/1.0");
}

#[test]
fn the_target_of_a_request_counts_as_its_host() {
    let config = admin("127.0.0.1:9901", None);
    let mut foreign = request(&[("host", "localhost")]);
    *foreign.uri_mut() = "http://evil.example/v1/status".parse().unwrap();
    assert_eq!(judge(&config, Some(&Call::Status), &foreign), Err(Refusal::ForeignHost));
}

#[test]
fn another_origin_is_refused_also_on_this_machine() {
    let config = admin("127.0.0.1:9901", None);
    let with = |origin| check(&config, &[("host", "localhost:9901"), ("origin", origin)]);
    for origin in ["http://127.0.0.1:9901", "http://localhost:9901", "http://[::1]:9901"] {
        assert_eq!(with(origin), Ok(()), "{origin}");
    }
    let foreign =
        ["http://evil.example", "http://localhost:3000", "https://localhost:9901", "null", "", "http://localhost"];
    for origin in foreign.into_iter().chain(["http://admin.example"]) {
        assert_eq!(with(origin), Err(Refusal::ForeignOrigin), "{origin}");
    }
}

#[test]
fn a_socket_file_has_no_origin() {
    let config = admin("unix:/run/holdgate/admin.sock", None);
    assert_eq!(check(&config, &[("host", "localhost")]), Ok(()));
    let headers = [("host", "localhost"), ("origin", "http://localhost")];
    assert_eq!(check(&config, &headers), Err(Refusal::ForeignOrigin));
}

#[test]
fn with_a_token_every_call_but_the_probes_needs_it() {
    let mut config = admin("0.0.0.0:9901", Some("s3cret"));
    let anybody = request(&[("host", "evil.example")]);
    for probe in [Call::Livez, Call::Readyz, Call::Healthz] {
        assert_eq!(judge(&config, Some(&probe), &anybody), Ok(()), "{probe:?}");
    }
    for call in [Some(Call::Status), Some(Call::Metrics), Some(Call::Drain), None] {
        assert_eq!(judge(&config, call.as_ref(), &anybody), Err(Refusal::NoToken), "{call:?}");
    }
    config.open_metrics = true;
    assert_eq!(judge(&config, Some(&Call::Metrics), &anybody), Ok(()));
    assert_eq!(judge(&config, Some(&Call::Status), &anybody), Err(Refusal::NoToken));
}

#[test]
fn only_the_whole_token_is_taken() {
    let config = admin("0.0.0.0:9901", Some("s3cret"));
    for good in ["Bearer s3cret", "bearer  s3cret "] {
        assert_eq!(check(&config, &[("authorization", good)]), Ok(()), "{good}");
    }
    for bad in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "Bearer s3crets3cret", "Bearer S3CRET"] {
        assert_eq!(check(&config, &[("authorization", bad)]), Err(Refusal::WrongToken), "{bad}");
    }
    assert_eq!(check(&config, &[("authorization", "Basic s3cret")]), Err(Refusal::NoToken));
}
