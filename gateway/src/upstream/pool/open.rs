//! How many connections there are.

use std::rc::Rc;

use super::Common;

/// Counts a connection while it lives.
#[derive(Debug)]
pub(super) struct Open(Rc<Common>);

impl Open {
    /// Counts one.
    pub(super) fn begin(common: &Rc<Common>) -> Self {
        common.open.set(common.open.get() + 1);
        Self(Rc::clone(common))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}
