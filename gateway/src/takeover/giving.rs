//! One take-over, as the process sees it that is to be replaced: step by step, and back from each of them.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use metrics::counter;
use routing_cache::updater::TableMark;
use rustix::process::Pid;
use tokio::{runtime::Runtime, time::timeout};

use super::{
    channel::{Channel, ChannelError, LAST_WORD_TIMEOUT, PACKET_DESCRIPTORS},
    desk,
    estate::Replaced,
    message::{Health, Hello, Message, Offer, Role, Table},
    predecessors::{self, MOST, Process},
    reception::Reception,
    refused_there::RefusedThere,
    returns::Returns,
};
use crate::{
    sealed,
    telemetry::names::{OUTCOME, TAKEOVERS},
    updates::Suspended,
};

/// For the first word of who calls.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// For the updater to end what it does, and stand still.
const SUSPEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the updater stands still at most: what comes from the orchestrator waits meanwhile. A table of a million apps is
/// written and read in a few seconds.
const SUSPENDED_AT_MOST: Duration = Duration::from_secs(30);
/// Until the successor has proved itself, from when the updater stands still.
const PROVE_WITHIN: Duration = Duration::from_secs(18);
/// Until it serves, from when the state folder is its.
const SERVE_WITHIN: Duration = Duration::from_secs(10);
/// For a successor that failed to end by itself. It has sockets in which clients wait, so then it is ended.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Endpoints of which something is known that are passed on. They are few: an orchestrator takes dead ones away.
const MOST_HEALTH: usize = 4096;
/// Of them in one packet: an address has 113 bytes at most, and the rest of its entry less than 100.
const HEALTH_IN_PACKET: usize = 256;

/// Who takes over, and how far it has come.
struct Giving<'a> {
    reception: &'a Reception,
    runtime: Runtime,
    channel: &'a Channel,
    successor: Process,
    pid: u32,
    /// It has duplicates of the sockets.
    is_entrusted: bool,
    returns: Option<Returns>,
    suspended: Option<Suspended>,
    /// The state folder was let go of.
    is_away: bool,
}

/// Hands over to who has called, or says why not.
pub(super) fn give(reception: &Reception, caller: OwnedFd) {
    let channel = Channel::new(caller);
    match known(&channel).and_then(|pid| Giving::begin(reception, &channel, pid)) {
        Ok(giving) => giving.carry_out(),
        Err(error) => {
            tracing::warn!(%error, "who asked to take over was not received");
            channel.refuse(&error.to_string());
        }
    }
}

/// Who has called, where it is one that may.
fn known(channel: &Channel) -> Result<Pid, RefusedThere> {
    Ok(desk::trusted(channel)?.map_err(RefusedThere::OtherUser)?.pid)
}

impl<'a> Giving<'a> {
    fn begin(reception: &'a Reception, channel: &'a Channel, pid: Pid) -> Result<Self, RefusedThere> {
        Ok(Self {
            reception,
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build()?,
            channel,
            successor: Process::find(pid)?,
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            is_entrusted: false,
            returns: None,
            suspended: None,
            is_away: false,
        })
    }

    fn carry_out(mut self) {
        match self.steps() {
            Ok(replaced) => self.withdraw(replaced),
            Err(error) => self.go_on(&error),
        }
    }

    fn steps(&mut self) -> Result<Replaced, RefusedThere> {
        let hello = self.hello()?;
        let protocol = self.judge(&hello)?;
        tracing::info!(pid = self.pid, version = hello.version, "a successor asks to take over");
        let mark = self.suspend()?;
        let deadline = Instant::now() + PROVE_WITHIN;
        let table = Table::from(&mark);
        self.offer(protocol, table.clone(), deadline)?;
        match self.channel.receive(deadline)?.0 {
            Message::Proved { table: theirs } if theirs == table => {}
            Message::Proved { table: theirs } => {
                return Err(RefusedThere::OtherTable { ours: Box::new(table), theirs: Box::new(theirs) });
            }
            other => return Err(unexpected(other)),
        }
        self.entrust_folder()?;
        Ok(Replaced { pid: self.pid, version: hello.version })
    }

