//! Listening sockets that outlive this process: copies of them in the service manager's descriptor store
//! (systemd.service(5), `FileDescriptorStoreMax=`).
//!
//! While the store has a socket it goes on listening, whatever becomes of the process: clients wait in its backlog, and the
//! next process is passed it (`passed`). So a crash or a restart refuses nobody. Where the service is to stop for good the
//! copies are taken back, or clients would go on to connect to nobody.
//!
//! What was passed is not sent again: it is in the store, or a socket unit has it. The admin API's socket is not kept: that
//! nobody answers there is what its clients are to see.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd},
};

use super::{
    notify_socket::{self, AT_ONCE},
    passed::{self, Passed},
};
use crate::{
    config::ListenAddress,
    net::listen::{BoundListener, ListenSocket},
};

/// The longest name that is taken. Source: `FDNAME=` of sd_pid_notify_with_fds(3).
const NAME_BYTES: usize = 255;
/// Stands in the names that are given here between the listener's and the address, and in no name of a socket unit.
const AT: char = '@';

/// What of ours is in the store.
#[derive(Debug)]
pub(super) struct DescriptorStore {
    names: BTreeSet<String>,
}

impl DescriptorStore {
    /// Keeps the sockets of `listeners`; of what was `passed` and nobody has taken the store is rid.
    pub(super) fn settle(passed: Passed, listeners: &[BoundListener]) -> Self {
        log_refused(&passed);
        let left: Vec<&ListenAddress> = passed.sockets.left().collect();
        let (unwanted, taken): (Vec<_>, Vec<_>) = passed.known.iter().partition(|known| left.contains(&&known.address));
        for known in &unwanted {
            tracing::info!(name = known.name, address = %known.address, "a socket that was passed is closed: no listener is there");
        }
        let refused = passed.refused.iter().map(|(name, _)| name);
        forget(refused.chain(unwanted.iter().map(|known| &known.name)));
        if !taken.is_empty() {
            tracing::info!(sockets = taken.len(), "listening on sockets that were passed");
        }
        let known: BTreeSet<u64> = taken.iter().map(|known| known.inode).collect();
        let mut names: BTreeSet<String> = taken.iter().map(|known| known.name.clone()).filter(|n| is_ours(n)).collect();
        for listener in listeners {
            let name = name_of(listener);
            if keep(&name, &new_sockets(listener, &known)) {
                names.insert(name);
            }
        }
        Self { names }
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

/// True when some were sent. That the service manager looks for hang-ups is switched off: what it takes for one it drops.
fn keep(name: &str, sockets: &[BorrowedFd<'_>]) -> bool {
    let send = |some| notify_socket::send(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), some);
    let sent: io::Result<Vec<bool>> = sockets.chunks(AT_ONCE).map(send).collect();
    match sent {
        Ok(sent) => sent.contains(&true),
        Err(error) => {
            tracing::warn!(%error, name, "a listener's sockets are not kept: a restart will refuse clients");
            true
        }
    }
}

fn forget<'a>(names: impl IntoIterator<Item = &'a String>) {
    for name in names {
        if let Err(error) = notify_socket::send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[]) {
            tracing::warn!(%error, name, "a socket stays in the descriptor store");
        }
    }
}

fn log_refused(passed: &Passed) {
    for (name, why) in &passed.refused {
        tracing::warn!(name, why, "a descriptor that was passed is of no use");
    }
}

/// The address is part of it: a name is removed with all that have it, and a listener may move to another address.
fn name_of(listener: &BoundListener) -> String {
    let safe = |c: char| if c.is_ascii_graphic() && c != ':' { c } else { '_' };
    format!("{}{AT}{}", listener.name, listener.address).chars().map(safe).take(NAME_BYTES).collect()
}

fn is_ours(name: &str) -> bool {
    name.contains(AT)
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::{config::ListenerConfig, net::inherited::Inherited, net::listen};

    fn called(name: &str, address: ListenAddress) -> String {
        name_of(&BoundListener { name: Arc::from(name), address, sockets: Vec::new() })
    }

    #[test]
    fn a_name_has_no_character_that_the_store_refuses() {
        assert_eq!(called("web", ListenAddress::Tcp("[::]:80".parse().unwrap())), "web@[__]_80");
        let long = PathBuf::from(format!("/{}", "ü".repeat(300)));
        let name = called("web", ListenAddress::Unix(long));
        assert!(name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic() && b != b':'), "{name}");
        assert!(is_ours(&name) && !is_ours("holdgate.socket"));
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
