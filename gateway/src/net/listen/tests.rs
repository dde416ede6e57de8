use std::{
    io::{Read, Write},
    net::TcpStream,
};

use socket2::SockRef;

use super::*;

fn config(address: ListenAddress) -> ListenerConfig {
    ListenerConfig { name: "web".into(), address, trusted_proxies: Vec::new() }
}

/// Binds with nothing inherited.
fn bind(config: &ListenerConfig, workers: usize) -> Result<BoundListener, BindError> {
    super::bind(config, workers, &mut Inherited::default())
}

fn loopback() -> ListenerConfig {
    config(ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()))
}

fn port(bound: &BoundListener) -> SocketAddr {
    match &bound.address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(path) => panic!("a Unix socket: {path:?}"),
    }
}

#[test]
fn every_worker_gets_a_socket_on_the_same_real_port() {
    let bound = bind(&loopback(), 3).unwrap();
    assert_ne!(port(&bound).port(), 0);
    assert_eq!((bound.sockets.len(), &*bound.name), (3, "web"));
    for socket in &bound.sockets {
        let ListenSocket::Tcp(socket) = socket else { panic!("not TCP: {socket:?}") };
        assert_eq!(socket.local_addr().unwrap(), port(&bound));
    }
}

/// A connection to `bound`, as it was accepted.
fn accepted(bound: &BoundListener) -> (TcpStream, Accepted, Option<IpAddr>) {
    let [socket] = &bound.sockets[..] else { panic!("one socket") };
    let client = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port(bound).port())).unwrap();
    loop {
        match socket.accept() {
            Ok((accepted, address)) => return (client, accepted, address),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn accepted_sockets_inherit_the_options_of_their_listener() {
    let everywhere = config(ListenAddress::Tcp("0.0.0.0:0".parse().unwrap()));
    let bound = bind(&everywhere, 1).unwrap();
    let (client, Accepted::Tcp(accepted), address) = accepted(&bound) else { panic!("not TCP") };
    assert_eq!(address, Some(client.local_addr().unwrap().ip()));
    let options = SockRef::from(&accepted);
    assert!(options.tcp_nodelay().unwrap());
    assert!(options.keepalive().unwrap());
    assert_eq!(options.tcp_keepalive_time().unwrap(), options::KEEPALIVE_IDLE);
    assert_eq!(options.tcp_user_timeout().unwrap(), Some(options::USER_TIMEOUT));
    assert_eq!(options.tcp_notsent_lowat().unwrap(), options::NOTSENT_LOWAT);
    assert!(options.nonblocking().unwrap());
    let flags = rustix::io::fcntl_getfd(&accepted).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn clients_on_this_machine_are_not_watched() {
    let bound = bind(&loopback(), 1).unwrap();
    let (_client, Accepted::Tcp(accepted), _) = accepted(&bound) else { panic!("not TCP") };
    let options = SockRef::from(&accepted);
    assert!(options.tcp_nodelay().unwrap() && !options.keepalive().unwrap());
    assert_eq!(options.tcp_user_timeout().unwrap(), None);
}

#[test]
fn a_client_by_ipv4_is_accepted_with_its_ipv4_address() {
    // A machine without IPv6 has no such listener.
    let Ok(bound) = bind(&config(ListenAddress::Tcp("[::]:0".parse().unwrap())), 1) else { return };
    let (client, _, address) = accepted(&bound);
    assert_eq!(address, Some(client.local_addr().unwrap().ip()));
}

#[test]
fn nobody_waiting_is_no_error_of_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let unix = bind(&config(ListenAddress::Unix(path.clone())), 1).unwrap();
    for bound in [&bind(&loopback(), 1).unwrap(), &unix] {
        assert_eq!(bound.sockets[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    let _client = UnixStream::connect(path).unwrap();
    assert!(matches!(unix.sockets[0].accept().unwrap(), (Accepted::Unix(_), None)));
}

#[test]
fn a_port_that_somebody_listens_on_is_never_shared() {
    let first = bind(&loopback(), 2).unwrap();
    let again = bind(&config(first.address.clone()), 2).unwrap_err();
    assert!(matches!(again, BindError::InUse { .. }), "{again:?}");
    let said = again.to_string();
    assert!(said.contains("listener web") && said.contains(&port(&first).to_string()), "{said}");
    drop(first.sockets);
    bind(&config(first.address), 2).unwrap();
}

#[test]
fn an_address_of_another_machine_is_refused_with_its_reason() {
    let error = bind(&config(ListenAddress::Tcp("192.0.2.1:80".parse().unwrap())), 1).unwrap_err();
    assert!(matches!(error, BindError::Refused { .. }), "{error:?}");
}

#[test]
fn the_socket_file_of_a_process_that_is_gone_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the stale file");
    let bound = bind(&config(ListenAddress::Unix(path.clone())), 2).unwrap();
    assert_eq!(bound.sockets.len(), 2);
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"x").unwrap();
    let ListenSocket::Unix(listener) = &bound.sockets[1] else { panic!("not Unix") };
    listener.set_nonblocking(false).unwrap();
    let mut byte = [0];
    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

#[test]
fn a_socket_file_that_somebody_listens_on_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let _first = UnixListener::bind(&path).unwrap();
    let error = bind(&config(ListenAddress::Unix(path.clone())), 1).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    fs::write(&path, "data").unwrap();
    let error = bind(&config(ListenAddress::Unix(path.clone())), 1).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}
