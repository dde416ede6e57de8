//! The way between two processes: a Unix socket that keeps packets apart, so that a message and its descriptors come
//! together or not at all. Every read and write has a deadline.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};

use super::message::Message;

/// Of one packet. Well within what the kernel lets wait in a socket by default (net.core.wmem_default, 208 KiB).
pub(super) const PACKET_BYTES: usize = 64 << 10;
/// Descriptors of one packet. Source: the kernel allows 253 (SCM_MAX_FD); sixteen descriptors are enough to be quick.
pub(super) const PACKET_DESCRIPTORS: usize = 16;

/// For a last word to be sent: its reader is there, or does not matter.
pub(super) const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

const SPACE: usize = rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS));

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// Why nothing more is said.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side said nothing, or read nothing, for too long.
    #[error("the other process did not answer in time")]
    TimedOut,
    /// The other side has closed, or is no more.
    #[error("the other process has gone")]
    Closed,
    /// What it says is not understood.
    #[error("the other process says what is not understood here: {0}")]
    Strange(String),
    /// The system refused.
    #[error("{0}")]
    System(#[source] io::Error),
}

impl Channel {
    /// Speaks over `socket`, which is of the kind [`kind`].
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends `message` and duplicates of `descriptors`, before `deadline`.
    pub(super) fn send(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<(), ChannelError> {
        let bytes = serde_json::to_vec(message).map_err(|error| ChannelError::Strange(error.to_string()))?;
        send_packet(self.0.as_fd(), &bytes, descriptors, deadline)
    }

    /// Says why nothing comes of it.
    pub(super) fn refuse(&self, reason: &str) {
        let refused = Message::Refused { reason: reason.to_owned() };
        // ignored: one that does not listen learns it from the end of the connection
        let _ = self.send(&refused, &[], Instant::now() + LAST_WORD_TIMEOUT);
    }

    /// The next message, before `deadline`.
    pub(super) fn receive(&self, deadline: Instant) -> Result<(Message, Vec<OwnedFd>), ChannelError> {
        let mut bytes = vec![0; PACKET_BYTES];
        let (length, descriptors) = receive_packet(self.0.as_fd(), &mut bytes, deadline)?;
        let message = serde_json::from_slice(bytes.get(..length).unwrap_or_default());
        message.map(|message| (message, descriptors)).map_err(|error| ChannelError::Strange(error.to_string()))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kind of socket that take-overs use.
pub(super) fn kind() -> (AddressFamily, SocketType, SocketFlags) {
    (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// Two ends of one way.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind, flags) = kind();
    Ok(socketpair(family, kind, flags, None)?)
}

/// Sends one packet, before `deadline`.
pub(super) fn send_packet(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    deadline: Instant,
) -> Result<(), ChannelError> {
    loop {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(ChannelError::System(io::ErrorKind::InvalidInput.into()));
        }
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(socket, PollFlags::OUT, deadline)?,
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(ChannelError::Closed),
            Err(errno) => return Err(ChannelError::System(errno.into())),
        }
    }
}

/// Receives one packet into `bytes`, before `deadline`; says how long it is.
pub(super) fn receive_packet(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    deadline: Instant,
) -> Result<(usize, Vec<OwnedFd>), ChannelError> {
    loop {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
            Ok(received) if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) => {
                return Err(ChannelError::Strange("a packet that is too large".to_owned()));
            }
            // No packet is empty: this is the end.
            Ok(received) if received.bytes == 0 => return Err(ChannelError::Closed),
            Ok(received) => return Ok((received.bytes, rights(&mut control))),
            // The other end was closed with words of ours unread, which is said once: what it has said before is still there.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(Errno::AGAIN) => wait(socket, PollFlags::IN, deadline)?,
            Err(errno) => return Err(ChannelError::System(errno.into())),
        }
    }
}

fn rights(control: &mut RecvAncillaryBuffer<'_>) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    descriptors
}

fn wait(socket: BorrowedFd<'_>, what: PollFlags, deadline: Instant) -> Result<(), ChannelError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ChannelError::TimedOut);
    }
    // Whether it was time or the socket shows itself with the next try.
    is_ready(socket, what, left).map(drop).map_err(ChannelError::System)
}

/// Waits until `descriptor` is ready for `what`, for `at_most` so long; true when it is.
pub(super) fn is_ready(descriptor: BorrowedFd<'_>, what: PollFlags, at_most: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(at_most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    match poll(&mut [PollFd::from_borrowed_fd(descriptor, what)], Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn channels() -> (Channel, Channel) {
        let (one, other) = pair().unwrap();
        (Channel::new(one), Channel::new(other))
    }

    #[test]
    fn a_message_and_its_descriptors_come_together() {
        let (one, other) = channels();
        let (mut near, far) = UnixStream::pair().unwrap();
        one.send(&Message::Yours, &[], soon()).unwrap();
        one.send(&Message::Serving, &[far.as_fd()], soon()).unwrap();
        drop((far, one));
        assert!(matches!(other.receive(soon()), Ok((Message::Yours, none)) if none.is_empty()));
        let Ok((Message::Serving, mut descriptors)) = other.receive(soon()) else { panic!("not what was sent") };
        UnixStream::from(descriptors.pop().unwrap()).write_all(b"x").unwrap();
        let mut byte = [0];
        near.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert!(matches!(other.receive(soon()), Err(ChannelError::Closed)));
        assert!(matches!(other.send(&Message::Yours, &[], soon()), Err(ChannelError::Closed)));
    }

    #[test]
    fn the_last_words_of_who_did_not_listen_are_heard() {
        let (one, other) = channels();
        one.send(&Message::Yours, &[], soon()).unwrap();
        other.send(&Message::Serving, &[], soon()).unwrap();
        drop(other);
        assert!(matches!(one.receive(soon()), Ok((Message::Serving, _))));
        assert!(matches!(one.receive(soon()), Err(ChannelError::Closed)));
    }

    #[test]
    fn who_says_nothing_and_who_says_nonsense_are_told_apart() {
        let (one, other) = channels();
        assert!(matches!(other.receive(Instant::now()), Err(ChannelError::TimedOut)));
        send_packet(one.as_fd(), b"hello?", &[], soon()).unwrap();
        assert!(matches!(other.receive(soon()), Err(ChannelError::Strange(_))));
        send_packet(one.as_fd(), &vec![b'x'; PACKET_BYTES + 1], &[], soon()).unwrap();
        assert!(matches!(other.receive(soon()), Err(ChannelError::Strange(_))));
    }

    #[test]
    fn who_reads_nothing_is_waited_for_no_longer_than_said() {
        let (one, _other) = channels();
        let fill = || send_packet(one.as_fd(), &[b'x'; 1000], &[], Instant::now());
        let error = (0..100_000).find_map(|_| fill().err());
        assert!(matches!(error, Some(ChannelError::TimedOut)), "{error:?}");
    }
}
