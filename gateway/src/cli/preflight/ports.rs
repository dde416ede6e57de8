//! Whether the listeners' addresses can be had: free, held by the gateway that will give them up, or kept for it by systemd.

use std::{io, net::SocketAddr, os::unix::net::UnixStream};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Finding,
    holder::{self, Holder},
};
use crate::{
    admin::view::Status,
    config::{Config, ListenAddress},
};

const CHECK: &str = "port";

/// One finding for each listener and one for the admin address.
pub(super) fn check(config: &Config, running: Option<&Status>) -> Vec<Finding> {
    let listeners = config.listeners.iter().map(|l| (l.name.as_str(), &l.address));
    let all = listeners.chain([("admin", &config.admin.address)]);
    all.map(|(name, address)| judge(name, address, &try_bind(address), running, || holder::of(address))).collect()
}

fn judge(
    name: &str,
    address: &ListenAddress,
    tried: &io::Result<()>,
    running: Option<&Status>,
    holder: impl FnOnce() -> Holder,
) -> Finding {
    let text = format!("{name} at {address}");
    match tried {
        Ok(()) => Finding::ok(CHECK, format!("{text} is free")),
        // A runtime folder is there only while the service is (systemd.exec(5), RuntimeDirectory=).
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::warning(CHECK, format!("{text}: its folder is not there; the service manager has to make it"))
        }
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => Finding::failed(CHECK, format!("{text}: {error}")),
        Err(_) if running.is_some_and(|status| holds(status, name, address)) => {
            Finding::ok(CHECK, format!("{text} is held by the running gateway"))
        }
        Err(_) => match holder() {
            Holder::Kept => Finding::ok(CHECK, format!("{text} is kept by the service manager")),
            Holder::Another => Finding::failed(CHECK, format!("{text} is held by another process")),
            Holder::Unknown => {
                Finding::warning(CHECK, format!("{text} is held by another process, or kept by systemd: ask as root"))
            }
        },
    }
}

/// The admin address is held by whoever answered there, and that was the gateway.
fn holds(status: &Status, name: &str, address: &ListenAddress) -> bool {
    name == "admin" || status.listeners.iter().any(|listener| listener.address == address.to_string())
}

fn try_bind(address: &ListenAddress) -> io::Result<()> {
    match address {
        ListenAddress::Tcp(address) => try_tcp(*address),
        // A file that nobody listens on is replaced at the start.
        ListenAddress::Unix(path) if UnixStream::connect(path).is_ok() => Err(io::ErrorKind::AddrInUse.into()),
        ListenAddress::Unix(path) => match path.parent() {
            Some(folder) if !folder.is_dir() => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(()),
        },
    }
}

/// Binds and lets go without listening. Without SO_REUSEPORT, so that sockets that have it count as in use too.
fn try_tcp(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn a_free_port_is_ok_and_one_that_somebody_else_holds_is_not() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ListenAddress::Tcp(holder.local_addr().unwrap());
        assert_eq!(judge("web", &address, &try_bind(&address), None, || Holder::Another).verdict, Verdict::Failed);
        drop(holder);
        assert_eq!(judge("web", &address, &try_bind(&address), None, || Holder::Another).verdict, Verdict::Ok);
    }

    #[test]
    fn a_port_that_the_service_manager_keeps_is_no_obstacle_and_who_cannot_look_is_told_so() {
        let address = ListenAddress::Tcp("127.0.0.1:80".parse().unwrap());
        let taken = || Err(io::ErrorKind::AddrInUse.into());
        assert_eq!(judge("web", &address, &taken(), None, || Holder::Kept).verdict, Verdict::Ok);
        assert_eq!(judge("web", &address, &taken(), None, || Holder::Unknown).verdict, Verdict::Warning);
    }

    #[test]
    fn a_unix_socket_is_in_use_only_while_somebody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let address = ListenAddress::Unix(path.clone());
        let holder = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(judge("web", &address, &try_bind(&address), None, || Holder::Another).verdict, Verdict::Failed);
        drop(holder);
        assert_eq!(judge("web", &address, &try_bind(&address), None, || Holder::Another).verdict, Verdict::Ok);
    }

    #[test]
    fn a_runtime_folder_that_is_not_there_yet_is_a_warning() {
        let address = ListenAddress::Unix("/nowhere/at/all/web.sock".into());
        assert_eq!(judge("web", &address, &try_bind(&address), None, || Holder::Another).verdict, Verdict::Warning);
    }

    #[test]
    fn an_address_of_another_machine_is_not_ok() {
        let address = ListenAddress::Tcp("192.0.2.1:80".parse().unwrap());
        assert_eq!(judge("web", &address, &try_bind(&address), None, || Holder::Another).verdict, Verdict::Failed);
    }
}
