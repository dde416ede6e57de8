//! What systemd keeps for the gateway, with a service manager of a few lines: descriptors that are stored, passed and
//! removed. The real one is driven by tests/systemd/run.

use std::{
    collections::BTreeMap,
    fs,
    io::IoSliceMut,
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    time::Duration,
};

use holdgate_tests::{
    gateway::{Gateway, free_address},
    http::{self, Connection},
    wait,
};
use rustix::{
    fs::fstat,
    io::{FdFlags, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::Signal,
};

use crate::{host, three};

/// Starts what follows with the given descriptors as 3, 4, ..., as sd_listen_fds(3) has them.
const PASS: &str = "
import fcntl, os, sys
pid, numbers, names, *program = sys.argv[1:]
high = [fcntl.fcntl(int(n), fcntl.F_DUPFD_CLOEXEC, 100) for n in numbers.split(',') if n]
os.closerange(3, 100)
for at, n in enumerate(high): os.dup2(n, 3 + at, inheritable=True)
os.environ.update(LISTEN_PID=pid or str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
os.execv(program[0], program)
";
/// A message of sd_notify(3) is far shorter.
const MESSAGE_BYTES: usize = 4096;
/// More descriptors than one message carries.
const DESCRIPTORS: usize = 253;

/// The part of systemd that has the descriptor store.
pub(crate) struct Manager {
    socket: UnixDatagram,
    /// By inode, as systemd keeps no descriptor twice.
    pub(crate) stored: BTreeMap<u64, (String, OwnedFd)>,
}

impl Manager {
    pub(crate) fn of(gateway: &mut Gateway) -> Self {
        let path = gateway.folder().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        gateway.environment.push(("NOTIFY_SOCKET".to_owned(), path.display().to_string()));
        Self { socket, stored: BTreeMap::new() }
    }

    /// Takes one message, and does as it says.
    pub(crate) fn take(&mut self) -> String {
        let mut buffer = [0; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut buffer)];
        let received =
            recvmsg(&self.socket, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).expect("a message in time");
        let descriptors: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|message| if let RecvAncillaryMessage::ScmRights(fds) = message { Some(fds) } else { None })
            .flatten()
            .collect();
        let message = String::from_utf8_lossy(&buffer[..received.bytes]).into_owned();
        let name = message.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
        if message.contains("FDSTOREREMOVE=1") {
            self.stored.retain(|_, (stored, _)| *stored != name);
        } else if message.contains("FDSTORE=1") {
            assert!(!descriptors.is_empty(), "there is something to store: {message}");
            let inode = |fd: &OwnedFd| fstat(fd).expect("it is open").st_ino;
            for fd in descriptors {
                let again = self.stored.insert(inode(&fd), (name.clone(), fd));
                assert!(again.is_none(), "the store has it already: {message}");
            }
        }
        message
    }

    /// Takes messages until one has `line`.
    pub(crate) fn until(&mut self, line: &str) {
        while !self.take().lines().any(|l| l.starts_with(line)) {}
    }

    /// Has the gateway started with everything that is stored, for the process `pid` (empty: the right one).
    pub(crate) fn pass(&self, gateway: &mut Gateway, pid: &str) {
        let (names, descriptors): (Vec<_>, Vec<&OwnedFd>) =
            self.stored.values().map(|(name, fd)| (name.as_str(), fd)).unzip();
        pass(gateway, pid, descriptors, &names.join(":"));
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.stored.values().map(|(name, _)| name.as_str()).collect()
    }
}

pub(crate) fn pass<'a>(
    gateway: &mut Gateway,
    pid: &str,
    descriptors: impl IntoIterator<Item = &'a OwnedFd>,
    names: &str,
) {
    let mut numbers = Vec::new();
    for descriptor in descriptors {
        fcntl_setfd(descriptor, FdFlags::empty()).expect("it is open");
        numbers.push(descriptor.as_raw_fd().to_string());
    }
    gateway.wrapper = ["python3", "-c", PASS, pid, &numbers.join(","), names].map(str::to_owned).into();
}

/// The log is written by a thread of its own.
pub(crate) fn says(gateway: &Gateway, words: &str) {
    wait::until(words, || gateway.log().contains(words).then_some(()));
}

#[test]
fn a_client_waits_in_the_backlog_while_the_gateway_is_killed_and_started_again() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[gateway]\nworkers = 3\n");
    let mut manager = Manager::of(&mut gateway);
    gateway.start();
    manager.until("READY=1");
    let name = format!("listener@{}", gateway.web.to_string().replace(':', "_"));
    assert_eq!(manager.names(), [&name; 3]);
    gateway.until_status("a save", |s| s["table"]["saved"]["generation"].as_u64() > Some(0));
    for _ in 0..3 {
        gateway.kill_9();
        let mut client = Connection::open(gateway.web).expect("the socket listens though nobody is there");
        client.write(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", hosts[0]).as_bytes()).expect("written");
        manager.pass(&mut gateway, "");
        gateway.start();
        assert_eq!(client.answer(false).expect("an answer").status, 200);
        manager.until("READY=1");
        assert_eq!(manager.stored.len(), 3, "nothing is stored again");
    }
    says(&gateway, "listening on sockets that were passed");
}

