//! The thread on which a running process is asked to hand over. It takes one caller at a time, and tells the others so.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::event::PollFlags;

use super::{
    channel::{Channel, is_ready},
    desk::{self, Desk},
    estate::Estate,
    giving,
    message::ANOTHER,
};

/// How often it is looked whether the socket can still be found, and whether the process drains.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the threads share.
#[derive(Debug)]
pub(super) struct Reception {
    pub(super) estate: Estate,
    /// `None` while it cannot be had, and for good once a successor serves.
    desk: Mutex<Option<Arc<Desk>>>,
    is_busy: AtomicBool,
    is_over: AtomicBool,
}

/// Starts the thread; it ends when the process drains or has been replaced. `inherited` is the socket of the process before.
///
/// # Errors
/// When the system gives no thread.
pub fn receive_callers(estate: Estate, inherited: Option<OwnedFd>) -> io::Result<()> {
    let desk = inherited.map(|socket| Arc::new(Desk::inherited(socket, &estate.state_dir)));
    let desk = Mutex::new(desk);
    let reception =
        Arc::new(Reception { estate, desk, is_busy: AtomicBool::new(false), is_over: AtomicBool::new(false) });
    thread::Builder::new().name("takeover".into()).spawn(move || run(&reception)).map(drop)
}

fn run(reception: &Arc<Reception>) {
    let mut complained = false;
    while !reception.is_over() {
        match reception.in_place() {
            Ok(desk) => {
                complained = false;
                if is_ready(desk.as_fd(), PollFlags::IN, LOOK_EVERY).unwrap_or(false) {
                    reception.admit();
                }
            }
            Err(_) if reception.is_over() => {}
            Err(error) => {
                if !complained {
                    tracing::error!(%error, "no successor can take over: there is no socket for it in the state folder");
                }
                complained = true;
                thread::sleep(LOOK_EVERY);
            }
        }
    }
    reception.close();
}

impl Reception {
    /// Nobody is received any more: the socket is the successor's.
    pub(super) fn close(&self) {
        self.is_over.store(true, Ordering::Release);
        *self.desk() = None;
    }

    /// A duplicate of the socket, for the successor.
    pub(super) fn duplicate(&self) -> io::Result<Option<OwnedFd>> {
        self.desk().as_ref().map(|desk| desk.as_fd().try_clone_to_owned()).transpose()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire) || self.estate.draining.has_started()
    }

    /// The socket, opened anew where it cannot be found any more.
    fn in_place(&self) -> io::Result<Arc<Desk>> {
        let mut desk = self.desk();
        if let Some(desk) = desk.as_ref().filter(|desk| desk.is_in_place()) {
            return Ok(Arc::clone(desk));
        }
        if self.is_busy.load(Ordering::Acquire) || self.is_over() {
            return desk.clone().ok_or_else(|| io::ErrorKind::NotConnected.into());
        }
        desk::make_folder(&self.estate.state_dir)?;
        let opened = Arc::new(Desk::open(&self.estate.state_dir)?);
        *desk = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Takes who calls, unless the socket has been given away meanwhile.
    fn admit(self: &Arc<Self>) {
        let desk = self.desk();
        let Some(open) = desk.as_ref().filter(|_| !self.is_over()) else { return };
        let caller = match open.accept() {
            Ok(Some(caller)) => caller,
            Ok(None) => return,
            Err(error) => {
                drop(desk);
                tracing::warn!(%error, "a successor could not be received");
                return thread::sleep(LOOK_EVERY);
            }
        };
        drop(desk);
        if self.is_busy.swap(true, Ordering::AcqRel) {
            return Channel::new(caller).refuse(ANOTHER);
        }
        self.hand_over(caller);
    }

    /// On a thread of its own, so that who calls meanwhile can be told.
    fn hand_over(self: &Arc<Self>, caller: OwnedFd) {
        let reception = Arc::clone(self);
        let run = move || {
            giving::give(&reception, caller);
            reception.is_busy.store(false, Ordering::Release);
        };
        if let Err(error) = thread::Builder::new().name("handing-over".into()).spawn(run) {
            tracing::error!(%error, "a successor could not be received");
            self.is_busy.store(false, Ordering::Release);
        }
    }

    fn desk(&self) -> MutexGuard<'_, Option<Arc<Desk>>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
