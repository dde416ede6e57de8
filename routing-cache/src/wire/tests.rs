use proptest::prelude::*;

use super::{encode::ChangesHead, *};
use crate::model::{Epoch, Generation};

const SHOP: &str = r#"{"hosts":["shop.example.com"],"endpoints":["10.0.0.5:8080"]}"#;
const BLOG: &str = r#"{"hosts":["blog.example.com"],"endpoints":[]}"#;

fn id(text: &str) -> AppId {
    AppId::new(text).unwrap()
}

fn epoch(text: &str) -> Epoch {
    Epoch::new(text).unwrap()
}

fn digest_of(apps: &[(&str, u64, &str)]) -> Digest {
    let digests = apps.iter().map(|(app, rev, spec)| app_digest(app, Rev(*rev), spec.as_bytes()));
    digests.fold(Digest::default(), Digest::plus)
}

mod digest {
    use super::*;

    // The expected values are from Python's hashlib, by the formula of spec/orchestrator-api.md.
    #[test]
    fn it_is_that_of_the_contract() {
        assert_eq!(digest_of(&[("shop", 790_113, SHOP)]).to_string(), "fc13eca75cee9bbf13d32ca24f9bc221");
        assert_eq!(
            digest_of(&[("shop", 790_113, SHOP), ("blog", 812_001, "{}")]).to_string(),
            "04db3e1bbc74083a20d5d86dd62b4d8f"
        );
    }

    #[test]
    fn id_rev_and_document_cannot_be_mistaken_for_each_other() {
        let all = [("a", 1, "{}"), ("a", 2, "{}"), ("b", 1, "{}"), ("a", 1, "{ }"), ("a", 1, "")];
        let mut digests: Vec<_> = all.iter().map(|app| digest_of(&[*app]).0).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), all.len());
    }

    proptest! {
        #[test]
        fn it_does_not_depend_on_order_and_a_delta_changes_it(
            mut apps in prop::collection::vec(("[a-z]{1,8}", any::<u64>(), ".{0,20}"), 1..8),
        ) {
            let number = |(app, rev, spec): &(String, u64, String)| app_digest(app, Rev(*rev), spec.as_bytes());
            let sum = |apps: &[(String, u64, String)]| apps.iter().map(number).fold(Digest::default(), Digest::plus);
            let whole = sum(&apps);
            apps.reverse();
            prop_assert_eq!(sum(&apps), whole);
            let gone = apps.pop().unwrap();
            prop_assert_eq!(whole.minus(number(&gone)), sum(&apps));
        }
    }
}

mod state {
    use super::*;

