//! One take-over, as the successor sees it: what it is given, and what it says. What it does with it is `app`'s to arrange.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    channel::{Channel, ChannelError},
    desk,
    giving::own_cgroup,
    message::{Health, Hello, Message, Offer, PROTOCOL, Role, Table},
    predecessors::Predecessors,
    refused::Refused,
};
use crate::{sealed, upstream::registry::History};

/// For the socket to show itself: a process whose state folder was removed looks after it twice a second.
const FIND_WITHIN: Duration = Duration::from_millis(1500);
/// From one look for it to the next.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For everything that is given. The other side may wait for its updater, and writes the table's image.
const GIVEN_WITHIN: Duration = Duration::from_secs(30);
/// For an answer that nothing has to be done for but to let go of a folder.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Packets of one kind that are taken at most: sixteen thousand endpoints, and as many listening sockets as no machine has
/// workers for.
const MOST_PACKETS: u32 = 1024;

/// The successor's side of a take-over. Dropped before the end, it is over, and the running process goes on.
#[derive(Debug)]
pub struct Heir {
    channel: Channel,
    offer: Offer,
}

/// What was given.
#[derive(Debug)]
pub struct Legacy {
    /// The data plane's listening sockets.
    pub listeners: Vec<OwnedFd>,
    /// The admin API's.
    pub admin: Option<OwnedFd>,
    /// That of take-overs.
    pub desk: Option<OwnedFd>,
    /// The table's image, which nobody can change.
    pub image: File,
    /// Where to hand back connections.
    pub returns: OwnedFd,
    /// The running process's standard output and error.
    pub stdio: [Option<OwnedFd>; 2],
    /// The running process, and those before it that still drain.
    pub predecessors: Predecessors,
    /// What is known against endpoints.
    pub health: Vec<History>,
}

