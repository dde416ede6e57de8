use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_connection_has_its_options_before_the_first_byte() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = connect(&Address::Tcp(address), SOON).await.unwrap();
    assert_eq!(stream.peer(), Some(address));
    let Stream::Tcp(tcp) = &stream else { panic!("not TCP") };
    assert!(tcp.nodelay().unwrap());
    assert!(!SockRef::from(tcp).keepalive().unwrap(), "loopback needs none");
}

#[test]
fn a_peer_that_is_not_on_this_machine_is_watched() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    options::upstream(&socket, "192.0.2.1:80".parse().unwrap()).unwrap();
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(options::USER_TIMEOUT));
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = connect(&Address::Tcp(address), SOON).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Refused(e) if e.kind() == io::ErrorKind::ConnectionRefused), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_given_up_in_time() {
    // TEST-NET-1 is routed nowhere; a machine without any route says so at once instead, which is no time-out.
    match connect(&Address::Tcp("192.0.2.1:9".parse().unwrap()), Duration::from_secs(1)).await {
        Err(ConnectError::TimedOut { after }) => assert_eq!(after, Duration::from_secs(1)),
        Err(ConnectError::Refused(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn running_out_of_descriptors_or_ports_is_our_own_fault() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS] {
        assert!(matches!(ConnectError::from(io::Error::from(errno)), ConnectError::Local(_)), "{errno}");
    }
    assert!(matches!(ConnectError::from(io::Error::from(Errno::CONNREFUSED)), ConnectError::Refused(_)));
}

#[tokio::test]
async fn a_unix_socket_is_a_stream_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    assert!(matches!(connect(&address, SOON).await, Err(ConnectError::Refused(_))));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut stream = connect(&address, SOON).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.set_quickack();
    let mut hello = [0; 5];
    peer.read_exact(&mut hello).await.unwrap();
    assert_eq!((&hello, stream.peer()), (b"hello", None));
}

#[tokio::test]
async fn a_client_by_ipv4_has_its_ipv4_address_on_every_listener() {
    // A machine without IPv6 has no such listener.
    let Ok(listener) = tokio::net::TcpListener::bind("[::]:0").await else { return };
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let accepted = Stream::Tcp(listener.accept().await.unwrap().0);
    assert_eq!(accepted.peer(), Some(client.local_addr().unwrap()));
    assert_eq!(accepted.local(), Some(client.peer_addr().unwrap()));
}

#[tokio::test]
async fn a_unix_socket_whose_backlog_is_full_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    let patience = Duration::from_millis(50);
    let error = connect(&address, patience).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { after } if after == patience), "{error:?}");
    let accept = async {
        tokio::task::yield_now().await;
        listener.accept().unwrap()
    };
    let (connected, _accepted) = tokio::join!(connect(&address, SOON), accept);
    connected.unwrap();
}

#[tokio::test]
async fn input_is_seen_before_the_runtime_has_heard_of_it_and_an_end_is_none() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    accepted.set_nonblocking(true).unwrap();
    let mut stream = Stream::Tcp(TcpStream::from_std(accepted).unwrap());
    assert!(!stream.has_input());
    std::io::Write::write_all(&mut client, b"x").unwrap();
    // Not a moment in which the runtime could have looked.
    assert!(stream.has_input());
    std::future::poll_fn(|cx| stream.poll_readable(cx)).await;
    assert!(stream.has_input(), "nothing was read");
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    client.shutdown(std::net::Shutdown::Write).unwrap();
    std::future::poll_fn(|cx| stream.poll_readable(cx)).await;
    assert!(!stream.has_input());
}
