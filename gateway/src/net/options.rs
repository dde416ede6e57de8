//! Every socket option the gateway sets, in one place, each with its reason.
//!
//! What an accepted socket needs is set on its listener: Linux hands all of it but the reuse options on to the sockets that
//! `accept` returns, so that a new connection costs no system call for them (tests in `listen`).
//!
//! Left alone on purpose:
//! - `TCP_DEFER_ACCEPT`: the kernel would keep a client that has sent nothing to itself. It saves a wake and a read for
//!   each such connection, but no system call where the request came with the handshake's end; and a client that is so
//!   kept believes itself connected, is in no count, under no time-out of ours, and is reset without a word when the
//!   listener closes, in a drain or a restart. A check that only connects would never be seen.
//! - `SO_SNDBUF`, `SO_RCVBUF`: setting them switches the kernel's tuning off (tcp(7)), which gives a fast peer megabytes and
//!   an idle one nothing. The bound is net.ipv4.tcp_rmem and tcp_wmem.
//! - `IP_BIND_ADDRESS_NO_PORT`: it is for sockets that are bound to a local address before they connect. None is here, so
//!   the kernel chooses a port when it knows the peer, and each peer has the whole of ip_local_port_range.
//! - `TCP_FASTOPEN`: what comes with a SYN may come twice, and a request must not.

use std::{io, net::SocketAddr, os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// Connections that wait for `accept`, at each worker's socket. Source: the default of net.core.somaxconn since Linux 5.4,
/// which caps it; see [`short_backlog`].
pub const BACKLOG: i32 = 4096;
/// A peer that is silent for so long is asked whether it is still there.
/// Source: half of the shortest idle time-out of the usual stateful firewalls and load balancers (about two minutes).
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// From one unanswered probe to the next.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// So many unanswered probes and the peer is gone: two minutes in all.
pub const KEEPALIVE_PROBES: u32 = 4;
/// What was sent and not acknowledged for so long breaks the connection. Without it the kernel tries for about 15 minutes
/// (tcp(7), tcp_retries2), longer than any request waits.
///
/// It ends keep-alive's patience too, and that with a living peer which reads nothing (measured: a peer with a full buffer
/// breaks after just this time, though it acknowledges every probe). So it is as long as the keep-alive probes take in
/// all, and longer than the default time-outs for idle bodies, which are to be met first.
pub const USER_TIMEOUT: Duration = Duration::from_mins(2);

/// What may wait in the kernel for a peer beyond what is on its way. Without it a client that stops reading holds 3.8 MiB of
/// kernel memory, with it 0.4 MiB (measured on loopback with tcp_wmem's default of 4 MiB; 64 MiB to a fast reader take 15 to
/// 40 waits for the socket with and without), and an upstream that does 3.9 MiB of an upload. What is on its way is not counted, so a long fast path is filled as before.
pub const NOTSENT_LOWAT: u32 = 256 << 10;

/// Prepares a TCP listener before it is bound; accepted sockets inherit all but the reuse options.
///
/// # Errors
/// When the kernel refuses an option.
pub fn listener(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    may_rebind(socket)?;
    // One socket for each worker, so that the kernel spreads connections and no worker wakes for another's.
    socket.set_reuse_port(true)?;
    handed_on(&SockRef::from(socket), address)
}

/// What accepted sockets inherit, for a listener that another program may have opened.
///
/// # Errors
/// When the kernel refuses an option.
pub fn handed_on(socket: &SockRef<'_>, address: SocketAddr) -> io::Result<()> {
    // Inherited: an answer's last small segment never waits for the acknowledgement of the one before (outage D).
    socket.set_tcp_nodelay(true)?;
    // Inherited: what slow readers cost is bounded.
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    // Inherited: a client that vanished without a word gives its descriptor back.
    watch(socket, address)
}

/// Has the kernel find out that the peer is gone. On loopback nothing is ever lost, and a dead peer is a reset at once: none
/// of it is needed there, and an upstream's connection is five system calls cheaper.
fn watch(socket: &SockRef<'_>, address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&keepalive())
}

/// net.core.somaxconn, where it cuts [`BACKLOG`] short: a burst of connections beyond it is refused or delayed by a second.
#[must_use]
pub fn short_backlog() -> Option<i32> {
    let asked = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    cut_short(&asked)
}

fn cut_short(somaxconn: &str) -> Option<i32> {
    somaxconn.trim().parse().ok().filter(|most| *most < BACKLOG)
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
    // What uploads to an app that does not read them cost is bounded.
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    watch(&socket, address)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_short_only_where_the_system_allows_less() {
        assert_eq!(cut_short("128\n"), Some(128));
        assert_eq!(cut_short("4096\n"), None);
        assert_eq!(cut_short("65535\n"), None);
        assert_eq!(cut_short("many"), None);
    }

    #[test]
    fn what_is_not_acknowledged_is_given_up_no_sooner_than_an_unanswered_probe() {
        assert_eq!(USER_TIMEOUT, KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES);
    }
}
