//! Where a running process is asked to hand over: a socket in its state folder, which belongs to one user alone.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    net::{
        SocketAddrUnix, SocketFlags, UCred, accept_with, bind, connect, listen, socket_with, sockopt::socket_peercred,
    },
    process::geteuid,
};

use super::channel;

/// The socket's name in the state folder.
pub(super) const NAME: &str = "handover.sock";
/// What it is called until it listens.
const NEW: &str = "handover.sock.new";
/// Who asks while one take-over is under way is refused, so hardly anybody ever waits here.
const BACKLOG: i32 = 16;
/// As the state folder is made by who writes into it.
const FOLDER_MODE: u32 = 0o700;
/// The longest path that a Unix socket's address has room for (unix(7)).
const ADDRESS_BYTES: usize = 107;

/// The listening socket, and which file it is.
#[derive(Debug)]
pub(super) struct Desk {
    socket: OwnedFd,
    state_dir: PathBuf,
    file: Option<(u64, u64)>,
}

impl Desk {
    /// Listens in `state_dir`, which is this process's: whatever has the name there is replaced.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let (family, kind, flags) = channel::kind();
        let socket = socket_with(family, kind, flags, None)?;
        let new = state_dir.join(NEW);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        with_address(state_dir, NEW, |address| bind(&socket, address))?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        listen(&socket, BACKLOG)?;
        // By its name only once it listens, so that there is no moment with a socket that refuses.
        fs::rename(&new, state_dir.join(NAME))?;
        Ok(Self::inherited(socket, state_dir))
    }

    /// The socket of the process before.
    pub(super) fn inherited(socket: OwnedFd, state_dir: &Path) -> Self {
        let file = file_of(&state_dir.join(NAME));
        Self { socket, state_dir: state_dir.to_owned(), file }
    }

    /// False when nobody can find it any more: its file, or the folder, was removed.
    pub(super) fn is_in_place(&self) -> bool {
        self.file.is_some() && file_of(&self.state_dir.join(NAME)) == self.file
    }

    /// Who asks next, if anybody does now.
    pub(super) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => Ok(Some(socket)),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Desk {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes the folder anew where it was removed, as a save of the table would.
pub(super) fn make_folder(state_dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(FOLDER_MODE).create(state_dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Reaches the process that runs on `state_dir`.
pub(super) fn reach(state_dir: &Path) -> io::Result<OwnedFd> {
    let (family, kind, flags) = channel::kind();
    let socket = socket_with(family, kind, flags, None)?;
    with_address(state_dir, NAME, |address| connect(&socket, address))?;
    Ok(socket)
}

/// Who is at the other end, where that is the same user or root. To who has connected it names who has made the socket listen,
/// which may be a process before the one that answers.
pub(super) fn trusted(socket: &impl AsFd) -> io::Result<Result<UCred, u32>> {
    let peer = socket_peercred(socket)?;
    let uid = peer.uid.as_raw();
    Ok(if peer.uid == geteuid() || uid == 0 { Ok(peer) } else { Err(uid) })
}

/// Calls `deed` with an address that leads to `name` in `folder`, however long its path is.
fn with_address(folder: &Path, name: &str, deed: impl FnOnce(&SocketAddrUnix) -> Result<(), Errno>) -> io::Result<()> {
    let path = folder.join(name);
    if path.as_os_str().len() <= ADDRESS_BYTES {
        return Ok(deed(&SocketAddrUnix::new(&path)?)?);
    }
    let folder =
        File::from(rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    let path = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    Ok(deed(&SocketAddrUnix::new(path)?)?)
}

fn file_of(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket())?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_reached(desk: &Desk, folder: &Path) {
        let caller = reach(folder).unwrap();
        let called = desk.accept().unwrap().unwrap();
        for end in [caller, called] {
            assert_eq!(trusted(&end).unwrap().unwrap().uid, geteuid());
        }
        assert!(desk.accept().unwrap().is_none());
    }

    #[test]
    fn a_desk_is_found_in_its_folder_however_long_the_path_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["short".to_owned(), "long".repeat(40)] {
            let folder = folder.path().join(name);
            assert!(reach(&folder).is_err());
            make_folder(&folder).unwrap();
            let desk = Desk::open(&folder).unwrap();
            is_reached(&desk, &folder);
            let mode = fs::metadata(folder.join(NAME)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_desk_whose_folder_was_removed_knows_it_and_opens_anew() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        make_folder(&folder).unwrap();
        let desk = Desk::open(&folder).unwrap();
        assert!(desk.is_in_place());
        fs::remove_dir_all(&folder).unwrap();
        assert!(!desk.is_in_place());
        make_folder(&folder).unwrap();
        let second = Desk::open(&folder).unwrap();
        assert!(second.is_in_place() && !desk.is_in_place(), "the file is the second one's");
        is_reached(&second, &folder);
    }

    #[test]
    fn what_a_process_before_has_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        drop(Desk::open(folder.path()).unwrap());
        assert!(reach(folder.path()).is_err(), "nobody listens");
        fs::write(folder.path().join(NEW), "left").unwrap();
        is_reached(&Desk::open(folder.path()).unwrap(), folder.path());
    }
}
