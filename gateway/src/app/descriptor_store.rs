//! Listening sockets that outlive this process: copies of them in the service manager's descriptor store
//! (systemd.service(5), `FileDescriptorStoreMax=`).
//!
//! While the store has a socket it goes on listening, whatever becomes of the process: clients wait in its backlog, and the
//! next process is passed it (`passed`). So a crash or a restart refuses nobody. Where the service is to stop for good the
//! copies are taken back, or clients would go on to connect to nobody.
//!
//! What was inherited is not sent again: it is in the store, or a socket unit has it. The admin API's socket is not kept: that
//! nobody answers there is what its clients are to see.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{
    notify_socket::{self, AT_ONCE},
    passed::{self, Passed},
};
use crate::{
    config::ListenAddress,
    net::{
        inherited::Inherited,
        listen::{BoundListener, ListenSocket},
    },
};

/// The longest name that is taken. Source: `FDNAME=` of sd_pid_notify_with_fds(3).
const NAME_BYTES: usize = 255;
/// What of ours is in the store, or is to be.
#[derive(Debug, Default)]
pub(super) struct DescriptorStore {
    /// What the sockets of each listener are called there.
    names: BTreeSet<String>,
    /// Copies of those that are not there yet.
    new: BTreeMap<String, Vec<OwnedFd>>,
    /// What nobody listens on any more.
    unwanted: BTreeSet<String>,
}

impl DescriptorStore {
    /// As [`DescriptorStore::plan`], for what was `passed`; what of it is of no use is said.
    pub(super) fn of_passed(passed: &Passed, listeners: &[BoundListener]) -> io::Result<Self> {
        for (name, why) in &passed.refused {
            tracing::warn!(name, why, "a descriptor that was passed is of no use");
        }
        let known = passed.known.iter().map(|known| known.inode).collect();
        let mut store = Self::plan(&known, &passed.sockets, listeners)?;
        let left: Vec<&ListenAddress> = passed.sockets.left().collect();
        let (unwanted, taken): (Vec<_>, Vec<_>) = passed.known.iter().partition(|known| left.contains(&&known.address));
        for known in &unwanted {
            let (name, address) = (&known.name, &known.address);
            tracing::info!(name, %address, "a socket that was passed is closed: no listener is there");
        }
        if !taken.is_empty() {
            tracing::info!(sockets = taken.len(), "listening on sockets that were passed");
        }
        store.unwanted.extend(passed.refused.iter().map(|(name, _)| name.clone()));
        store.unwanted.extend(unwanted.iter().map(|known| known.name.clone()));
        Ok(store)
    }

    /// Keeps the sockets of `listeners` that are not `known`, and nothing of what is left over. Nothing is sent yet: the
    /// service manager listens to the main process of the service only, which a successor is not at first.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn plan(known: &BTreeSet<u64>, inherited: &Inherited, listeners: &[BoundListener]) -> io::Result<Self> {
        let mut store = Self { unwanted: inherited.left().map(name_of).collect(), ..Self::default() };
        for listener in listeners {
            let name = name_of(&listener.address);
            let own = new_sockets(listener, known).into_iter().map(|socket| socket.try_clone_to_owned());
            store.new.insert(name.clone(), own.collect::<io::Result<_>>()?);
            store.names.insert(name);
        }
        Ok(store)
    }

    /// Brings the store to what was planned.
    pub(super) fn settle(&mut self) {
        forget(&std::mem::take(&mut self.unwanted));
        for (name, sockets) in std::mem::take(&mut self.new) {
            if let Err(error) = keep(&name, &sockets) {
                tracing::warn!(%error, name, "a listener's sockets are not kept: a restart will refuse clients");
            }
        }
    }

    /// Takes back what is kept: with this process's own sockets the last ones close.
    pub(super) fn let_go(&mut self) {
        forget(&std::mem::take(&mut self.names));
    }
}

/// Each socket once that was not there before.
fn new_sockets<'a>(listener: &'a BoundListener, known: &BTreeSet<u64>) -> Vec<BorrowedFd<'a>> {
    let sockets: BTreeMap<u64, BorrowedFd<'a>> =
        listener.sockets.iter().map(ListenSocket::as_fd).map(|socket| (passed::inode(socket), socket)).collect();
    sockets.into_iter().filter(|(inode, _)| !known.contains(inode)).map(|(_, socket)| socket).collect()
}

/// Stores descriptors by a name. That the service manager looks for hang-ups is switched off: what it takes for one it drops.
pub(super) fn keep(name: &str, sockets: &[OwnedFd]) -> io::Result<()> {
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut some = sockets.chunks(AT_ONCE);
    some.try_for_each(|some| notify_socket::send(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), some))
}

/// Has what is stored by these names closed.
pub(super) fn forget<'a>(names: impl IntoIterator<Item = &'a (impl AsRef<str> + 'a)>) {
    for name in names {
        let name = name.as_ref();
        if let Err(error) = notify_socket::send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[]) {
            tracing::warn!(%error, name, "a descriptor stays in the descriptor store");
        }
    }
}

/// By the address, so that every process finds the same name, and removes by it nothing else.
fn name_of(address: &ListenAddress) -> String {
    let safe = |c: char| if c.is_ascii_graphic() && c != ':' { c } else { '_' };
    format!("listener@{address}").chars().map(safe).take(NAME_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{config::ListenerConfig, net::listen};

    #[test]
    fn a_name_has_no_character_that_the_store_refuses() {
        assert_eq!(name_of(&ListenAddress::Tcp("[::]:80".parse().unwrap())), "listener@[__]_80");
        let long = PathBuf::from(format!("/{}", "ü".repeat(300)));
        let name = name_of(&ListenAddress::Unix(long));
        assert!(name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic() && b != b':'), "{name}");
    }

    #[test]
    fn a_socket_that_workers_share_is_kept_once_and_one_that_was_passed_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let unix = ListenAddress::Unix(folder.path().join("s"));
        let tcp = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let bound = |address: ListenAddress| {
            let config = ListenerConfig { name: "web".into(), address, trusted_proxies: Vec::new() };
            listen::bind(&config, 3, &mut Inherited::default()).unwrap()
        };
        let (unix, tcp) = (bound(unix), bound(tcp));
        assert_eq!(new_sockets(&unix, &BTreeSet::new()).len(), 1);
        assert_eq!(new_sockets(&tcp, &BTreeSet::new()).len(), 3);
        let known = BTreeSet::from([passed::inode(tcp.sockets[1].as_fd())]);
        assert_eq!(new_sockets(&tcp, &known).len(), 2);
    }
}
