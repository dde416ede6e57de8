//! Idle connections to endpoints that have left the table: found by asking, for a few endpoints at a time, whether the app
//! that the connections were made for still has them.

use std::rc::Rc;

use routing_cache::model::{Address, AppId};

use super::Pool;

/// The endpoints that are still to be asked for, since the table changed last.
#[derive(Debug, Default)]
pub struct Unchecked(Vec<Address>);

impl Unchecked {
    /// True when all have been asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<B> Pool<B> {
    /// All endpoints there are connections to.
    #[must_use]
    pub fn unchecked(&self) -> Unchecked {
        Unchecked(self.slots.borrow().keys().cloned().collect())
    }

    /// Takes `most` of `unchecked` and closes their idle connections where `stays` says that the app does not have the
    /// endpoint. An endpoint that another app has too loses connections that can be made again.
    pub fn close_departed(
        &self,
        unchecked: &mut Unchecked,
        most: usize,
        mut stays: impl FnMut(&AppId, &Address) -> bool,
    ) {
        let from = unchecked.0.len().saturating_sub(most);
        for address in unchecked.0.drain(from..) {
            let slot = self.slots.borrow().get(&address).map(Rc::clone);
            let Some(slot) = slot else { continue };
            let stays = slot.user.borrow().as_ref().is_none_or(|app| stays(app, &address));
            if !stays {
                slot.clear();
            }
        }
    }
}