#[test]
fn a_gateway_with_more_workers_adds_sockets_and_one_with_fewer_keeps_them() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[gateway]\nworkers = 2\n");
    let mut manager = Manager::of(&mut gateway);
    gateway.start();
    manager.until("READY=1");
    for (from, to, sockets) in [("= 2", "= 4", 4), ("= 4", "= 1", 4), ("= 1", "= 2", 4)] {
        gateway.kill_9();
        gateway.reconfigure(&format!("workers {from}"), &format!("workers {to}"));
        manager.pass(&mut gateway, "");
        gateway.start();
        manager.until("READY=1");
        assert_eq!(manager.stored.len(), sockets);
        for _ in 0..20 {
            assert_eq!(http::get(gateway.web, &hosts[1], "/").expect("every backlog is served").status, 200);
        }
    }
}

#[test]
fn a_socket_that_no_listener_wants_any_more_is_closed_and_removed() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[gateway]\nworkers = 2\n");
    let mut manager = Manager::of(&mut gateway);
    gateway.start();
    manager.until("READY=1");
    let (old, new) = (gateway.web, free_address());
    gateway.kill_9();
    gateway.reconfigure(&old.to_string(), &new.to_string());
    gateway.web = new;
    manager.pass(&mut gateway, "");
    gateway.start();
    manager.until("READY=1");
    assert_eq!(manager.names(), [&format!("listener@{}", new.to_string().replace(':', "_")); 2]);
    assert_eq!(http::get(new, &hosts[0], "/").expect("an answer").status, 200);
    assert!(Connection::open(old).is_err(), "nobody listens at the old address");
    says(&gateway, "no listener is there");
}

#[test]
fn sigterm_takes_the_sockets_back_and_sigint_leaves_them_for_the_next_process() {
    let (_backends, orchestrator, _) = three();
    for (signal, sockets) in [(Signal::INT, 2), (Signal::TERM, 0)] {
        let mut gateway = Gateway::configured(&orchestrator.url(), "[gateway]\nworkers = 2\n");
        let mut manager = Manager::of(&mut gateway);
        gateway.start();
        manager.until("READY=1");
        gateway.signal(signal);
        manager.until("STOPPING=1");
        assert_eq!(gateway.end().code(), Some(0), "{}", gateway.log());
        assert_eq!(manager.stored.len(), sockets, "{signal:?}");
        assert_eq!(Connection::open(gateway.web).is_ok(), sockets > 0, "{signal:?}");
    }
}

#[test]
fn a_successor_is_named_first_and_then_keeps_its_sockets_and_removes_what_is_left_over() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[gateway]\nworkers = 2\n");
    let mut manager = Manager::of(&mut gateway);
    gateway.start();
    manager.until("READY=1");
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    let (old, new) = (gateway.web, free_address());
    gateway.reconfigure(&old.to_string(), &new.to_string());
    gateway.web = new;
    let _old = gateway.take_over().unwrap_or_else(|refused| panic!("{}", refused.said));
    let told: Vec<String> = std::iter::repeat_with(|| manager.take()).take_while(|m| !m.contains("READY=1")).collect();
    let at = |word: &str| told.iter().position(|message| message.contains(word)).expect("it is said");
    let pid = gateway.pid().expect("it runs");
    assert!(at(&format!("MAINPID={pid}")) < at("FDSTORE"), "who is not the main process is not listened to: {told:?}");
    assert_eq!(manager.names(), [&format!("listener@{}", new.to_string().replace(':', "_")); 2]);
    assert_eq!(http::get(new, &hosts[0], "/").expect("an answer").status, 200);
}

#[test]
fn sockets_of_a_socket_unit_are_listened_on_and_not_stored() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[gateway]\nworkers = 2\n");
    let path = gateway.folder().join("web.sock");
    let more = format!("[[listener]]\nname = \"local\"\naddress = \"unix:{}\"\n[admin]", path.display());
    gateway.reconfigure("[admin]", &more);
    let mut manager = Manager::of(&mut gateway);
    let tcp = TcpListener::bind(gateway.web).expect("free a moment ago");
    let unix = std::os::unix::net::UnixListener::bind(&path).expect("a new path");
    let sockets: [OwnedFd; 2] = [tcp.into(), unix.into()];
    pass(&mut gateway, "", &sockets, "holdgate.socket:holdgate.socket");
    let mut client = Connection::open(gateway.web).expect("it listens");
    client.write(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", hosts[0]).as_bytes()).expect("written");
    gateway.start();
    manager.until("READY=1");
    client.answer(false).expect("who has waited is answered");
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
    assert_eq!(manager.names(), [""; 0], "the socket unit has them");
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "its file is still there");
}

#[test]
fn descriptors_of_another_process_and_garbage_keep_no_gateway_from_starting() {
    let (_backends, orchestrator, _) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    let datagrams = UnixDatagram::unbound().expect("a socket");
    let file = fs::File::open(gateway.config_path()).expect("readable");
    let garbage: [OwnedFd; 2] = [datagrams.into(), file.into()];
    pass(&mut gateway, "1", &garbage, "odd:odd");
    gateway.start();
    says(&gateway, "table update");
    assert!(!gateway.log().contains("of no use"), "they are none of its business");
    gateway.kill_9();

    pass(&mut gateway, "", &garbage, "odd");
    gateway.start_ready();
    wait::until("each to be named", || (gateway.log().matches("of no use").count() == 2).then_some(()));
    assert_eq!(http::get(gateway.web, &host(0), "/").expect("an answer").status, 200);
}
