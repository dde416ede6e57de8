use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixListener,
};

use super::*;
use crate::{
    config::ListenerConfig,
    net::listen::{self, BoundListener},
};

fn listener(address: &ListenAddress) -> ListenerConfig {
    ListenerConfig { name: "web".into(), address: address.clone(), trusted_proxies: Vec::new() }
}

fn tcp() -> ListenAddress {
    ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())
}

/// Duplicates of the sockets of `bound`, as another process would have them.
fn handed_over(bound: &BoundListener) -> Inherited {
    let mut inherited = Inherited::default();
    for socket in &bound.sockets {
        let descriptor = match socket.duplicate().unwrap() {
            ListenSocket::Tcp(socket) => socket.into(),
            ListenSocket::Unix(socket) => socket.into(),
        };
        assert_eq!(inherited.add(descriptor).unwrap(), &bound.address);
    }
    inherited
}

/// Whether the client that has just connected is accepted from one of the sockets.
fn accepts(bound: &BoundListener) -> bool {
    bound.sockets.iter().any(|socket| socket.accept().is_ok())
}

#[test]
fn a_client_that_waits_in_a_backlog_is_accepted_by_whoever_inherits_the_socket() {
    for workers in [1, 2, 5] {
        let first = listen::bind(&listener(&tcp()), 2, &mut Inherited::default()).unwrap();
        let ListenAddress::Tcp(address) = first.address else { panic!("not TCP") };
        let client = TcpStream::connect(address).unwrap();
        let mut inherited = handed_over(&first);
        let second = listen::bind(&listener(&first.address), workers, &mut inherited).unwrap();
        assert_eq!(second.sockets.len(), workers.max(2), "every backlog, and one for each worker");
        assert_eq!(inherited.left().count(), 0);
        drop(first);
        assert!(accepts(&second));
        drop(client);
    }
}

#[test]
fn a_unix_socket_keeps_its_file_and_its_clients() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let address = ListenAddress::Unix(path.clone());
    let first = listen::bind(&listener(&address), 1, &mut Inherited::default()).unwrap();
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let second = listen::bind(&listener(&address), 3, &mut handed_over(&first)).unwrap();
    drop(first);
    assert_eq!(second.sockets.len(), 3);
    assert!(accepts(&second) && path.exists());
    drop(client);
}

#[test]
fn a_socket_that_shares_no_port_is_shared_by_its_workers() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ListenAddress::Tcp(plain.local_addr().unwrap());
    let mut inherited = Inherited::default();
    inherited.add(plain.into()).unwrap();
    let bound = listen::bind(&listener(&address), 2, &mut inherited).unwrap();
    assert_eq!(bound.sockets.len(), 2);
    let ListenAddress::Tcp(to) = address else { panic!("not TCP") };
    let _client = TcpStream::connect(to).unwrap();
    assert!(accepts(&bound), "and accepting does not wait");
}

#[test]
fn what_does_not_listen_is_refused_and_what_nobody_wants_is_named() {
    let mut inherited = Inherited::default();
    let connected = TcpStream::connect(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).ok();
    let others: [OwnedFd; 2] =
        [UdpSocket::bind("127.0.0.1:0").unwrap().into(), std::fs::File::open("/dev/null").unwrap().into()];
    for descriptor in others.into_iter().chain(connected.map(Into::into)) {
        assert!(matches!(inherited.add(descriptor), Err(InheritError::NotListening)));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.sock");
    inherited.add(UnixListener::bind(&path).unwrap().into()).unwrap();
    assert!(inherited.take(&tcp()).is_empty());
    assert_eq!(inherited.left().collect::<Vec<_>>(), [&ListenAddress::Unix(path)]);
}

#[test]
fn connections_of_a_socket_that_another_program_has_opened_are_as_those_of_our_own() {
    let foreign = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = foreign.local_addr().unwrap().port();
    let mut inherited = Inherited::default();
    let address = inherited.add(foreign.into()).unwrap().clone();
    let bound = listen::bind(&listener(&address), 1, &mut inherited).unwrap();
    let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (accepted, _) = bound.sockets[0].accept().unwrap();
    let crate::net::stream::Accepted::Tcp(accepted) = accepted else { panic!("not TCP") };
    let socket = SockRef::from(&accepted);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
}
