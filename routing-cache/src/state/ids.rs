//! A map by app id whose clones share what they do not change.
//!
//! Entries stand sorted in leaves of bounded size. A change copies one leaf and the list of leaves: of a million entries
//! some 40 us, where a map that is cloned whole would take a hundred times that.

use std::sync::Arc;

use crate::model::AppId;

/// Entries of a leaf at most. Of a million entries a change then copies about as many leaves as entries.
const MAX_LEAF: usize = 768;

type Leaf<V> = Vec<(AppId, V)>;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct IdMap<V> {
    /// Sorted, none empty.
    leaves: Arc<Vec<Arc<Leaf<V>>>>,
    len: usize,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self { leaves: Arc::default(), len: 0 }
    }
}

impl<V: Clone> IdMap<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: &str) -> Option<&V> {
        let leaf = self.leaves.get(self.leaf_of(id))?;
        let at = leaf.binary_search_by(|(there, _)| there.as_str().cmp(id)).ok()?;
        leaf.get(at).map(|(_, value)| value)
    }

    /// All, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&AppId, &V)> {
        self.leaves.iter().flat_map(|leaf| leaf.iter()).map(|(id, value)| (id, value))
    }

    /// Puts a value in, and returns the one that was there.
    pub(super) fn insert(&mut self, id: AppId, value: V) -> Option<V> {
        let number = self.leaf_of(id.as_str());
        let leaves = Arc::make_mut(&mut self.leaves);
        let Some(leaf) = leaves.get_mut(number) else {
            leaves.push(Arc::new(vec![(id, value)]));
            self.len += 1;
            return None;
        };
        let leaf = Arc::make_mut(leaf);
        match leaf.binary_search_by(|(there, _)| there.cmp(&id)) {
            Ok(at) => leaf.get_mut(at).map(|(_, there)| std::mem::replace(there, value)),
            Err(at) => {
                leaf.insert(at, (id, value));
                self.len += 1;
                let upper = (leaf.len() > MAX_LEAF).then(|| leaf.split_off(half(at, leaf.len())));
                upper.into_iter().for_each(|upper| leaves.insert(number + 1, Arc::new(upper)));
                None
            }
        }
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, id: &str) -> Option<V> {
        self.get(id)?;
        let number = self.leaf_of(id);
        let leaves = Arc::make_mut(&mut self.leaves);
        let leaf = Arc::make_mut(leaves.get_mut(number)?);
        let at = leaf.binary_search_by(|(there, _)| there.as_str().cmp(id)).ok()?;
        let (_, value) = leaf.remove(at);
        self.len -= 1;
        if leaf.is_empty() {
            leaves.remove(number);
        }
        Some(value)
    }

    /// Leaves those that are to stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&AppId, &V) -> bool) {
        let kept = self.iter().filter(|(id, value)| stays(id, value)).map(|(id, value)| (id.clone(), value.clone()));
        let kept: Vec<(AppId, V)> = kept.collect();
        self.len = kept.len();
        self.leaves = Arc::new(kept.chunks(MAX_LEAF / 2).map(|leaf| Arc::new(leaf.to_vec())).collect());
    }

    /// The leaf that has or would have `id`: the last that does not begin after it.
    fn leaf_of(&self, id: &str) -> usize {
        let begins_before = |leaf: &Arc<Leaf<V>>| leaf.first().is_some_and(|(first, _)| first.as_str() <= id);
        self.leaves.partition_point(begins_before).saturating_sub(1)
    }
}

/// Where a leaf that has grown too long by an entry at `at` is cut: entries that come in their order leave full leaves.
fn half(at: usize, length: usize) -> usize {
    if at + 1 == length { length - 1 } else { length / 2 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(n: u32) -> AppId {
        AppId::new(&format!("app-{n}")).unwrap()
    }

    fn same(map: &IdMap<u32>, naive: &BTreeMap<AppId, u32>) {
        assert_eq!(map.len(), naive.len());
        assert!(map.iter().eq(naive.iter()));
        assert!(map.leaves.iter().all(|leaf| !leaf.is_empty() && leaf.len() <= MAX_LEAF));
    }

    #[test]
    fn entries_in_their_order_fill_leaves_and_in_any_other_order_are_found_too() {
        let (mut up, mut down) = (IdMap::default(), IdMap::default());
        let mut naive = BTreeMap::new();
        for n in 0..3000 {
            assert_eq!(up.insert(id(n + 10_000), n), None);
            down.insert(id(12_999 - n), 2999 - n);
            naive.insert(id(n + 10_000), n);
        }
        same(&up, &naive);
        same(&down, &naive);
        assert!(up.leaves.len() <= 3000 / (MAX_LEAF - 1) + 1);
    }

    proptest! {
        /// Also, a clone does not see what happens to the other.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0u32..4000, any::<bool>()), 0..3000), at in 0usize..3000) {
            let (mut map, mut naive) = (IdMap::default(), BTreeMap::new());
            let mut kept = None;
            for (number, (n, put)) in steps.into_iter().enumerate() {
                if number == at {
                    kept = Some((map.clone(), naive.clone()));
                }
                match put {
                    true => prop_assert_eq!(map.insert(id(n), n + 1), naive.insert(id(n), n + 1)),
                    false => prop_assert_eq!(map.remove(id(n).as_str()), naive.remove(&id(n))),
                }
                prop_assert_eq!(map.get(id(n / 2).as_str()), naive.get(&id(n / 2)));
            }
            same(&map, &naive);
            kept.iter().for_each(|(map, naive)| same(map, naive));
            map.retain(|_, value| value % 3 == 0);
            naive.retain(|_, value| *value % 3 == 0);
            same(&map, &naive);
        }
    }
}