    fn hello(&self) -> Result<Hello, RefusedThere> {
        match self.channel.receive(Instant::now() + HELLO_TIMEOUT)?.0 {
            Message::Hello(hello) => Ok(hello),
            other => Err(unexpected(other)),
        }
    }

    /// Whether this one may take over from this process now.
    fn judge(&self, hello: &Hello) -> Result<u32, RefusedThere> {
        let protocol = hello.agreed().ok_or(RefusedThere::Protocol { oldest: hello.oldest, newest: hello.newest })?;
        let estate = &self.reception.estate;
        if estate.draining.has_started() {
            return Err(RefusedThere::Draining);
        }
        // The one that is to be replaced will be one of them.
        let draining = estate.predecessors.count();
        if draining >= MOST {
            return Err(RefusedThere::TooMany { draining });
        }
        if !is_looked_after(is_supervised(), own_cgroup().as_deref(), hello.cgroup.as_deref()) {
            return Err(RefusedThere::Supervised);
        }
        Ok(protocol)
    }

    /// The updater stands still from here on.
    fn suspend(&mut self) -> Result<TableMark, RefusedThere> {
        let updates = &self.reception.estate.updates;
        let suspended = async { timeout(SUSPEND_TIMEOUT, updates.suspend(SUSPENDED_AT_MOST)).await };
        let suspended = self.runtime.block_on(suspended).map_err(|_| RefusedThere::Busy)??;
        let mark = self.runtime.block_on(suspended.mark());
        self.suspended = Some(suspended);
        Ok(mark?)
    }

    fn offer(&mut self, protocol: u32, table: Table, deadline: Instant) -> Result<(), RefusedThere> {
        let estate = &self.reception.estate;
        let image = self.image()?;
        let (returns, far) = Returns::start(estate.take_back.clone(), deadline + SERVE_WITHIN + 2 * END_WITHIN)?;
        self.returns = Some(returns);
        let given = self.descriptors(image, far)?;
        let histories = estate.endpoints.histories(MOST_HEALTH, Instant::now());
        let offer = Offer {
            protocol,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            table,
            takeovers: estate.takeovers,
            health: packets(histories.len(), HEALTH_IN_PACKET),
            descriptors: packets(given.len(), PACKET_DESCRIPTORS),
        };
        self.channel.send(&Message::Offer(Box::new(offer)), &[], deadline)?;
        for some in histories.chunks(HEALTH_IN_PACKET) {
            let endpoints = some.iter().map(Health::from).collect();
            self.channel.send(&Message::Health { endpoints }, &[], deadline)?;
        }
        self.is_entrusted = true;
        for some in given.chunks(PACKET_DESCRIPTORS) {
            let (roles, descriptors) =
                some.iter().map(|(role, own)| (role.clone(), own.as_fd())).unzip::<_, _, _, Vec<_>>();
            self.channel.send(&Message::Descriptors { roles }, &descriptors, deadline)?;
        }
        Ok(())
    }

    /// The table in memory that nobody can change any more.
    fn image(&self) -> Result<OwnedFd, RefusedThere> {
        let memory = sealed::memory("holdgate-table")?;
        let suspended = self.suspended.as_ref().ok_or(RefusedThere::Busy)?;
        let image = async { timeout(PROVE_WITHIN, suspended.image(memory)).await };
        let (memory, bytes) = self.runtime.block_on(image).map_err(|_| RefusedThere::Busy)??;
        let memory = sealed::seal(memory)?;
        tracing::debug!(bytes, "the table's image is made");
        Ok(memory)
    }

    fn descriptors(&self, image: OwnedFd, returns: OwnedFd) -> io::Result<Vec<(Role, OwnedFd)>> {
        let estate = &self.reception.estate;
        let mut given = (estate.sockets)()?;
        given.extend(self.reception.duplicate()?.map(|desk| (Role::Desk, desk)));
        given.extend([(Role::Image, image), (Role::Returns, returns), (Role::Predecessor, predecessors::own()?)]);
        given.extend(estate.predecessors.duplicates()?.into_iter().map(|pidfd| (Role::Predecessor, pidfd)));
        given.push((Role::Stdout, io::stdout().as_fd().try_clone_to_owned()?));
        given.push((Role::Stderr, io::stderr().as_fd().try_clone_to_owned()?));
        Ok(given)
    }

