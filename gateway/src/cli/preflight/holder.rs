//! Whether an address that is taken is taken for the gateway: by the first process, which keeps a socket for a service that
//! does not run (a socket unit, the descriptor store).

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use crate::config::ListenAddress;

/// Who listens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// The first process, for whoever it starts.
    Kept,
    /// Somebody else.
    Another,
    /// Only root may look.
    Unknown,
}

/// Looks at who listens at `address`.
pub(super) fn of(address: &ListenAddress) -> Holder {
    let listening = listening_at(address);
    match sockets_of_first() {
        Ok(kept) if listening.iter().any(|inode| kept.contains(inode)) => Holder::Kept,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_systemd() => Holder::Unknown,
        _ => Holder::Another,
    }
}

/// Source: sd_booted(3).
fn is_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

fn sockets_of_first() -> io::Result<Vec<u64>> {
    let links = fs::read_dir("/proc/1/fd")?.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect())
}

/// The numbers of the sockets that listen there.
fn listening_at(address: &ListenAddress) -> Vec<u64> {
    let table = match address {
        ListenAddress::Tcp(address) if address.is_ipv4() => "/proc/net/tcp",
        ListenAddress::Tcp(_) => "/proc/net/tcp6",
        ListenAddress::Unix(_) => "/proc/net/unix",
    };
    let table = fs::read_to_string(table).unwrap_or_default();
    table.lines().skip(1).filter_map(|line| listener(line, address)).collect()
}

/// The socket of a line of proc_pid_net(5), where it listens at `address`.
fn listener(line: &str, address: &ListenAddress) -> Option<u64> {
    let mut columns = line.split_whitespace();
    match address {
        ListenAddress::Tcp(address) => {
            let (local, state) = (columns.nth(1)?, columns.nth(1)?);
            let listens = state == "0A" && local == in_hex(*address);
            listens.then(|| columns.nth(5)?.parse().ok())?
        }
        ListenAddress::Unix(path) => {
            let (flags, inode) = (columns.nth(3)?, columns.nth(2)?);
            let listens = flags == "00010000" && columns.next().map(Path::new) == Some(path);
            listens.then(|| inode.parse().ok())?
        }
    }
}

/// As the kernel writes it: words of four bytes in the machine's order.
fn in_hex(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).filter_map(|word| Some(u32::from_ne_bytes(word.try_into().ok()?)));
    let words: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd, unix::net::UnixListener};

    use super::*;

    fn inode(socket: impl AsFd) -> u64 {
        rustix::fs::fstat(socket).unwrap().st_ino
    }

    #[test]
    fn a_listening_socket_is_found_by_its_address() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = std::net::TcpListener::bind(loopback) else { continue };
            let address = ListenAddress::Tcp(socket.local_addr().unwrap());
            assert_eq!(listening_at(&address), [inode(&socket)]);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = UnixListener::bind(&path).unwrap();
        assert_eq!(listening_at(&ListenAddress::Unix(path)), [inode(&socket)]);
    }

    #[test]
    fn a_socket_of_this_process_is_not_kept_by_the_first() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_ne!(of(&ListenAddress::Tcp(socket.local_addr().unwrap())), Holder::Kept);
    }
}
