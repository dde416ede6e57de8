//! How a base is put together from the parts of a file.

use std::fmt::Display;

use super::{Base, BaseHead, IndexName, index::Index};
use crate::{memory, table::hash::TableHash};

/// Parts that are no base.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BaseError(pub String);

/// Puts a base together from its parts, as they come from a file whose checksums are verified.
#[derive(Debug)]
pub struct BaseLoader {
    base: Base,
}

impl BaseLoader {
    /// Makes room.
    ///
    /// # Errors
    /// When the head cannot be one, or there is no memory for what it says.
    pub fn new(head: BaseHead) -> Result<Self, BaseError> {
        head.check_numbers()?;
        let mut records = Vec::new();
        records.try_reserve_exact(length(head.records)?).map_err(no_room)?;
        // ignored: it then comes page by page.
        let _ = memory::provide(&mut records);
        let mut base = Base::unindexed(TableHash::new(head.seed), records);
        base.head = head;
        for index in IndexName::ALL {
            *base.index_mut(index) = Index::reserve(length(head.index(index).0)?).map_err(no_room)?;
        }
        Ok(Self { base })
    }

    /// Where the records go; the file's reader appends to it. There is room for all that the head says.
    pub fn records(&mut self) -> &mut Vec<u8> {
        &mut self.base.records
    }

    /// Takes whole buckets of an index, in their order.
    ///
    /// # Errors
    /// When it is no whole number of buckets, or more than the head says.
    pub fn buckets(&mut self, index: IndexName, bytes: &[u8]) -> Result<(), BaseError> {
        let taken = self.base.index_mut(index).append(bytes);
        taken.then_some(()).ok_or_else(|| BaseError(format!("{} bytes do not fit the index {index:?}", bytes.len())))
    }

    /// The base. Its content is not looked at, which would take as long as reading it, but where the indexes are of
    /// another version's hash: then they are made anew, and all totals with them.
    ///
    /// # Errors
    /// When the parts do not fit the head.
    pub fn finish(self) -> Result<Base, BaseError> {
        let Self { mut base } = self;
        if base.records.len() as u64 != base.head.records {
            let (come, said) = (base.records.len(), base.head.records);
            return Err(BaseError(format!("{come} bytes of records came, the head says {said}")));
        }
        if base.head.check == base.hash.check() {
            let cut = IndexName::ALL.into_iter().find(|index| !base.index(*index).is_whole());
            return cut.map_or(Ok(base), |index| Err(BaseError(format!("the index {index:?} is cut short"))));
        }
        let digest = base.head.digest;
        base.head.check = base.hash.check();
        base.count(digest);
        base.index_all(true).map_err(|taken| BaseError(taken.to_string()))?;
        Ok(base)
    }
}

fn length(said: u64) -> Result<usize, BaseError> {
    usize::try_from(said).map_err(no_room)
}

fn no_room(error: impl Display) -> BaseError {
    BaseError(format!("no memory: {error}"))
}
