//! History, difference, rollback, export and import, as a client sees them.

use super::*;

impl Gateway {
    fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.ask("POST", path, "", body);
        (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}")))
    }

    fn export(&self) -> String {
        let (status, head, body) = self.ask("GET", "/v1/table/export", "", "");
        assert!(status == 200 && head.contains("content-type: application/x-ndjson"), "{head}");
        unchunked(&body)
    }

    fn apps(&self) -> u64 {
        self.json("/v1/status")["table"]["apps"].as_u64().unwrap()
    }
}

/// The body of a chunked answer.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
}

/// One whose gate opens at once, so that a second table is taken.
fn settled(apps: usize) -> Gateway {
    let gateway = Gateway::start("");
    let mut config = gateway.context.config.load().updater();
    config.gate.stable_for = Duration::ZERO;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(gateway.context.updates.reconfigure(config)).unwrap();
    gateway.offer(1, apps);
    gateway
}

#[test]
fn an_operator_goes_back_stays_there_and_follows_again() {
    let gateway = settled(3);
    gateway.offer(2, 5);
    let history = gateway.json("/v1/table/history");
    let numbers: Vec<u64> =
        history["generations"].as_array().unwrap().iter().map(|kept| kept["generation"].as_u64().unwrap()).collect();
    assert_eq!((numbers.first(), history["served"]["generation"].as_u64()), (Some(&2), Some(2)), "{history}");
    assert!(numbers.contains(&1), "{history}");
    let (status, done) = gateway.post("/v1/table/rollback", r#"{"generation":1,"epoch":"e1"}"#);
    assert_eq!(
        (status, &done["removed"], &done["apps"], &done["saved"]),
        (200, &json!(2), &json!(3), &json!(true)),
        "{done}"
    );
    let table = &gateway.json("/v1/status")["table"];
    assert_eq!(
        (&table["source"], &table["generation"], &table["pinned"]["by"]),
        (&json!("operator"), &json!(1), &json!("rollback"))
    );
    assert!(gateway.text("/readyz?verbose").1.contains("[!]pinned warning: an operator has"));
    assert!(gateway.text("/metrics").1.contains("\nholdgate_table_pinned 1\n"));
    gateway.offer(3, 6);
    assert_eq!(gateway.apps(), 3, "nothing the orchestrator says is taken");
    let (status, done) = gateway.post("/v1/table/unpin", "");
    assert_eq!((status, &done["state"]), (200, &json!("the orchestrator is followed")));
    assert_eq!(gateway.error("POST", "/v1/table/unpin", "").0, 409);
    gateway.offer(4, 6);
    assert_eq!(gateway.apps(), 6);
}

#[test]
fn what_lies_between_two_generations_is_named_and_counted() {
    let gateway = settled(3);
    gateway.offer(2, 30);
    let diff = gateway.json("/v1/table/diff?from=1&limit=5");
    assert_eq!(
        (&diff["added_total"], &diff["removed_total"], &diff["changed_total"]),
        (&json!(27), &json!(0), &json!(0))
    );
    assert_eq!(diff["added"], json!(["app-03", "app-04", "app-05", "app-06", "app-07"]));
    assert_eq!((&diff["from"]["apps"], &diff["to"]["generation"]), (&json!(3), &json!(2)));
    let back = gateway.json("/v1/table/diff?from=2&to=1&epoch=e1");
    assert_eq!((&back["removed_total"], &back["to"]["apps"]), (&json!(27), &json!(3)));
    assert_eq!(gateway.error("GET", "/v1/table/diff?from=99", "").0, 404);
    for bad in ["", "from=x", "from=1&to=x", "from=1&limit=0", "from=1&limit=1001"] {
        assert_eq!(gateway.error("GET", &format!("/v1/table/diff?{bad}"), "").0, 400, "{bad}");
    }
    assert_eq!(gateway.error("POST", "/v1/table/rollback", r#"{"generation":99}"#).0, 404);
    assert_eq!(gateway.apps(), 30);
}

#[test]
fn what_one_gateway_exports_another_serves() {
    let (from, to) = (settled(20), settled(2));
    let body = from.export();
    assert_eq!(body.lines().count(), 22);
    let (status, done) = to.post("/v1/table/import", &body);
    assert_eq!((status, &done["apps"], &done["saved"]), (200, &json!(20), &json!(true)), "{done}");
    let (a, b) = (from.json("/v1/status"), to.json("/v1/status"));
    assert_eq!(a["table"]["digest"], b["table"]["digest"]);
    assert_eq!((&b["table"]["source"], &b["table"]["pinned"]["by"]), (&json!("operator"), &json!("import")));
    assert_eq!(Gateway::start("").error("GET", "/v1/table/export", "").0, 503);
}

#[test]
fn a_body_that_is_no_table_changes_nothing_and_is_told_why() {
    let gateway = settled(2);
    let body = settled(3).export();
    let cut: String = body.lines().take(3).map(|line| format!("{line}\n")).collect();
    for (bad, word) in [("", "body: "), ("nonsense\n", "line 1"), (cut.as_str(), "body: ")] {
        let (status, why) = gateway.error("POST", "/v1/table/import", bad);
        assert!(status == 400 && why.contains(word), "{status} {why}");
    }
    assert_eq!((gateway.apps(), &gateway.json("/v1/status")["table"]["pinned"]), (2, &Value::Null));
}

#[test]
fn an_import_is_held_to_the_limits_of_a_snapshot() {
    let small = Gateway::start("[limits]\nsnapshot_apps = 2\n");
    let body = settled(3).export();
    let (status, why) = small.error("POST", "/v1/table/import", &body);
    assert!(status == 413 && why.contains("snapshot_apps"), "{status} {why}");
    assert!(!small.context.reader.load().has_table());
}

#[test]
fn a_body_that_stops_coming_is_given_up_and_lets_the_next_one_in() {
    let gateway = settled(1);
    let head =
        "POST /v1/table/import HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9999\r\n\r\n{";
    let (status, _, body) = gateway.send(head);
    assert!(status == 408 && body.contains("stopped coming"), "{status} {body}");
    assert_eq!(gateway.post("/v1/table/import", &settled(4).export()).0, 200);
    assert_eq!(gateway.apps(), 4);
}

#[test]
fn only_one_has_a_second_table_in_memory() {
    let gateway = settled(1);
    let _other = gateway.context.second_table.clone().try_acquire_owned().unwrap();
    assert_eq!(gateway.error("GET", "/v1/table/diff?from=1", "").0, 503);
}

#[test]
fn the_table_shows_only_what_is_held_or_invalid_where_that_is_asked_for() {
    let gateway = Gateway::start("[guard]\nmax_shrink_apps = 2\n");
    let mut settled = gateway.context.config.load().updater();
    settled.gate.stable_for = Duration::ZERO;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(gateway.context.updates.reconfigure(settled)).unwrap();
    gateway.offer(1, 10);
    gateway.offer(2, 3);
    let page = gateway.json("/v1/table?held=true&limit=4");
    let names: Vec<&str> = page["apps"].as_array().unwrap().iter().map(|app| app["app"].as_str().unwrap()).collect();
    assert_eq!((names, &page["next"]), (vec!["app-03", "app-04", "app-05", "app-06"], &json!("app-06")));
    let rest = gateway.json("/v1/table?held=true&limit=4&after=app-06");
    assert_eq!((rest["apps"].as_array().unwrap().len(), &rest["next"]), (3, &Value::Null));
    assert_eq!(gateway.json("/v1/table?invalid=true")["apps"], json!([]));
    assert_eq!(gateway.error("GET", "/v1/table?invalid=true&held=true", "").0, 400);
}

#[test]
fn an_epoch_that_was_not_left_cannot_be_taken_back() {
    let gateway = settled(1);
    let (status, why) = gateway.error("POST", "/v1/table/approve", r#"{"epoch":"e0"}"#);
    assert!(status == 409 && why.contains("e0"), "{status} {why}");
    assert_eq!(gateway.error("POST", "/v1/table/approve", r#"{"epoch":"e0","generation":1}"#).0, 400);
}

#[test]
fn the_sizes_are_in_status_and_metrics() {
    let gateway = settled(3);
    // Measured at the start, and every ten seconds after it.
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while gateway.json("/v1/status")["sizes"]["documents_bytes"] == 0 {
        assert!(std::time::Instant::now() < until, "not measured");
        std::thread::sleep(Duration::from_millis(100));
    }
    let sizes = &gateway.json("/v1/status")["sizes"];
    assert_eq!(sizes["largest"].as_array().unwrap().len(), 3, "{sizes}");
    assert!(sizes["store_bytes"].as_u64().unwrap() > 0, "{sizes}");
    let metrics = gateway.text("/metrics").1;
    for name in [
        "holdgate_table_document_bytes",
        "holdgate_table_largest_app_bytes",
        "holdgate_table_limit_ratio{limit=\"store_bytes\"}",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} is not in\n{metrics}");
    }
}
