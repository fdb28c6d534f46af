//! What is shared under which name, and what of it still lacks its torrent.

use crate::item::Item;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Most names of a site; further ones are not shared.
const NAMES_MAX: usize = 100_000;

/// Something whose torrent is not made yet, or not again since it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmade {
    /// Its name in links.
    pub name: String,
    /// The file or folder.
    pub root: PathBuf,
    /// It is a file.
    pub single: bool,
    /// What has a dot in front of its name is no part of it.
    pub leave_hidden: bool,
}

/// What is under a name.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// All is known of it.
    Ready(Arc<Item>),
    /// It is there, and that is all.
    Unmade(Arc<Unmade>),
}

/// All names.
#[derive(Debug, Default)]
pub(super) struct Slots(RwLock<BTreeMap<String, Slot>>);

impl Slots {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Slot>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Slot>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        self.read().get(name).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.read().contains_key(name)
    }

    pub(super) fn all(&self) -> Vec<(String, Slot)> {
        self.read().iter().map(|(name, slot)| (name.clone(), slot.clone())).collect()
    }

    pub(super) fn items(&self) -> Vec<Arc<Item>> {
        let ready = |slot: &Slot| if let Slot::Ready(item) = slot { Some(item.clone()) } else { None };
        self.read().values().filter_map(ready).collect()
    }

    pub(super) fn unmade(&self) -> Vec<Arc<Unmade>> {
        let unmade = |slot: &Slot| if let Slot::Unmade(unmade) = slot { Some(unmade.clone()) } else { None };
        self.read().values().filter_map(unmade).collect()
    }

    /// Puts something under its name, instead of what was there.
    pub(super) fn put(&self, name: &str, slot: Slot) {
        let mut slots = self.write();
        if slots.len() < NAMES_MAX || slots.contains_key(name) {
            slots.insert(name.to_owned(), slot);
        } else {
            tracing::warn!("{name} is not shared: {NAMES_MAX} names are");
        }
    }

    /// Puts something under its name unless there is something already; says what is there now.
    pub(super) fn put_new(&self, unmade: Unmade) -> Option<Slot> {
        let mut slots = self.write();
        let full = slots.len() >= NAMES_MAX && !slots.contains_key(&unmade.name);
        (!full).then(|| slots.entry(unmade.name.clone()).or_insert(Slot::Unmade(Arc::new(unmade))).clone())
    }

    /// Forgets the torrent of `item`, if it still has that name. True if so.
    pub(super) fn unmake(&self, item: &Arc<Item>, unmade: &Unmade) -> bool {
        let mut slots = self.write();
        let Some(slot) = slots.get_mut(&item.name) else { return false };
        let same = if let Slot::Ready(now) = slot { Arc::ptr_eq(now, item) } else { false };
        if same {
            *slot = Slot::Unmade(Arc::new(unmade.clone()));
        }
        same
    }

    pub(super) fn remove(&self, name: &str) {
        self.write().remove(name);
    }

    /// Whether something called `name` would be mistaken for what is there.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        let slots = self.read();
        // "x" also takes "x.torrent" and "x.meta4", so that no address has two meanings.
        slots.contains_key(name)
            || super::SUFFIXES.iter().any(|suffix| {
                slots.contains_key(&format!("{name}{suffix}"))
                    || name.strip_suffix(suffix).is_some_and(|stem| slots.contains_key(stem))
            })
    }
}
