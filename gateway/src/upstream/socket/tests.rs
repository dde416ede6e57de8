use std::{
    future::poll_fn,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use hyper::rt::ReadBuf;
use routing_cache::model::Address;
use socket2::SockRef;

use super::*;
use crate::net::stream;

const SOON: Duration = Duration::from_secs(10);
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
const BODY: &[u8] = b"ok";

async fn pair() -> (UpstreamSocket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let stream = stream::connect(&address, SOON).await.unwrap();
    (UpstreamSocket::new(stream).0, listener.accept().unwrap().0)
}

/// Asks, and reads as many bytes as the peer then writes.
async fn exchange(socket: &mut UpstreamSocket, peer: &mut TcpStream, answer: &[u8]) {
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    poll_fn(|cx| Pin::new(&mut *socket).poll_write(cx, request)).await.unwrap();
    peer.read_exact(&mut vec![0; request.len()]).unwrap();
    peer.write_all(answer).unwrap();
    let mut read = 0;
    while read < answer.len() {
        let mut bytes = [0; 1024];
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|cx| Pin::new(&mut *socket).poll_read(cx, buffer.unfilled())).await.unwrap();
        read += buffer.filled().len();
    }
}

/// Whether the kernel acknowledges what comes at once, or waits for something to send with it.
fn acknowledges_at_once(socket: &UpstreamSocket) -> bool {
    let Stream::Tcp(stream) = &socket.stream else { panic!("not TCP") };
    SockRef::from(stream).tcp_quickack().unwrap()
}

/// The state is looked at, not the 40 ms that an app with Nagle's algorithm on would wait for its second write.
#[tokio::test]
async fn an_answer_in_two_writes_is_acknowledged_at_once_and_a_whole_one_is_not() {
    let (mut socket, mut peer) = pair().await;
    let whole = [HEAD, BODY].concat();
    // After some questions and answers the kernel counts on there being something to send after each read.
    let begun = Instant::now();
    while acknowledges_at_once(&socket) {
        assert!(begun.elapsed() < SOON, "the kernel goes on to acknowledge at once");
        exchange(&mut socket, &mut peer, &whole).await;
    }
    exchange(&mut socket, &mut peer, HEAD).await;
    assert!(acknowledges_at_once(&socket), "the body is to come");
}
