//! Descriptors that the service manager passed to this process (sd_listen_fds(3)): the sockets of a socket unit, and what
//! a process before has left in the descriptor store.
//!
//! They are taken first of all, while nothing else is open, and only where `LISTEN_PID` says that they are meant for this
//! process. Nothing that is passed can keep a start from going on: what is no listening socket is told of, and closed.

use std::{
    env,
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::{
    fs::{FileType, fstat},
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
};

use super::kept_table;
use crate::{config::ListenAddress, net::inherited::Inherited};

/// The first of them. Source: `SD_LISTEN_FDS_START` of sd_listen_fds(3).
const FIRST: RawFd = 3;
/// More than any descriptor store or socket unit holds; a larger number is a mistake, and not counted up to.
const MOST: RawFd = 4096;
/// What one is called that came without a name. Source: sd_listen_fds_with_names(3).
const NAMELESS: &str = "unknown";

/// What was passed.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// The listening sockets, each once.
    pub(super) sockets: Inherited,
    /// Each of these sockets by its name.
    pub(super) known: Vec<Known>,
    /// The tables, with what each is called.
    pub(super) tables: Vec<(&'static str, File)>,
    /// The others, which are closed: the name, and why.
    pub(super) refused: Vec<(String, String)>,
}

/// A socket that was passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What the service manager calls it.
    pub(super) name: String,
    /// Where it listens.
    pub(super) address: ListenAddress,
    /// Which socket it is: descriptors of one socket have the same number (proc_pid_fd(5)).
    pub(super) inode: u64,
}

impl Passed {
    /// Takes what the environment says was passed. To be called once, before anything is opened.
    pub(super) fn take() -> Self {
        let text = |variable| env::var(variable).unwrap_or_default();
        let listed = listed(&text("LISTEN_PID"), &text("LISTEN_FDS"), &text("LISTEN_FDNAMES"), std::process::id());
        let mut passed = Self::default();
        for (number, name) in listed {
            match claim(number) {
                Ok(descriptor) => passed.add(descriptor, name),
                Err(why) => passed.refused.push((name, why.to_string())),
            }
        }
        passed
    }

    /// A socket that is there already, passed by a socket unit and from the store, say, is closed without a word.
    fn add(&mut self, descriptor: OwnedFd, name: String) {
        if let Some(name) = kept_table::known(&name).filter(|_| is_file(&descriptor)) {
            return self.tables.push((name, descriptor.into()));
        }
        let inode = inode(&descriptor);
        if self.known.iter().any(|known| known.inode == inode) {
            return;
        }
        match self.sockets.add(descriptor) {
            Ok(address) => self.known.push(Known { name, address: address.clone(), inode }),
            Err(why) => self.refused.push((name, why.to_string())),
        }
    }
}

/// Which open file a descriptor is of; 0 where the system does not say.
pub(super) fn inode(descriptor: impl AsFd) -> u64 {
    fstat(descriptor).map_or(0, |stat| stat.st_ino)
}

/// A socket may be called anything.
fn is_file(descriptor: &OwnedFd) -> bool {
    fstat(descriptor).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
}

/// Number and name of each descriptor that is meant for the process `own`.
fn listed(pid: &str, count: &str, names: &str, own: u32) -> Vec<(RawFd, String)> {
    let meant = pid.parse() == Ok(own);
    let count = count.parse::<RawFd>().unwrap_or(0).clamp(0, MOST);
    let names = names.split(':').filter(|name| !name.is_empty());
    let names = names.map(str::to_owned).chain(std::iter::repeat_with(|| NAMELESS.to_owned()));
    if meant { (FIRST..FIRST + count).zip(names).collect() } else { Vec::new() }
}

/// Makes a descriptor that was passed our own, closed on exec; an error where there is none of this number.
#[allow(unsafe_code)] // the number of a descriptor that another program has opened is all that there is.
fn claim(number: RawFd) -> rustix::io::Result<OwnedFd> {
    // SAFETY: it is only asked for its flags, and nothing here closes it meanwhile; a number without a file is an error.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(descriptor)?;
    fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as was just seen, and was so before this process opened anything: it was passed, so nothing else
    // owns it. Each number is claimed once.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor.as_raw_fd()) })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn numbers(pid: &str, count: &str, names: &str) -> Vec<(RawFd, String)> {
        listed(pid, count, names, 7)
    }

    fn named(all: &[(RawFd, &str)]) -> Vec<(RawFd, String)> {
        all.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
    }

    #[test]
    fn what_is_meant_for_another_process_is_not_taken() {
        assert_eq!(numbers("7", "2", "a:b"), named(&[(3, "a"), (4, "b")]));
        for (pid, count) in [("8", "2"), ("", "2"), ("x", "2"), ("7", ""), ("7", "-1"), ("7", "x"), ("7", "0")] {
            assert_eq!(numbers(pid, count, "a:b"), [], "{pid} {count}");
        }
    }

    #[test]
    fn a_descriptor_without_a_name_is_taken_and_a_mad_number_is_not_counted_up_to() {
        assert_eq!(numbers("7", "2", ""), named(&[(3, "unknown"), (4, "unknown")]));
        assert_eq!(numbers("7", "2", "a"), named(&[(3, "a"), (4, "unknown")]));
        assert_eq!(numbers("7", "2147483647", "").len(), 4096);
    }

    #[test]
    fn a_socket_is_taken_once_and_what_does_not_listen_is_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut passed = Passed::default();
        passed.add(socket.try_clone().unwrap().into(), "web".into());
        passed.add(socket.try_clone().unwrap().into(), "again".into());
        passed.add(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(), "odd".into());
        let address = ListenAddress::Tcp(socket.local_addr().unwrap());
        assert_eq!(passed.sockets.take(&address).len(), 1);
        assert_eq!(passed.known.len(), 1);
        assert_eq!(passed.known[0].name, "web");
        assert_eq!(passed.refused.len(), 1);
        assert_eq!(passed.refused[0].0, "odd");
    }

    #[test]
    fn a_file_by_the_name_of_a_table_is_one_and_a_socket_by_it_is_a_socket() {
        let mut passed = Passed::default();
        passed.add(tempfile::tempfile().unwrap().into(), "table".into());
        passed.add(TcpListener::bind("127.0.0.1:0").unwrap().into(), "table".into());
        passed.add(tempfile::tempfile().unwrap().into(), "odd".into());
        assert_eq!(passed.tables.len(), 1);
        assert_eq!(passed.known.len(), 1);
        assert_eq!(passed.refused.len(), 1);
    }
}
