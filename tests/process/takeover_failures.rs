//! A take-over that comes to nothing, at each of its steps: the process that runs serves on, and not one request fails.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use holdgate_tests::{
    gateway::Gateway,
    http::{self, Connection},
    load::Load,
    orchestrator::Orchestrator,
    wait,
};
use serde_json::json;

use crate::{
    steady,
    takeover_script::{Channel, hello},
    three,
};

/// What the scripted successor is to do, in its environment.
const SCRIPT: &str = "SUCCESSOR_SCRIPT";
/// The state folder it is to ask in.
const FOLDER: &str = "SUCCESSOR_FOLDER";
/// The address of a listener.
const LISTENER: &str = "SUCCESSOR_LISTENER";
/// A step of the process that runs is over by then, and a successor that hangs is ended.
const STEP_ENDS: Duration = Duration::from_secs(45);
/// Connections that are on their way back when the successor dies.
const ON_THE_WAY: usize = 20;

/// A successor in a process of its own, which can be killed.
struct Scripted(Child);

impl Scripted {
    fn start(gateway: &Gateway, script: &str) -> Self {
        let test = std::env::current_exe().expect("a running test has a path");
        let mut command = Command::new(test);
        command.args(["--exact", "takeover_failures::the_scripted_successor", "--ignored", "--nocapture"]);
        command.env(SCRIPT, script).env(FOLDER, gateway.state_dir()).env(LISTENER, gateway.web.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        Self(child.expect("this test can be started again"))
    }

    /// Whether it ended by a signal, which is that it was killed.
    fn is_killed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let deadline = Instant::now() + STEP_ENDS;
        loop {
            if let Some(status) = self.0.try_wait().expect("it can be asked") {
                return status.signal() == Some(9);
            }
            assert!(Instant::now() < deadline, "the successor has not ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // ignored: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn die() -> ! {
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, rustix::process::Signal::KILL).expect("it is ours");
    unreachable!("nobody survives that");
}

fn hang() -> ! {
    std::thread::sleep(2 * STEP_ENDS);
    panic!("it was not ended");
}

/// Started again by other tests, with a script. It asserts what it sees, and dies or hangs where it is told to.
#[test]
#[ignore = "a process of the tests below"]
fn the_scripted_successor() {
    let Ok(script) = std::env::var(SCRIPT) else { return };
    let folder = std::env::var_os(FOLDER).expect("a folder");
    let listener = std::env::var(LISTENER).expect("an address");
    let channel = Channel::to(Path::new(&folder));
    match script.as_str() {
        "hangs before it says a word" => {
            assert_eq!(channel.hears(), "refused");
            return;
        }
        "dies after hello" => {
            channel.say(&hello(1, 1), &[]);
            die();
        }
        _ => {}
    }
    let given = channel.receive();
    match script.as_str() {
        "dies with what it was given" => die(),
        "hangs with what it was given" => hang(),
        "dies with connections on their way back" => {
            given.hand_back(ON_THE_WAY, &listener);
            die();
        }
        "gives up" => {
            channel.say(&json!({"message": "refused", "reason": "not today"}), &[]);
            return;
        }
        "serves an older table" => {
            let mut table = given.offer["table"].clone();
            table["generation"] = json!(0);
            channel.say(&json!({"message": "proved", "table": table}), &[]);
            assert_eq!(channel.hears(), "refused");
            return;
        }
        "talks out of turn" => {
            channel.say(&json!({"message": "serving"}), &[]);
            assert_eq!(channel.hears(), "refused");
            return;
        }
        _ => {}
    }
    channel.prove(&given);
    match script.as_str() {
        "dies once it has proved itself" => die(),
        _ => assert_eq!(channel.hears(), "yours"),
    }
    match script.as_str() {
        "dies with the state folder" => die(),
        "hangs with the state folder" => hang(),
        _ => panic!("there is no script {script}"),
    }
}

/// A gateway under load, which a successor fails to replace.
fn fails(script: &str, is_killed: bool, said: &str) {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = steady(&orchestrator, "");
    let pid = gateway.status()["pid"].clone();
    let load = Load::start(gateway.web, &hosts);
    let mut successor = Scripted::start(&gateway, script);
    let waiting = script == "dies with connections on their way back";
    let clients: Vec<_> = (0..if waiting { 2 * ON_THE_WAY } else { 0 }).map(|_| asking(&gateway, &hosts[0])).collect();
    assert_eq!(successor.is_killed(), is_killed, "{script}");
    for mut client in clients {
        assert_eq!(client.answer(false).expect("what was handed back is answered").status, 200);
    }
    let deadline = Instant::now() + STEP_ENDS;
    while !gateway.log().contains("the take-over came to nothing") {
        assert!(Instant::now() < deadline, "{script}: nothing was said");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(gateway.log().contains(said), "{script}: {said} is missing");
    goes_on(&gateway, &orchestrator, &load, &pid);
    // It can be replaced all the same.
    let mut old = wait::until("the next take-over", || gateway.take_over().ok());
    assert_ne!(gateway.status()["pid"], pid);
    load.go_on(50);
    load.stop_without_failure();
    assert_eq!(old.end().code(), Some(0));
}

fn asking(gateway: &Gateway, host: &str) -> Connection {
    let mut client = Connection::open(gateway.web).expect("a connection");
    client.write(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("written");
    client
}

/// It serves, follows and saves as before.
fn goes_on(gateway: &Gateway, orchestrator: &Orchestrator, load: &Load, pid: &serde_json::Value) {
    let generation = orchestrator.put("app-00009", r#"{"hosts":["app-00009.test"],"endpoints":["127.0.0.1:9"]}"#);
    gateway.until_status("the next generation, saved", |s| {
        s["table"]["generation"] == generation && s["table"]["saved"]["generation"] == generation
    });
    assert_eq!(gateway.status()["pid"], *pid);
    load.go_on(50);
    let refused = r#"holdgate_takeovers_total{outcome="refused"} 1"#;
    let metrics = gateway.ask("/metrics").expect("the admin API answers").text();
    assert!(metrics.contains(refused), "{metrics}");
}

macro_rules! failures {
    ($($name:ident: $script:literal, $is_killed:literal, $said:literal;)*) => {
        $(#[test] fn $name() { fails($script, $is_killed, $said); })*
    };
}

failures! {
    a_successor_that_says_nothing_is_refused: "hangs before it says a word", false, "did not answer in time";
    a_successor_that_dies_after_hello: "dies after hello", true, "has gone";
    a_successor_that_dies_with_what_it_was_given: "dies with what it was given", true, "has gone";
    a_successor_that_hangs_with_what_it_was_given: "hangs with what it was given", true, "did not answer in time";
    a_successor_that_dies_with_connections_on_their_way_back:
        "dies with connections on their way back", true, "has gone";
    a_successor_that_gives_up: "gives up", false, "not today";
    a_successor_that_serves_an_older_table: "serves an older table", false, "the successor serves another table";
    a_successor_that_talks_out_of_turn: "talks out of turn", false, "out of turn";
    a_successor_that_dies_once_it_has_proved_itself: "dies once it has proved itself", true, "has gone";
    a_successor_that_dies_with_the_state_folder: "dies with the state folder", true, "has gone";
    a_successor_that_hangs_with_the_state_folder: "hangs with the state folder", true, "did not answer in time";
}

#[test]
fn a_successor_whose_words_are_not_understood_is_told_so() {
    let (_backends, orchestrator, _) = three();
    let gateway = steady(&orchestrator, "");
    let words = [
        (hello(2, 9), "protocol 2 to 9 of the successor is not spoken"),
        (hello(0, 0), "protocol 0 to 0 of the successor is not spoken"),
        (json!({"message": "dance"}), "not understood"),
        (json!({"message": "serving"}), "out of turn"),
    ];
    for (said, why) in &words {
        wait::until(why, || {
            let channel = Channel::to(&gateway.state_dir());
            channel.say(said, &[]);
            channel.hear().0["reason"].as_str().is_some_and(|reason| reason.contains(why)).then_some(())
        });
    }
    let refused = || gateway.log().matches("the take-over came to nothing").count();
    wait::until("each to be refused for itself", || (refused() == words.len()).then_some(()));
}

#[test]
fn a_second_successor_at_the_same_time_is_refused() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = steady(&orchestrator, "");
    let load = Load::start(gateway.web, &hosts);
    let first = Scripted::start(&gateway, "hangs with what it was given");
    wait::until("the first", || gateway.log().contains("a successor asks").then_some(()));
    let refused = gateway.take_over().expect_err("the first is there");
    assert_eq!(refused.code, Some(75), "{}", refused.said);
    assert!(refused.said.contains("another take-over is under way"), "{}", refused.said);
    drop(first);
    let mut old = wait::until("the first to be over", || gateway.take_over().ok());
    load.go_on(50);
    load.stop_without_failure();
    assert_eq!(old.end().code(), Some(0));
}

#[test]
fn a_successor_with_a_bad_configuration_is_78_and_one_that_cannot_listen_75() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = steady(&orchestrator, "");
    let load = Load::start(gateway.web, &hosts);
    let good = fs::read_to_string(gateway.config_path()).expect("readable");
    fs::write(gateway.config_path(), format!("{good}\n[guard]\nmax_shrink_percent = 900\n")).expect("writable");
    let refused = gateway.take_over().expect_err("the configuration is bad");
    assert_eq!(refused.code, Some(78), "{}", refused.said);
    assert!(refused.said.contains("max_shrink_percent"), "{}", refused.said);
    let output = gateway.command(&["upgrade"]);
    assert_eq!(output.status.code(), Some(78));

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let more = format!("[[listener]]\nname = \"more\"\naddress = \"{address}\"\n[admin]");
    fs::write(gateway.config_path(), good.replace("[admin]", &more)).expect("writable");
    let refused = gateway.take_over().expect_err("the address is taken");
    assert_eq!(refused.code, Some(75), "{}", refused.said);
    assert!(refused.said.contains(&address.to_string()), "{}", refused.said);
    wait::until("the reason to be relayed", || {
        let output = gateway.command(&["upgrade"]);
        assert_eq!(output.status.code(), Some(75));
        String::from_utf8_lossy(&output.stderr).contains(&address.to_string()).then_some(())
    });

    drop(taken);
    let mut old = wait::until("a listener more", || gateway.take_over().ok());
    assert_eq!(http::get(address, &hosts[0], "/").expect("an answer").status, 200);
    load.go_on(50);
    load.stop_without_failure();
    assert_eq!(old.end().code(), Some(0));
}

#[test]
fn where_no_process_runs_there_is_nothing_to_take_over() {
    let mut gateway = Gateway::configured("http://127.0.0.1:1", "");
    for arguments in [["run", "--take-over"].as_slice(), &["upgrade"]] {
        let output = gateway.command(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(75), "{said}");
        assert!(said.contains("no process to take over from"), "{said}");
    }
    // The socket of one that has ended is no process either.
    let (_backends, orchestrator, _) = three();
    gateway.reconfigure("http://127.0.0.1:1", &orchestrator.url());
    gateway.start_ready();
    gateway.kill_9();
    let output = gateway.command(&["run", "--take-over"]);
    assert_eq!(output.status.code(), Some(75));
    gateway.start_ready();
}

#[test]
fn no_more_than_eight_predecessors_may_drain() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = steady(&orchestrator, "");
    gateway.reconfigure("timeout = \"5s\"", "timeout = \"300s\"");
    drop(gateway.take_over().expect("one with a longer drain"));
    let mut old = Vec::new();
    for _ in 0..8 {
        let client = held_open(&gateway, &hosts[0]);
        let replaced = gateway.take_over().unwrap_or_else(|refused| panic!("{}: {}", old.len(), refused.said));
        old.push((client, replaced));
        let count = old.len();
        gateway.until_status("all of them", |s| s["draining_predecessors"] == count);
    }
    let count = gateway.metric("holdgate_draining_predecessors").expect("a metric");
    assert!((count - 8.0).abs() < 0.5, "{count}");
    let refused = gateway.take_over().expect_err("eight drain");
    assert_eq!(refused.code, Some(75));
    assert!(refused.said.contains("8 processes before this one still drain"), "{}", refused.said);
    // One ends, and there is room.
    let (mut client, mut first) = old.remove(0);
    client.write(b"hello").expect("the request may be finished");
    assert_eq!(client.answer(false).expect("a whole answer").status, 200);
    assert_eq!(first.end().code(), Some(0));
    drop(gateway.take_over().expect("there is room"));
}

/// A request without its body, which keeps the process that serves: the one before may accept for a moment yet.
fn held_open(gateway: &Gateway, host: &str) -> Connection {
    wait::until("a connection of the process that serves", || {
        gateway.until_status("none yet", |s| s["listeners"][0]["connections"] == 0);
        let mut client = Connection::open(gateway.web).expect("a connection");
        assert_eq!(client.get(host, "/").expect("an answer").status, 200);
        let is_here = gateway.status()["listeners"][0]["connections"] == 1;
        let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\n");
        (is_here && client.write(head.as_bytes()).is_ok()).then_some(client)
    })
}

#[test]
fn a_successor_of_another_user_is_refused() {
    let setpriv = ["setpriv", "--reuid=65534", "--clear-groups", "--regid=65534"].map(str::to_owned);
    let can = Command::new(&setpriv[0]).args(&setpriv[1..]).arg("true").status().is_ok_and(|status| status.success());
    if !rustix::process::geteuid().is_root() || !can {
        return;
    }
    let (_backends, orchestrator, _) = three();
    let mut gateway = steady(&orchestrator, "");
    // As open as can be: what the folder keeps out is not what is looked at here.
    let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o777)).expect("ours");
    let binary = gateway.folder().join("holdgate");
    fs::copy(holdgate_tests::gateway::binary(), &binary).expect("a copy that anybody may run");
    let all = [
        gateway.folder(),
        &gateway.state_dir(),
        &gateway.state_dir().join("handover.sock"),
        &gateway.config_path(),
        &binary,
    ];
    all.into_iter().for_each(open);
    let said = gateway.folder().join("said");
    let file = fs::File::create(&said).expect("ours");
    let mut command = Command::new(&setpriv[0]);
    command.args(&setpriv[1..]).arg(&binary).args(["run", "--take-over", "--config"]).arg(gateway.config_path());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
    let mut stranger = Scripted(child.expect("it can be started"));
    let status = wait::until("it to be refused", || stranger.0.try_wait().expect("it can be asked"));
    let said = fs::read_to_string(said).expect("readable");
    assert_eq!(status.code(), Some(75), "{said}");
    assert!(said.contains("another user"), "{said}");
    gateway.take_over().expect("the same user may");
}
