//! Two processes' workers on the same sockets: who serves what, while one of them proves itself and after.

use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    net::TcpStream,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg, socketpair,
};

use super::harness::{DEADLINE, Gateway, Upstream, settings, short};
use crate::{
    config::ListenAddress,
    probe::ProbeError,
    proxy::{NotTaken, Returns},
};

fn way() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// Gives everything that comes back to `returns`, until the other end is closed.
fn take_back(near: OwnedFd, returns: Returns) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let run = move || {
        loop {
            let mut name = [0; 256];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut bytes = [IoSliceMut::new(&mut name)];
            let length = recvmsg(&near, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
            if length == 0 {
                return;
            }
            for message in control.drain() {
                let RecvAncillaryMessage::ScmRights(connections) = message else { continue };
                for connection in connections {
                    returns.take(connection, std::str::from_utf8(&name[..length]).unwrap()).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    (taken, std::thread::spawn(run))
}

/// Asks the two until the answer is the wanted one of what both would give.
fn until(gateway: &Gateway, wanted: u16) {
    let deadline = Instant::now() + DEADLINE;
    while gateway.get("/").status() != wanted {
        assert!(Instant::now() < deadline, "nobody answers {wanted}");
    }
}

#[test]
fn who_proves_itself_serves_its_own_probes_and_nothing_else() {
    let upstream = Upstream::ok();
    let gateway = Gateway::with(&[("app", &short(&upstream))], settings());
    let (near, far) = way();
    let (taken, thread) = take_back(near, gateway.returns());
    let (mut heir, proving) = gateway.heir(far);
    let deadline = Instant::now() + DEADLINE;
    // Who accepts is the kernel's choice; the heir's table is empty.
    while taken.load(Ordering::Relaxed) < 20 {
        assert!(Instant::now() < deadline, "the heir accepts nothing");
        assert_eq!(gateway.get("/").text(), "ok");
        match heir.probes.ask(&gateway.address, DEADLINE) {
            Ok(_) | Err(ProbeError::Elsewhere) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(heir.stats.connections(), 0, "none of them was ever its own");
    }
    // It is given up: what waits to be accepted stays where it is.
    heir.join();
    drop((heir, proving));
    thread.join().unwrap();
    for _ in 0..20 {
        assert_eq!(gateway.get("/").text(), "ok");
    }
}

#[test]
fn who_has_proved_itself_serves_for_itself() {
    let upstream = Upstream::ok();
    let gateway = Gateway::with(&[("app", &short(&upstream))], settings());
    let (near, far) = way();
    let (_, thread) = take_back(near, gateway.returns());
    let (_heir, proving) = gateway.heir(far);
    assert!(proving.is_on());
    proving.end();
    thread.join().unwrap();
    until(&gateway, 404);
    until(&gateway, 200);
}

#[test]
fn a_connection_that_nobody_takes_back_is_served() {
    let upstream = Upstream::ok();
    let gateway = Gateway::with(&[("app", &short(&upstream))], settings());
    let (near, far) = way();
    let (_heir, proving) = gateway.heir(far);
    drop(near);
    until(&gateway, 404);
    until(&gateway, 200);
    assert!(proving.is_on());
}

#[test]
fn what_cannot_be_taken_back_is_said() {
    let mut gateway = Gateway::serving(&[]);
    let returns = gateway.returns();
    let ListenAddress::Tcp(address) = gateway.address else { panic!("not on TCP") };
    let connection = || OwnedFd::from(TcpStream::connect(address).unwrap());
    let name = gateway.address.to_string();
    assert_eq!(returns.take(connection(), "127.0.0.1:1"), Err(NotTaken::NoSuchListener));
    let (unconnected, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(returns.take(unconnected.into(), &name), Err(NotTaken::Gone), "it is no connection of this listener");
    let last = connection();
    gateway.join();
    assert_eq!(returns.take(last, &name), Err(NotTaken::Draining));
}
