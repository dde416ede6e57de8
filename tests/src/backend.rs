//! An app that says who it is.

use std::{io::Write, net::SocketAddr};

use crate::server::Server;

/// An app on loopback.
#[derive(Debug)]
pub struct Backend(Server);

impl Backend {
    /// Answers every request with `name`, the request's method, target and length of its body, on one line.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let name = name.to_owned();
        Self(Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), move |request, stream| {
            let body = format!("{name} {} {} {}\n", request.method, request.target, request.body.len());
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes())
        }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