/// Asks the process that runs on `state_dir` to hand over.
///
/// # Errors
/// When there is none, it is not to be trusted, it refuses, or what it gives is not whole.
pub fn ask(state_dir: &Path) -> Result<(Heir, Legacy), Refused> {
    let channel = Channel::new(find(state_dir)?);
    let hello = Hello {
        oldest: *PROTOCOL.start(),
        newest: *PROTOCOL.end(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cgroup: own_cgroup(),
    };
    let deadline = Instant::now() + GIVEN_WITHIN;
    // Where it has been refused already, the reason is there to be read.
    match channel.send(&Message::Hello(hello), &[], deadline) {
        Ok(()) | Err(ChannelError::Closed) => {}
        Err(error) => return Err(error.into()),
    }
    let Message::Offer(offer) = heard(&channel, deadline)?.0 else { return Err(Refused::Missing("an offer")) };
    let legacy = receive(&channel, &offer, deadline)?;
    Ok((Heir { channel, offer: *offer }, legacy))
}

fn find(state_dir: &Path) -> Result<OwnedFd, Refused> {
    let deadline = Instant::now() + FIND_WITHIN;
    let nobody = |source: io::Error| Refused::Nobody { state_dir: state_dir.to_owned(), source };
    let socket = loop {
        match desk::reach(state_dir) {
            Ok(socket) => break socket,
            Err(error) if Instant::now() >= deadline => return Err(nobody(error)),
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    };
    match desk::trusted(&socket).map_err(nobody)? {
        Ok(_) => Ok(socket),
        Err(uid) => Err(Refused::OtherUser { state_dir: state_dir.to_owned(), uid }),
    }
}

/// The next message, where it is no refusal.
fn heard(channel: &Channel, deadline: Instant) -> Result<(Message, Vec<OwnedFd>), Refused> {
    match channel.receive(deadline)? {
        (Message::Refused { reason }, _) => Err(Refused::Said(reason)),
        other => Ok(other),
    }
}

fn receive(channel: &Channel, offer: &Offer, deadline: Instant) -> Result<Legacy, Refused> {
    let mut parts = Parts::default();
    for _ in 0..offer.health.min(MOST_PACKETS) {
        let Message::Health { endpoints } = heard(channel, deadline)?.0 else { return Err(Refused::Missing("health")) };
        parts.health.extend(endpoints.iter().filter_map(|health| History::try_from(health).ok()));
    }
    for _ in 0..offer.descriptors.min(MOST_PACKETS) {
        let (Message::Descriptors { roles }, descriptors) = heard(channel, deadline)? else {
            return Err(Refused::Missing("descriptors"));
        };
        if roles.len() != descriptors.len() {
            return Err(Refused::Missing("every descriptor it names"));
        }
        roles.into_iter().zip(descriptors).for_each(|(role, descriptor)| parts.take(role, descriptor));
    }
    parts.whole()
}

/// What has come so far.
#[derive(Default)]
struct Parts {
    listeners: Vec<OwnedFd>,
    admin: Option<OwnedFd>,
    desk: Option<OwnedFd>,
    image: Option<OwnedFd>,
    returns: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    predecessors: Vec<OwnedFd>,
    health: Vec<History>,
}

impl Parts {
    fn take(&mut self, role: Role, descriptor: OwnedFd) {
        match role {
            Role::Listener => self.listeners.push(descriptor),
            Role::Predecessor => self.predecessors.push(descriptor),
            Role::Admin => self.admin = Some(descriptor),
            Role::Desk => self.desk = Some(descriptor),
            Role::Image => self.image = Some(descriptor),
            Role::Returns => self.returns = Some(descriptor),
            Role::Stdout => self.stdout = Some(descriptor),
            Role::Stderr => self.stderr = Some(descriptor),
            Role::Unknown => {}
        }
    }

    fn whole(self) -> Result<Legacy, Refused> {
        let image = self.image.ok_or(Refused::Missing("a table"))?;
        if !sealed::is_sealed(&image) {
            return Err(Refused::Missing("a table that cannot change any more"));
        }
        Ok(Legacy {
            listeners: self.listeners,
            admin: self.admin,
            desk: self.desk,
            image: image.into(),
            returns: self.returns.ok_or(Refused::Missing("a way back for connections"))?,
            stdio: [self.stdout, self.stderr],
            predecessors: Predecessors::new(self.predecessors),
            health: self.health,
        })
    }
}

impl Heir {
    /// Who runs.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Says that this process has shown that it serves `table`; returns when the state folder is its to claim.
    ///
    /// # Errors
    /// When the running process refuses, or is heard of no more.
    pub fn proved(&self, table: Table) -> Result<(), Refused> {
        self.channel.send(&Message::Proved { table }, &[], Instant::now() + ANSWER_WITHIN)?;
        match heard(&self.channel, Instant::now() + ANSWER_WITHIN)?.0 {
            Message::Yours => Ok(()),
            _ => Err(Refused::Missing("its state folder")),
        }
    }

    /// Says that this process serves; returns when the other one receives no callers any more. That it has gone is no error.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn serving(self) -> Result<(), ChannelError> {
        let answer = self
            .channel
            .send(&Message::Serving, &[], Instant::now() + ANSWER_WITHIN)
            .and_then(|()| self.channel.receive(Instant::now() + ANSWER_WITHIN).map(drop));
        match answer {
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives up, and says why.
    pub fn give_up(self, reason: &str) {
        self.channel.refuse(reason);
    }
}

impl From<&History> for Health {
    fn from(history: &History) -> Self {
        Self {
            address: history.address.to_string(),
            failures: history.failures,
            ejections: history.ejections,
            ejected_for_ms: u64::try_from(history.ejected_for.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<&Health> for History {
    type Error = routing_cache::model::AddressError;

    fn try_from(health: &Health) -> Result<Self, Self::Error> {
        Ok(Self {
            address: health.address.parse()?,
            failures: health.failures,
            ejections: health.ejections,
            ejected_for: health.ejected_for(),
        })
    }
}
