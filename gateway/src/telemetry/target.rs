//! Where lines are written: standard output or error, a file that may be rotated away, a Unix socket that may come back.
//!
//! Used by one thread only, so it may wait; each wait but that for a pipe's reader has a deadline.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::{
        fs::{FileExt, MetadataExt, OpenOptionsExt},
        net::{UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a socket's reader may take for what is written to it.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(1);
/// The mode of a log file: its group may read it, others not, since paths and addresses are in it.
const FILE_MODE: u32 = 0o640;

/// A place for lines.
#[derive(Debug)]
pub(super) enum Target {
    /// Lines are dropped.
    Off,
    Stdout,
    Stderr,
    File(Reopened<File>),
    Unix(Reopened<Socket>),
}

/// Something at a path that is opened when needed, and again after it failed.
#[derive(Debug)]
pub(super) struct Reopened<T> {
    path: PathBuf,
    open: Option<T>,
}

#[derive(Debug)]
pub(super) enum Socket {
    /// One datagram a line, without its end.
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

impl Target {
    pub(super) fn file(path: &Path) -> Self {
        Self::File(Reopened::at(path))
    }

    pub(super) fn unix(path: &Path) -> Self {
        Self::Unix(Reopened::at(path))
    }

    /// Writes whole lines, each with its end.
    ///
    /// # Errors
    /// When they, or some of them, could not be written; they are lost then.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::Stdout => write_flushed(&mut io::stdout().lock(), lines),
            Self::Stderr => write_flushed(&mut io::stderr().lock(), lines),
            Self::File(file) => file.write(lines, open_file, |file, lines| file.write_all(lines)),
            Self::Unix(socket) => socket.write(lines, Socket::connect, Socket::write),
        }
    }

    /// Lets go of a file that is no longer at its path, so that the next line opens it anew. Called once a second.
    pub(super) fn check(&mut self) {
        if let Self::File(file) = self
            && file.open.as_ref().is_some_and(|open| !is_at(open, &file.path))
        {
            file.open = None;
        }
    }
}

fn write_flushed(out: &mut impl Write, lines: &[u8]) -> io::Result<()> {
    out.write_all(lines)?;
    out.flush()
}

impl<T> Reopened<T> {
    fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None }
    }

    fn write(
        &mut self,
        lines: &[u8],
        open: fn(&Path) -> io::Result<T>,
        write: fn(&mut T, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut target = self.open.take().map_or_else(|| open(&self.path), Ok)?;
        // What fails is not put back: the next lines open it anew.
        write(&mut target, lines)?;
        self.open = Some(target);
        Ok(())
    }
}

/// Opens it for appending; a last line that was cut off (by a full disk, or a crash) is ended first.
fn open_file(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.len() > 0 {
        let mut last = [0];
        file.read_exact_at(&mut last, metadata.len() - 1)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), path.metadata()) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

impl Socket {
    fn connect(path: &Path) -> io::Result<Self> {
        let datagram = UnixDatagram::unbound()?;
        match datagram.connect(path) {
            Ok(()) => {
                datagram.set_write_timeout(Some(SOCKET_TIMEOUT))?;
                Ok(Self::Datagram(datagram))
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
                Ok(Self::Stream(stream))
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(lines),
            Self::Datagram(socket) => {
                let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                lines.map(|line| socket.send(line)).try_for_each(|sent| sent.map(drop))
            }
        }
    }
}