    fn answer() -> StateAnswer {
        StateAnswer {
            epoch: epoch("01J9"),
            generation: Generation(812_344),
            ready: true,
            reason: None,
            apps: 100_000,
            digest: Digest(7),
            bytes: 18_350_080,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for state in [answer(), StateAnswer { ready: false, reason: Some("loads \"it\"\n".to_owned()), ..answer() }] {
            assert_eq!(parse_state(&encode::state(&state)).unwrap(), state);
        }
    }

    #[test]
    fn fields_that_are_not_known_are_ignored_and_size_and_reason_may_be_absent() {
        let digest = Digest(7);
        let body = format!(
            r#"{{"schema":1,"epoch":"01J9","generation":5,"ready":true,"apps":2,"digest":"{digest}","leader":{{"a":[1]}}}}"#
        );
        let state = parse_state(body.as_bytes()).unwrap();
        assert_eq!((state.generation, state.bytes, state.reason), (Generation(5), 0, None));
    }

    #[test]
    fn not_ready_is_understood_even_where_the_rest_is_missing() {
        let of = |body: &str| parse_state(body.as_bytes()).unwrap_err();
        let reason = |reason: &str| WireError::NotReady { reason: reason.to_owned() };
        assert_eq!(of(r#"{"ready":false,"reason":"loading"}"#), reason("loading"));
        assert_eq!(of(r#"{"ready":false}"#), reason(""));
        assert_eq!(of(r#"{"schema":1,"ready":false,"epoch":""}"#), reason(""));
        assert_eq!(
            of(&format!(r#"{{"ready":false,"reason":"{}"}}"#, "x".repeat(5000))),
            reason(&format!("{}...", "x".repeat(200)))
        );
    }

    #[test]
    fn what_is_no_state_says_why() {
        let good = String::from_utf8(encode::state(&answer())).unwrap();
        let label = |body: &str| parse_state(body.as_bytes()).unwrap_err().label();
        assert_eq!(label(&good.replace("\"schema\":1", "\"schema\":2")), "schema");
        assert_eq!(label(r#"{"schema":2,"now":"different"}"#), "schema");
        let wrong_digest = good.replace(&Digest(7).to_string(), "7");
        for body in
            ["", "{}", "[]", "<html>", r#"{"ready":true}"#, &good.replace("01J9", ""), &wrong_digest, &good[..40]]
        {
            assert_eq!(label(body), "garbage", "{body}");
        }
    }
}

mod snapshot {
    use super::*;

    /// A body of these apps as it should be.
    fn body(apps: &[(&str, u64, &str)]) -> String {
        let count = apps.len() as u64;
        let mut out = encode::snapshot_begin(&epoch("01J9"), Generation(7), true, count);
        for (app, rev, spec) in apps {
            encode::snapshot_app(&mut out, app, Rev(*rev), spec.as_bytes());
        }
        out.extend(encode::snapshot_end(count, digest_of(apps)));
        String::from_utf8(out).unwrap()
    }

    fn two() -> String {
        body(&[("shop", 1, SHOP), ("blog", 2, BLOG)])
    }

    fn decode_with(limits: Limits, body: &str) -> Result<SnapshotCandidate, WireError> {
        let mut decoder = SnapshotDecoder::new(limits);
        decoder.push(body.as_bytes())?;
        decoder.finish()
    }

    fn decode(body: &str) -> Result<SnapshotCandidate, WireError> {
        decode_with(Limits::default(), body)
    }

    fn label(body: &str) -> &'static str {
        decode(body).map(|candidate| format!("{candidate:?}")).unwrap_err().label()
    }

    #[test]
    fn a_whole_body_is_a_candidate() {
        let candidate = decode(&two()).unwrap();
        assert_eq!((candidate.epoch, candidate.generation, candidate.ready), (epoch("01J9"), Generation(7), true));
        assert_eq!((candidate.shrink_ok, candidate.partial), (None, None));
        assert_eq!(candidate.digest, digest_of(&[("shop", 1, SHOP), ("blog", 2, BLOG)]));
        assert_eq!(candidate.bytes, two().len() as u64);
        let shop = candidate.apps.get("shop").unwrap();
        assert_eq!((shop.id(), shop.rev(), shop.endpoints()), ("shop", Rev(1), 1));
        assert_eq!(shop.document(), SHOP.as_bytes());
        assert_eq!(shop.hosts().map(|host| host.to_string()).collect::<Vec<_>>(), ["shop.example.com"]);
        assert_eq!(compile(shop).unwrap().spec, parse_document(SHOP.as_bytes()).unwrap());
        let blog = candidate.apps.get("blog").unwrap();
        assert_eq!((blog.document().len(), blog.rev()), (BLOG.len(), Rev(2)));
    }

    #[test]
    fn an_empty_table_is_a_candidate_that_others_judge() {
        assert_eq!(decode(&body(&[])).unwrap().apps.len(), 0);
    }

    #[test]
    fn ready_false_and_shrink_ok_are_carried() {
        let ok = ShrinkOk { to_apps: 0, by: "ops".to_owned(), why: "region closed".to_owned() };
        let mut out = encode::snapshot_begin_shrunk(&epoch("e"), Generation(1), false, 0, Some(&ok));
        out.extend(encode::snapshot_end(0, Digest::default()));
        let candidate = decode(std::str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!((candidate.ready, candidate.shrink_ok), (false, Some(ok)));
    }

    #[test]
    fn blank_lines_other_line_ends_and_unknown_fields_do_not_matter() {
        let spaced = two().replace('\n', "\r\n\r\n \n").replace("{\"app\"", " {\"etag\":[1],\"app\"");
        assert_eq!(decode(&spaced).unwrap().apps.len(), 2);
        assert_eq!(decode(two().trim_end()).unwrap().apps.len(), 2);
    }

    #[test]
    fn the_digest_is_over_the_bytes_as_sent() {
        let spaced = SHOP.replace("\":", "\" : ");
        let candidate = decode(&body(&[("shop", 1, &spaced)])).unwrap();
        assert_eq!(candidate.apps.get("shop").unwrap().document(), spaced.as_bytes());
        assert_eq!(label(&body(&[("shop", 1, SHOP)]).replace(SHOP, &spaced)), "wrong-digest");
    }

    #[test]
    fn an_invalid_document_spoils_its_own_app_alone() {
        for bad in ["{}", "null", "7", "\"x\"", r#"{"hosts":["A"],"endpoints":[]}"#, &"[".repeat(500)] {
            let whole = if bad.starts_with('[') { format!("{bad}{}", "]".repeat(500)) } else { bad.to_owned() };
            let candidate = decode(&body(&[("bad", 1, &whole), ("shop", 2, SHOP)])).unwrap();
            let [invalid] = candidate.apps.invalid() else { panic!("{bad}: {candidate:?}") };
            assert_eq!((&invalid.id, invalid.rev, invalid.bytes), (&id("bad"), Rev(1), whole.len()));
            assert_eq!(candidate.apps.records().map(Record::id).collect::<Vec<_>>(), ["shop"], "{bad}");
        }
    }

    #[test]
    fn a_document_over_its_limit_is_invalid_and_the_snapshot_goes_on() {
        let limits = Limits { app_bytes: SHOP.len() as u64, ..Limits::default() };
        let long = SHOP.replace(':', ": ");
        let candidate = decode_with(limits, &body(&[("long", 1, &long), ("shop", 2, SHOP)])).unwrap();
        let invalid = candidate.apps.get_invalid("long").unwrap();
        assert_eq!(
            invalid.error.to_string(),
            format!("is {} bytes long, the limit app_bytes is {}", long.len(), SHOP.len())
        );
        assert!(candidate.apps.get("shop").is_some());
        assert_eq!((invalid.bytes, candidate.apps.largest()), (long.len(), long.len() as u64));
    }

    #[test]
    fn a_line_too_long_to_hold_ends_the_snapshot() {
        let limits = Limits { app_bytes: 1000, changes_bytes: 5000, ..Limits::default() };
        let padded = |length: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(length));
        assert_eq!(decode_with(limits, &body(&[("long", 1, &padded(5000))])).unwrap().apps.invalid().len(), 1);
        let error = decode_with(limits, &body(&[("long", 1, &padded(7048))])).unwrap_err();
        assert_eq!(error, WireError::TooLarge { limit: LimitName::LineBytes, allowed: 7048 });
        let mut endless = SnapshotDecoder::new(limits);
        let error = (0..100).find_map(|_| endless.push(&[b' '; 1000]).err()).unwrap();
        assert_eq!(error.label(), "too-large");
    }

    #[test]
    fn bytes_and_apps_are_bounded_while_they_come() {
        let whole = two();
        let bytes = whole.len() as u64;
        assert!(decode_with(Limits { snapshot_bytes: bytes, snapshot_apps: 2, ..Limits::default() }, &whole).is_ok());
        let error = decode_with(Limits { snapshot_bytes: bytes - 1, ..Limits::default() }, &whole).unwrap_err();
        assert_eq!(error, WireError::TooLarge { limit: LimitName::SnapshotBytes, allowed: bytes - 1 });
        let apps = WireError::TooLarge { limit: LimitName::SnapshotApps, allowed: 1 };
        let one = Limits { snapshot_apps: 1, ..Limits::default() };
        assert_eq!(decode_with(one, &whole).unwrap_err(), apps);
        // Also where `begin` promises less than comes.
        assert_eq!(
            decode_with(one, &whole.replace("\"apps\":2}}\n{\"app\"", "\"apps\":1}}\n{\"app\"")).unwrap_err(),
            apps
        );
    }

    #[test]
    fn a_body_that_ends_before_end_is_cut_short_wherever_it_was_cut() {
        let whole = two();
        let end = whole.find("{\"end\"").unwrap();
        for cut in 0..whole.trim_end().len() {
            let error = decode(&whole[..cut]).unwrap_err();
            assert_eq!(error.label(), "cut-short", "{cut}: {error}");
        }
        assert_eq!(decode(&whole[..end]).unwrap_err(), WireError::CutShort { apps: 2 });
    }

    #[test]
    fn count_and_digest_have_to_fit() {
        let whole = two();
        assert_eq!(
            decode(&whole.replacen("\"apps\":2", "\"apps\":3", 1)).unwrap_err(),
            WireError::WrongCount { said: 3, received: 2 }
        );
        let end = whole.rfind("\"apps\":2").unwrap();
        let lies = format!("{}{}", &whole[..end], whole[end..].replace("\"apps\":2", "\"apps\":1"));
        assert_eq!(decode(&lies).unwrap_err(), WireError::WrongCount { said: 1, received: 2 });
        assert_eq!(label(&whole.replace("\"rev\":1", "\"rev\":3")), "wrong-digest");
        assert_eq!(label(&whole.replace("blog\"", "blob\"")), "wrong-digest");
        assert_eq!(label(&whole.replace("10.0.0.5", "10.0.0.6")), "wrong-digest");
    }

    #[test]
    fn an_app_that_is_there_twice_spoils_the_snapshot() {
        let error = decode(&body(&[("shop", 1, SHOP), ("blog", 2, BLOG), ("shop", 3, SHOP)])).unwrap_err();
        assert_eq!(error, WireError::DuplicateApp { app: id("shop") });
    }

    #[test]
    fn lines_come_in_their_order() {
        let whole = two();
        let lines: Vec<&str> = whole.lines().collect();
        let [begin, shop, blog, end] = lines[..] else { panic!("{lines:?}") };
        let of = |lines: &[&str]| decode(&lines.join("\n")).unwrap_err();
        assert_eq!(of(&[shop, begin, blog, end]), WireError::NoBegin { line: 1 });
        assert_eq!(of(&["", end]), WireError::NoBegin { line: 2 });
        assert_eq!(of(&[begin, shop, begin, blog, end]), WireError::SecondBegin { line: 3 });
        assert_eq!(of(&[begin, shop, blog, end, shop]), WireError::AfterEnd { line: 5 });
        assert_eq!(of(&[begin, shop, blog, end, "junk", "more"]), WireError::AfterEnd { line: 5 });
    }

    #[test]
    fn what_is_no_snapshot_is_garbage() {
        let whole = two();
        let bodies = [
            "<html><body>502</body></html>\n".to_owned(),
            "null\n".to_owned(),
            whole.replace("{\"app\":\"shop\"", "{\"app\":\"\""),
            whole.replace("{\"app\":\"shop\"", "{\"application\":\"shop\""),
            whole.replace("\"rev\":1", "\"rev\":-1"),
            whole.replace("\"rev\":1", "\"rev\":1,\"rev\":1"),
            whole.replace(",\"spec\":", ",\"spek\":"),
            whole.replace("01J9", ""),
            whole.replace("\"ready\":true,", ""),
            whole.replace("\"digest\":\"", "\"digest\":\"x"),
            whole.replace("{\"app\":\"blog\"", "{\"end\":null}\n{\"app\":\"blog\""),
            whole.replace("{\"app\":\"blog\"", "{\"note\":\"hello\"}\n{\"app\":\"blog\""),
        ];
        for body in bodies {
            assert_eq!(label(&body), "garbage", "{body}");
        }
        assert_eq!(label(&whole.replace("\"schema\":1", "\"schema\":2")), "schema");
        assert_eq!(label("{\"begin\":{\"schema\":2,\"table\":\"next line\"}}\n"), "schema");
        assert_eq!(label("{\"begin\":{\"schema\":1,\"ready\":false}}\n"), "not-ready");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_garbage() {
        let mut decoder = SnapshotDecoder::new(Limits::default());
        let mut bytes = two().into_bytes();
        let at = bytes.iter().rposition(|&byte| byte == b'b').unwrap();
        bytes[at] = 0xff;
        assert_eq!(decoder.push(&bytes).unwrap_err().label(), "garbage");
    }

    #[test]
    fn a_decoder_that_failed_stays_failed() {
        let mut decoder = SnapshotDecoder::new(Limits::default());
        assert!(decoder.push(b"junk\n").is_err());
        decoder.push(two().as_bytes()).unwrap();
        assert_eq!(decoder.finish().unwrap_err().label(), "cut-short");
    }

    #[test]
    fn deep_nesting_ends_in_an_error_and_not_in_the_stack() {
        for open in ["[", "{\"a\":"] {
            let deep = open.repeat(100_000);
            assert_eq!(label(&format!("{deep}\n")), "garbage");
            assert_eq!(label(&two().replace(SHOP, &deep)), "garbage");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = SnapshotDecoder::new(Limits::default());
            let _ = decoder.push(&bytes);
            prop_assert!(decoder.finish().is_err());
        }

        #[test]
        fn no_change_of_one_byte_goes_unnoticed(at in 0..two().len(), byte in any::<u8>()) {
            let whole = two();
            let mut bytes = whole.clone().into_bytes();
            bytes[at] = byte;
            let mut decoder = SnapshotDecoder::new(Limits::default());
            if decoder.push(&bytes).is_ok() && let Ok(candidate) = decoder.finish() {
                // Nothing but the epoch, the generation and what is no content may differ.
                prop_assert_eq!(candidate.digest, decode(&whole).unwrap().digest);
                prop_assert_eq!(candidate.apps.len(), 2);
            }
        }

        #[test]
        fn what_was_written_is_read_however_it_is_cut(
            apps in prop::collection::btree_map("[^\\p{C}]{1,20}", (any::<u64>(), 0..3_usize), 0..6),
            cuts in prop::collection::vec(1..60_usize, 1..10),
        ) {
            let apps: Vec<_> = apps.iter().map(|(app, (rev, spec))| (app.as_str(), *rev, [SHOP, BLOG, "{}"][*spec])).collect();
            let whole = body(&apps);
            let (mut decoder, mut rest, mut cuts) = (SnapshotDecoder::new(Limits::default()), whole.as_bytes(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, next) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                decoder.push(chunk).unwrap();
                rest = next;
            }
            let candidate = decoder.finish().unwrap();
            let valid = candidate.apps.records().map(|app| (app.id(), app.rev().0, app.document().len()));
            let invalid = candidate.apps.invalid().iter().map(|app| (app.id.as_str(), app.rev.0, app.bytes));
            let read: Vec<_> = valid.chain(invalid).collect();
            let written = |is_valid: bool| {
                let of_kind = apps.iter().filter(move |(.., spec)| (*spec != "{}") == is_valid);
                of_kind.map(|(app, rev, spec)| (*app, *rev, spec.len()))
            };
            prop_assert_eq!(read, written(true).chain(written(false)).collect::<Vec<_>>());
        }
    }
}

mod changes {
    use super::*;

    fn head(epoch: &Epoch, from: u64, to: u64) -> ChangesHead<'_> {
        let (from, to) = (Generation(from), Generation(to));
        ChangesHead { epoch, from, to, ready: true, more: false, apps: 9, digest: Digest(to.0.into()), shrink_ok: None }
    }

    fn read(body: Vec<u8>) -> Result<ChangesPage, WireError> {
        parse_changes(Bytes::from(body), &Limits::default())
    }

    fn page(from: u64, to: u64, upserts: &[(&str, u64)], deletes: &[(&str, u64)]) -> Result<ChangesPage, WireError> {
        let upserts: Vec<_> = upserts.iter().map(|(app, rev)| (id(app), Rev(*rev))).collect();
        let deletes: Vec<_> = deletes.iter().map(|(app, rev)| (id(app), Rev(*rev))).collect();
        let upserts = upserts.iter().map(|(app, rev)| (app, *rev, SHOP.as_bytes()));
        read(encode::changes(&head(&epoch("e"), from, to), upserts, &deletes))
    }

    fn shown(upserts: &[Incoming], deletes: &[(AppId, Rev)]) -> (Vec<String>, Vec<String>) {
        let upserts = upserts.iter().map(|upsert| format!("{}@{}", upsert.id, upsert.rev)).collect();
        (upserts, deletes.iter().map(|(app, rev)| format!("{app}@{rev}")).collect())
    }

    #[test]
    fn what_was_written_is_read() {
        let ok = ShrinkOk { to_apps: 5, by: "ops".to_owned(), why: "\"moved\"".to_owned() };
        let epoch = epoch("01\"J9");
        let head = ChangesHead { ready: false, more: true, shrink_ok: Some(&ok), ..head(&epoch, 3, 7) };
        let (shop, blog) = (id("shop"), id("bl\"og"));
        let upserts = [(&shop, Rev(u64::MAX), SHOP.as_bytes()), (&blog, Rev(6), b"{}")];
        let page = read(encode::changes(&head, upserts, &[(id("gone"), Rev(7))])).unwrap();
        assert_eq!((page.epoch, page.from, page.to), (epoch.clone(), Generation(3), Generation(7)));
        assert_eq!((page.ready, page.more, page.apps, page.digest), (false, true, 9, Digest(7)));
        assert_eq!(page.shrink_ok, Some(ok));
        assert_eq!(page.upserts[0].app.as_ref().unwrap().get().document(), SHOP.as_bytes());
        assert_eq!(page.upserts[0].digest, digest_of(&[("shop", u64::MAX, SHOP)]));
        assert_eq!((&page.upserts[1].id, page.upserts[1].app.is_err()), (&blog, true));
        assert_eq!(page.deletes, [(id("gone"), Rev(7))]);
    }

    #[test]
    fn a_document_with_line_ends_is_written_and_read_as_it_is() {
        let (epoch, shop, pretty) = (epoch("e"), id("shop"), SHOP.replace(",", ",\n"));
        let page = read(encode::changes(&head(&epoch, 1, 2), [(&shop, Rev(2), pretty.as_bytes())], &[])).unwrap();
        assert_eq!(page.upserts[0].app.as_ref().unwrap().get().document(), pretty.as_bytes());
    }

    #[test]
    fn a_heartbeat_has_no_changes_and_lists_may_be_absent_or_null() {
        assert_eq!(shown(&page(3, 3, &[], &[]).unwrap().upserts, &[]), (vec![], vec![]));
        let digest = Digest(0);
        for lists in ["", r#""upserts":null,"deletes":null,"more":false,"later":1,"#] {
            let body = format!(r#"{{"epoch":"e","from":1,"to":1,"ready":true,{lists}"apps":0,"digest":"{digest}"}}"#);
            assert!(!read(body.into_bytes()).unwrap().more);
        }
    }

    #[test]
    fn what_is_no_page_says_why() {
        let good = String::from_utf8(encode::changes(&head(&epoch("e"), 3, 7), [], &[(id("a"), Rev(7))])).unwrap();
        let label = |body: &str| read(body.as_bytes().to_vec()).map(|page| format!("{page:?}")).unwrap_err().label();
        let bodies = [
            String::new(),
            "{}".to_owned(),
            "<html>".to_owned(),
            good.replace("\"to\":7", "\"to\":2"),
            good.replace("\"ready\":true,", ""),
            good.replace("\"a\"", "\"\""),
            good.replace("\"e\"", "\"\""),
            good.replace(&Digest(7).to_string(), "7"),
            good.replace("\"rev\":7", "\"rev\":\"7\""),
            good[..good.len() - 1].to_owned(),
            format!("{good}{good}"),
            "[".repeat(100_000),
        ];
        for body in bodies {
            assert_eq!(label(&body), "garbage", "{body:.200}");
        }
        assert_eq!(label(r#"{"ready":false,"reason":"loading"}"#), "not-ready");
    }

    #[test]
    fn a_page_over_its_limit_is_refused() {
        let body = encode::changes(&head(&epoch("e"), 3, 7), [], &[]);
        let allowed = body.len() as u64;
        let of = |changes_bytes| {
            parse_changes(Bytes::from(body.clone()), &Limits { changes_bytes, ..Limits::default() }).map(|_| ())
        };
        assert_eq!(of(allowed), Ok(()));
        let limit = LimitName::ChangesBytes;
        assert_eq!(of(allowed - 1), Err(WireError::TooLarge { limit, allowed: allowed - 1 }));
    }

    #[test]
    fn of_two_changes_of_an_app_in_one_page_the_higher_rev_counts() {
        let of = |upserts: &[(&str, u64)], deletes: &[(&str, u64)]| {
            page(1, 9, upserts, deletes).map(|page| shown(&page.upserts, &page.deletes))
        };
        let lists = |upserts: &[&str], deletes: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
            Ok((owned(upserts), owned(deletes)))
        };
        assert_eq!(of(&[("a", 5), ("b", 2)], &[("a", 4)]), lists(&["a@5", "b@2"], &[]));
        assert_eq!(of(&[("a", 4), ("b", 2)], &[("a", 5)]), lists(&["b@2"], &["a@5"]));
        assert_eq!(of(&[("a", 4), ("a", 5), ("a", 3)], &[]), lists(&["a@5"], &[]));
        let twice = Err(WireError::DuplicateApp { app: id("a") });
        assert_eq!(of(&[("a", 4)], &[("a", 4)]), twice);
        assert_eq!(of(&[("a", 4), ("a", 4)], &[]), twice);
        assert_eq!(of(&[], &[("a", 4), ("a", 4)]), twice);
    }

    #[test]
    fn pages_that_follow_one_another_become_one_change() {
        let limits = Limits::default();
        let mut changes = GatheredChanges::from_page(page(1, 5, &[("a", 2), ("b", 3)], &[("c", 4), ("d", 5)]).unwrap());
        changes.append(page(5, 8, &[("c", 6), ("e", 7)], &[("a", 8)]).unwrap(), &limits).unwrap();
        let changes = changes.finish();
        let expected = (["b@3", "c@6", "e@7"].map(str::to_owned).to_vec(), ["d@5", "a@8"].map(str::to_owned).to_vec());
        let (mut upserts, deletes) = shown(&changes.upserts, &changes.deletes);
        upserts.sort_unstable();
        assert_eq!((upserts, deletes), expected);
        assert_eq!(
            (changes.from, changes.to, changes.digest, changes.ready),
            (Generation(1), Generation(8), Digest(8), true)
        );
    }

    #[test]
    fn one_page_that_is_not_ready_makes_the_change_not_ready() {
        let limits = Limits::default();
        let mut changes = GatheredChanges::from_page(ChangesPage { ready: false, ..page(1, 5, &[], &[]).unwrap() });
        changes.append(page(5, 8, &[], &[]).unwrap(), &limits).unwrap();
        assert!(!changes.finish().ready);
    }

    #[test]
    fn the_last_word_on_a_shrink_counts() {
        let ok = |to_apps| Some(ShrinkOk { to_apps, by: String::new(), why: String::new() });
        let with = |from, to, shrink_ok| ChangesPage { shrink_ok, ..page(from, to, &[], &[]).unwrap() };
        let limits = Limits::default();
        let mut changes = GatheredChanges::from_page(with(1, 2, ok(5)));
        changes.append(with(2, 3, None), &limits).unwrap();
        assert_eq!(changes.changes().shrink_ok, ok(5));
        changes.append(with(3, 4, ok(4)), &limits).unwrap();
        assert_eq!(changes.finish().shrink_ok, ok(4));
    }

    #[test]
    fn a_page_that_does_not_follow_adds_nothing() {
        let mut changes = GatheredChanges::from_page(page(1, 5, &[("a", 2)], &[]).unwrap());
        let mut refused = |page: ChangesPage, limits: &Limits| {
            let error = changes.append(page, limits).unwrap_err();
            let so_far = changes.changes();
            assert_eq!((so_far.to, so_far.upserts.len(), so_far.apps), (Generation(5), 1, 9));
            error
        };
        let limits = Limits::default();
        let gap = WireError::Gap { expected: Generation(5), found: Generation(6) };
        assert_eq!(refused(page(6, 8, &[("b", 7)], &[]).unwrap(), &limits), gap);
        let other = ChangesPage { epoch: epoch("f"), ..page(5, 8, &[("b", 7)], &[]).unwrap() };
        assert_eq!(refused(other, &limits), WireError::EpochChanged { expected: epoch("e"), found: epoch("f") });
        let one = Limits { snapshot_apps: 1, ..limits };
        let apps = WireError::TooLarge { limit: LimitName::SnapshotApps, allowed: 1 };
        assert_eq!(refused(page(5, 8, &[], &[("b", 7)]).unwrap(), &one), apps);
        let short = Limits { snapshot_bytes: SHOP.len() as u64, ..limits };
        assert_eq!(refused(page(5, 8, &[("b", 7)], &[]).unwrap(), &short).label(), "too-large");
    }

    #[test]
    fn a_later_page_replaces_what_an_earlier_one_says_wherever_it_stands() {
        let limits = Limits { snapshot_apps: 8, snapshot_bytes: 5 * SHOP.len() as u64, ..Limits::default() };
        let mut changes = GatheredChanges::from_page(page(1, 2, &[("a", 1), ("b", 1), ("c", 1)], &[("d", 1)]).unwrap());
        for from in 2..40 {
            // Each page moves one app from list to list; the sum stays within the limits for ever.
            let app = ["a", "b", "c", "d"][from as usize % 4];
            let (one, none) = ([(app, from)], []);
            let (upserts, deletes) = if from % 8 < 4 { (&none[..], &one[..]) } else { (&one[..], &none[..]) };
            changes.append(page(from, from + 1, upserts, deletes).unwrap(), &limits).unwrap();
        }
        let changes = changes.finish();
        let (mut upserts, mut deletes) = shown(&changes.upserts, &changes.deletes);
        upserts.sort_unstable();
        deletes.sort_unstable();
        assert_eq!((upserts, deletes), (["a@36", "b@37", "c@38", "d@39"].map(str::to_owned).to_vec(), vec![]));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(bytes.clone()).is_err());
            prop_assert!(parse_state(&bytes).is_err());
        }
    }
}

mod one_line {
    use super::*;

    #[test]
    fn white_space_between_the_parts_goes_and_that_in_strings_stays() {
        let pretty = "{\r\n\t\"a b\" : [ 1 , \"x \\\" y\\\\\" , \" z\" ]\n}\n";
        assert_eq!(encode::one_line(pretty.as_bytes()).unwrap(), br#"{"a b":[1,"x \" y\\"," z"]}"#);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for document in [&b"{"[..], b"{}{}", b"\"a\nb\"", b"\"\xff\"", b""] {
            assert!(encode::one_line(document).is_err());
        }
    }

    proptest! {
        #[test]
        fn the_meaning_stays(words in prop::collection::vec(".{0,12}", 0..5), number in any::<i32>()) {
            let value = serde_json::json!({"words": words, "n": [number, {"deep": words}]});
            let line = encode::one_line(&serde_json::to_vec_pretty(&value).unwrap()).unwrap();
            prop_assert_eq!(&line, &serde_json::to_vec(&value).unwrap());
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&line).unwrap(), value);
        }
    }
}

mod batch {
    use super::*;

    fn read(batch: &mut Batch, app: &str, rev: u64, document: &str) -> Result<(), Duplicate> {
        batch.read(&id(app), Rev(rev), document.as_bytes(), &Limits::default())
    }

    fn three() -> Batch {
        let mut batch = Batch::with_capacity(u64::MAX);
        for (app, rev, document) in [("shop", 1, SHOP), ("bad", 2, "{}"), ("blog", 3, BLOG)] {
            read(&mut batch, app, rev, document).unwrap();
        }
        batch
    }

    #[test]
    fn valid_apps_are_records_and_invalid_ones_are_apart() {
        let batch = three();
        assert_eq!((batch.len(), batch.valid(), batch.is_empty()), (3, 2, false));
        assert_eq!(
            batch.records().map(|app| (app.id(), app.rev())).collect::<Vec<_>>(),
            [("shop", Rev(1)), ("blog", Rev(3))]
        );
        let [bad] = batch.invalid() else { panic!("{batch:?}") };
        assert_eq!((&bad.id, bad.rev, bad.bytes, bad.digest), (&id("bad"), Rev(2), 2, digest_of(&[("bad", 2, "{}")])));
        assert_eq!(bad.error.to_string(), parse_document(b"{}").unwrap_err().to_string());
    }

    #[test]
    fn every_app_is_found_by_its_id() {
        let batch = three();
        assert_eq!(["shop", "bad", "blog", "other", ""].map(|id| batch.contains(id)), [true, true, true, false, false]);
        assert_eq!(batch.get("blog").unwrap().document(), BLOG.as_bytes());
        assert!(batch.get("bad").is_none() && batch.get_invalid("shop").is_none());
        assert_eq!(batch.get_invalid("bad").unwrap().rev, Rev(2));
    }

    #[test]
    fn counts_and_digest_are_over_all_apps() {
        let batch = three();
        assert_eq!(batch.digest(), digest_of(&[("shop", 1, SHOP), ("bad", 2, "{}"), ("blog", 3, BLOG)]));
        assert_eq!((batch.bytes(), batch.largest()), ((SHOP.len() + BLOG.len() + 2) as u64, SHOP.len() as u64));
    }

    #[test]
    fn an_app_that_is_there_twice_is_refused_and_changes_nothing() {
        let mut batch = three();
        for app in ["shop", "bad"] {
            for document in [SHOP, "{}"] {
                assert_eq!(read(&mut batch, app, 9, document), Err(Duplicate { app: id(app) }));
                let incoming = Incoming::read(id(app), Rev(9), document.as_bytes(), &Limits::default());
                assert_eq!(batch.push(incoming), Err(Duplicate { app: id(app) }));
            }
        }
        assert_eq!((batch.len(), batch.digest(), batch.into_records()), (3, three().digest(), three().into_records()));
    }

    #[test]
    fn what_is_pushed_is_as_what_is_read() {
        let apps = [("shop", 1, SHOP), ("bad", 2, "{}"), ("blog", 3, BLOG)];
        let incoming =
            apps.map(|(app, rev, text)| Incoming::read(id(app), Rev(rev), text.as_bytes(), &Limits::default()));
        let pushed = Batch::from_incoming(incoming.clone()).unwrap();
        assert_eq!(
            (pushed.digest(), pushed.bytes(), pushed.largest()),
            (three().digest(), three().bytes(), three().largest())
        );
        assert_eq!(pushed.into_records(), three().into_records());
        let twice = Batch::from_incoming(incoming.iter().chain(&incoming).cloned());
        assert_eq!(twice.unwrap_err(), Duplicate { app: id("shop") });
    }

    #[test]
    fn records_begin_at_multiples_of_four_and_zeros_are_between() {
        let mut batch = Batch::default();
        for length in 1..20 {
            read(&mut batch, &"i".repeat(length), 1, SHOP).unwrap();
        }
        let records = batch.into_records();
        let mut at = 0;
        for length in 1..20 {
            let record = Record::at(&records, at).unwrap();
            assert_eq!(record.id().len(), length);
            let (end, next) = (at + record.as_bytes().len(), (at + record.as_bytes().len()).next_multiple_of(4));
            assert!(records[end.min(records.len())..next.min(records.len())].iter().all(|&byte| byte == 0));
            at = next;
        }
        assert!(Record::at(&records, at).is_none());
    }

    #[test]
    fn a_host_that_stands_in_the_document_takes_no_room_of_its_own() {
        let long = r#"{"routes":[{"to":"w"}],"upstreams":{"w":{"endpoints":[]}},"hosts":["a.example","*.b.example"]}"#;
        let escaped = long.replace("b.ex", "\\u0062.ex");
        let size = |document: &str| {
            let mut batch = Batch::default();
            read(&mut batch, "app", 1, document).unwrap();
            let hosts: Vec<_> = batch.get("app").unwrap().hosts().map(|host| host.to_string()).collect();
            assert_eq!(hosts, ["a.example", "*.b.example"], "{document}");
            batch.into_records().len()
        };
        // Head, two hosts, id, document; in full words.
        let alone = |document: &str| 23 + 2 * 5 + "app".len() + document.len();
        assert_eq!(size(long), alone(long).next_multiple_of(4));
        assert_eq!(size(&escaped), (alone(&escaped) + "b.example".len()).next_multiple_of(4));
    }

    proptest! {
        #[test]
        fn many_apps_are_found_again(ids in prop::collection::btree_set("[a-z]{1,5}", 0..200), bad in any::<u64>()) {
            let mut batch = Batch::default();
            let is_bad = |number: usize| bad >> (number % 64) & 1 == 1;
            for (number, app) in ids.iter().enumerate() {
                read(&mut batch, app, number as u64, if is_bad(number) { "[]" } else { SHOP }).unwrap();
            }
            for (number, app) in ids.iter().enumerate() {
                let rev = if is_bad(number) { batch.get_invalid(app).unwrap().rev } else { batch.get(app).unwrap().rev() };
                prop_assert_eq!(rev, Rev(number as u64));
            }
            prop_assert_eq!(batch.len(), ids.len());
        }
    }
}
