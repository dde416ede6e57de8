//! Every socket option the gateway sets, in one place, each with its reason.
//!
//! What an accepted socket needs is set on its listener: Linux hands `TCP_NODELAY` and the keep-alive settings on to
//! the sockets that `accept` returns, so that a new connection costs no system call for them.

use std::{io, net::SocketAddr, os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// Connections that wait for `accept`. Source: net.core.somaxconn, which caps it, is 4096 since Linux 5.4.
pub const BACKLOG: i32 = 4096;
/// A peer that is silent for so long is asked whether it is still there.
/// Source: half of the shortest idle time-out of the usual stateful firewalls and load balancers (about two minutes).
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// From one unanswered probe to the next.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// So many unanswered probes and the peer is gone: two minutes in all.
pub const KEEPALIVE_PROBES: u32 = 4;
/// What was sent to an upstream and not acknowledged for so long breaks the connection. Without it the kernel tries for
/// about 15 minutes (tcp(7), tcp_retries2), longer than any request waits.
pub const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Prepares a TCP listener before it is bound; accepted sockets inherit all but the reuse options.
///
/// # Errors
/// When the kernel refuses an option.
pub fn listener(socket: &socket2::Socket) -> io::Result<()> {
    may_rebind(socket)?;
    // One socket for each worker, so that the kernel spreads connections and no worker wakes for another's.
    socket.set_reuse_port(true)?;
    // Inherited: an answer's last small segment never waits for the acknowledgement of the one before (outage D).
    socket.set_tcp_nodelay(true)?;
    // Inherited: a client that vanished without a word gives its descriptor back.
    socket.set_tcp_keepalive(&keepalive())
}

/// A restart must not wait for the connections of the process before, which linger in TIME_WAIT.
///
/// # Errors
/// When the kernel refuses the option.
pub fn may_rebind(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// An IPv6 listener takes IPv6 only, whatever net.ipv6.bindv6only says; but `[::]`, by which people mean every address
/// of the machine, takes IPv4 too.
///
/// # Errors
/// When the kernel refuses the option.
pub fn dual_stack(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(!address.ip().is_unspecified()) } else { Ok(()) }
}

/// Prepares a socket towards an upstream, before it is connected.
///
/// # Errors
/// When the kernel refuses an option.
pub fn upstream(socket: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    let socket = SockRef::from(socket);
    // A body that follows its head in a second write never waits for the acknowledgement of the head (outage D).
    socket.set_tcp_nodelay(true)?;
    if address.ip().is_loopback() {
        // Nothing is ever lost on loopback: a dead peer is a reset at once. Saves two system calls a connection.
        return Ok(());
    }
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&keepalive())
}

/// Acknowledges at once what has come. A client with Nagle's algorithm on holds the second of two small writes until the
/// first is acknowledged; our kernel would delay that by 40 ms, waiting for an answer that needs the second (outage D).
/// The kernel forgets this by itself, so it is set again whenever it is needed.
pub fn acknowledge_now(socket: &impl AsFd) {
    // ignored: it only makes things faster, and it fails only on a socket that is gone, which the next read tells.
    let _ = SockRef::from(socket).set_tcp_quickack(true);
}

/// Closing is to be a reset, and what is not sent yet is dropped: for an answer that broke off, and whose end the peer
/// knows by nothing but the end of the connection.
pub fn reset_on_close(socket: &impl AsFd) {
    // ignored: it fails only on a socket that is gone, which is as good.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES)
}
