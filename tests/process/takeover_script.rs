//! The protocol of a take-over, written again: a successor, and a process to be replaced, that do what a test says.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
        socket_with,
    },
};
use serde_json::{Value, json};

/// For the other side to say something; longer than it waits for anything.
const PATIENCE: Duration = Duration::from_secs(45);

/// One end of a take-over.
pub struct Channel(OwnedFd);

/// What a process that runs has given.
pub struct Given {
    /// What it says of itself.
    pub offer: Value,
    /// The listening sockets.
    pub listeners: Vec<OwnedFd>,
    /// Where connections go back to.
    pub returns: OwnedFd,
}

fn packets() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a socket")
}

fn address(state_dir: &Path) -> SocketAddrUnix {
    SocketAddrUnix::new(state_dir.join("handover.sock")).expect("a path that is short enough")
}

impl Channel {
    /// To the process that runs on `state_dir`.
    pub fn to(state_dir: &Path) -> Self {
        let socket = packets();
        connect(&socket, &address(state_dir)).expect("it listens");
        Self(socket)
    }

    /// Says `message`, with `descriptors`.
    pub fn say(&self, message: &Value, descriptors: &[BorrowedFd<'_>]) {
        let bytes = message.to_string();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        // ignored: one that has refused already has closed its end, and its reason is still there to be heard.
        let _ = sendmsg(&self.0, &[IoSlice::new(bytes.as_bytes())], &mut control, SendFlags::NOSIGNAL);
    }

    /// The next message; null when the other end is closed.
    pub fn hear(&self) -> (Value, Vec<OwnedFd>) {
        let timeout = Timespec::try_from(PATIENCE).expect("a time");
        let ready =
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)).expect("a socket can be waited for");
        assert!(ready > 0, "nothing was said");
        let mut bytes = vec![0; 1 << 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut receive = || recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags);
        // The other end may have been closed with words of ours unread, which is said once, before its own last words.
        let Ok(received) = receive().or_else(|_| receive()) else { return (Value::Null, Vec::new()) };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        (serde_json::from_slice(&bytes[..received.bytes]).unwrap_or(Value::Null), descriptors)
    }

    /// What kind of message comes next.
    pub fn hears(&self) -> String {
        self.hear().0["message"].as_str().unwrap_or("nothing").to_owned()
    }

    /// Says hello, and takes what is given.
    pub fn receive(&self) -> Given {
        // It speaks a later version, too, and says what only that understands.
        let mut first = hello(1, 9);
        first["more"] = json!({"of": "it"});
        self.say(&first, &[]);
        let offer = self.hear().0;
        assert_eq!(offer["message"], "offer", "{offer}");
        for _ in 0..offer["health"].as_u64().expect("a number") {
            assert_eq!(self.hears(), "health");
        }
        let (mut listeners, mut returns) = (Vec::new(), None);
        for _ in 0..offer["descriptors"].as_u64().expect("a number") {
            let (message, descriptors) = self.hear();
            let roles = message["roles"].as_array().expect("roles").clone();
            assert_eq!(roles.len(), descriptors.len());
            for (role, descriptor) in roles.iter().zip(descriptors) {
                match role["role"].as_str() {
                    Some("listener") => listeners.push(descriptor),
                    Some("returns") => returns = Some(descriptor),
                    _ => {}
                }
            }
        }
        Given { offer, listeners, returns: returns.expect("a way back") }
    }

    /// Says that what was offered is served.
    pub fn prove(&self, given: &Given) {
        self.say(&json!({"message": "proved", "table": given.offer["table"]}), &[]);
    }
}

impl Given {
    /// Accepts from every listener until `count` connections have come, and hands them back as those of `listener`.
    pub fn hand_back(&self, count: usize, listener: &str) {
        let until = Instant::now() + PATIENCE;
        let mut left = count;
        while left > 0 {
            assert!(Instant::now() < until, "{left} connections did not come");
            for socket in &self.listeners {
                let Ok(connection) = accept_with(socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) else {
                    continue;
                };
                let rights = [connection.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
                let name = [IoSlice::new(listener.as_bytes())];
                sendmsg(&self.returns, &name, &mut control, SendFlags::NOSIGNAL).expect("sent");
                left = left.saturating_sub(1);
            }
        }
    }
}

/// The first words of a successor that speaks these versions.
pub fn hello(oldest: u32, newest: u32) -> Value {
    json!({"message": "hello", "oldest": oldest, "newest": newest, "version": "scripted"})
}

/// Where a process that is to be replaced is found.
pub struct Desk(OwnedFd);

impl Desk {
    /// In `state_dir`.
    pub fn open(state_dir: &Path) -> Self {
        let socket = packets();
        bind(&socket, &address(state_dir)).expect("a free name");
        listen(&socket, 4).expect("it can listen");
        Self(socket)
    }

    /// The next caller.
    pub fn called(&self) -> Channel {
        let timeout = Timespec::try_from(PATIENCE).expect("a time");
        let ready =
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)).expect("a socket can be waited for");
        assert!(ready > 0, "nobody called");
        Channel(accept_with(&self.0, SocketFlags::CLOEXEC).expect("a caller"))
    }
}