    /// Lets go of the state folder, and waits until the successor serves.
    fn entrust_folder(&mut self) -> Result<(), RefusedThere> {
        if self.reception.estate.draining.has_started() {
            return Err(RefusedThere::Draining);
        }
        let suspended = self.suspended.as_ref().ok_or(RefusedThere::Busy)?;
        self.is_away = true;
        self.runtime.block_on(suspended.release())?;
        let deadline = Instant::now() + SERVE_WITHIN;
        self.channel.send(&Message::Yours, &[], deadline)?;
        match self.channel.receive(deadline)?.0 {
            Message::Serving => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// The successor serves.
    fn withdraw(mut self, replaced: Replaced) {
        tracing::info!(pid = replaced.pid, version = replaced.version, "replaced by a successor that serves");
        if let Some(Err(error)) = self.suspended.take().map(|suspended| self.runtime.block_on(suspended.hand_over())) {
            tracing::error!(%error, "the successor serves, but took so long that the updater went on");
        }
        self.reception.close();
        counter!(TAKEOVERS, OUTCOME => "replaced").increment(1);
        // The last ones that came back are served here, too: the workers take none any more once they drain.
        if let Some(returns) = self.returns.take() {
            returns.join();
        }
        (self.reception.estate.withdraw)(replaced);
        // ignored: it serves, and needs to know no more
        let _ = self.channel.send(&Message::Serving, &[], Instant::now() + LAST_WORD_TIMEOUT);
    }

    /// This process goes on as if nothing had been.
    fn go_on(mut self, error: &RefusedThere) {
        counter!(TAKEOVERS, OUTCOME => "refused").increment(1);
        tracing::warn!(pid = self.pid, "the take-over came to nothing, this process serves on: {error}");
        self.channel.refuse(&error.to_string());
        if !self.is_away {
            // The folder was never the successor's, so nothing needs to be waited for.
            self.suspended = None;
        }
        if self.is_entrusted {
            end(&self.successor, self.pid);
        }
        self.suspended = None;
        if let Some(returns) = self.returns.take() {
            returns.join();
        }
    }
}

/// A successor that failed must not go on with these sockets.
fn end(successor: &Process, pid: u32) {
    if successor.wait(END_WITHIN) {
        return;
    }
    tracing::warn!(pid, "the successor that failed does not end, and is ended");
    if let Err(error) = successor.kill() {
        tracing::error!(pid, %error, "the successor that failed cannot be ended");
    }
    if !successor.wait(END_WITHIN) {
        tracing::error!(pid, "the successor that failed has not ended");
    }
}

fn unexpected(message: Message) -> RefusedThere {
    match message {
        Message::Refused { reason } => RefusedThere::GaveUp(reason),
        _ => ChannelError::Strange("a message out of turn".to_owned()).into(),
    }
}

fn packets(items: usize, in_one: usize) -> u32 {
    u32::try_from(items.div_ceil(in_one)).unwrap_or(u32::MAX)
}

/// Whether a service manager that looks after this process will look after one of the group `theirs`, too: it ends what is in
/// the group of the process it has started, and sees nothing else. Where a group is not known, nobody is kept away.
fn is_looked_after(is_supervised: bool, own: Option<&str>, theirs: Option<&str>) -> bool {
    let is_another = own.zip(theirs).is_some_and(|(own, theirs)| own != theirs);
    !(is_supervised && is_another)
}

/// Whether a service manager has started this process, and hears of it (sd_notify(3)).
fn is_supervised() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// The control groups of this process.
pub(super) fn own_cgroup() -> Option<String> {
    std::fs::read_to_string("/proc/self/cgroup").ok().map(|text| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_that_a_service_manager_would_not_see_is_kept_away() {
        let (service, shell) = (Some("0::/system.slice/holdgate.service"), Some("0::/user.slice/session-1.scope"));
        assert!(is_looked_after(true, service, service));
        assert!(!is_looked_after(true, service, shell));
        assert!(is_looked_after(false, shell, service), "nobody looks after this one");
        assert!(is_looked_after(true, service, None) && is_looked_after(true, None, shell));
    }
}
