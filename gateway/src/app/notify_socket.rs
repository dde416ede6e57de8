//! Messages to the service manager that carry descriptors (sd_pid_notify_with_fds(3)), with a deadline.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::BorrowedFd,
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Descriptors of one message. Below SCM_MAX_FD (253, unix(7)).
pub(super) const AT_ONCE: usize = 64;
/// A service manager that takes no message for so long is not waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether there is a service manager to send to.
pub(super) fn is_there() -> bool {
    manager().is_some()
}

/// Sends `lines` and up to [`AT_ONCE`] descriptors; nothing where there is no service manager to send to.
///
/// # Errors
/// When it cannot be reached, or takes nothing in time.
pub(super) fn send(lines: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    match manager() {
        Some(to) => send_to(&to, lines, descriptors),
        None => Ok(()),
    }
}

fn manager() -> Option<OsString> {
    env::var_os("NOTIFY_SOCKET").filter(|to| !to.is_empty())
}

fn send_to(to: &OsStr, lines: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address(to)?)?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(&socket, &[IoSlice::new(lines.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A path, or an abstract name behind an `@` (sd_notify(3)).
fn address(to: &OsStr) -> io::Result<SocketAddr> {
    match to.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(to),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn descriptors_go_with_the_message_to_a_path_and_to_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@{}", path.display());
        for to in [path.as_os_str(), OsStr::new(&name)] {
            let manager = UnixDatagram::bind_addr(&address(to).unwrap()).unwrap();
            let sent = vec![manager.as_fd(); AT_ONCE];
            send_to(to, "FDSTORE=1\nFDNAME=x", &sent).unwrap();
            let mut buffer = [0; 100];
            let length = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"FDSTORE=1\nFDNAME=x");
            assert!(send_to(to, "", &vec![manager.as_fd(); 3 * AT_ONCE]).is_err());
        }
    }
}
