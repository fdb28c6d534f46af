//! What a site shares, as it told, and what of that is still to be pulled.

use crate::catalogue::Facts;
use std::collections::{BTreeMap, BTreeSet};

/// What a site shares.
#[derive(Debug)]
pub(super) struct List {
    /// Names at most, of each kind; further ones are not mirrored.
    max: usize,
    /// What each name had when it had a torrent last.
    items: BTreeMap<String, Facts>,
    /// Names whose bytes are the site's alone, until they have a torrent (again).
    unmade: BTreeSet<String>,
    /// What the site names while it tells the whole list.
    fresh: Option<BTreeSet<String>>,
}

/// What is new about an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing, or there is no room for it.
    Nothing,
    /// It is there, as far as we know with the content that it had, if it had any.
    There,
    /// It has other content than this.
    Instead(Facts),
}

impl List {
    pub(super) fn new(max: usize) -> Self {
        List { max, items: BTreeMap::new(), unmade: BTreeSet::new(), fresh: None }
    }

    /// The site begins to tell all of it.
    pub(super) fn begin(&mut self) {
        self.fresh = Some(BTreeSet::new());
    }

    /// It does not go on.
    pub(super) fn stop(&mut self) {
        self.fresh = None;
    }

    /// That was all of it: what is not shared any more. None: it had not begun.
    pub(super) fn ready(&mut self) -> Option<Vec<String>> {
        let fresh = self.fresh.take()?;
        let known = self.items.keys().chain(self.unmade.iter().filter(|name| !self.items.contains_key(*name)));
        Some(known.filter(|name| !fresh.contains(*name)).cloned().collect())
    }

    fn name(&mut self, name: &str) {
        let max = self.max;
        if let Some(fresh) = self.fresh.as_mut().filter(|fresh| fresh.len() < max) {
            fresh.insert(name.to_owned());
        }
    }

    /// This is under its name from now on.
    pub(super) fn item(&mut self, facts: Facts) -> Heard {
        self.name(&facts.name);
        let known = self.items.get(&facts.name);
        if known.is_none() && self.items.len() >= self.max {
            return Heard::Nothing;
        }
        let was_unmade = self.unmade.remove(&facts.name);
        if known == Some(&facts) && !was_unmade {
            return Heard::Nothing;
        }
        let tag = facts.tag.clone();
        match self.items.insert(facts.name.clone(), facts) {
            Some(old) if old.tag != tag => Heard::Instead(old),
            _ => Heard::There,
        }
    }

    /// This has no torrent any more, or not yet. False: there is no room for its name.
    pub(super) fn changed(&mut self, name: &str) -> bool {
        self.name(name);
        let fits = self.unmade.len() < self.max;
        if fits {
            self.unmade.insert(name.to_owned());
        }
        fits || self.unmade.contains(name)
    }

    /// This is shared no more; what it had last.
    pub(super) fn removed(&mut self, name: &str) -> Option<Facts> {
        self.unmade.remove(name);
        if let Some(fresh) = &mut self.fresh {
            fresh.remove(name);
        }
        self.items.remove(name)
    }

    /// What is under a name now, if it has a torrent.
    pub(super) fn now(&self, name: &str) -> Option<&Facts> {
        self.items.get(name).filter(|_| !self.unmade.contains(name))
    }

    /// What was under a name when it had a torrent last.
    pub(super) fn last(&self, name: &str) -> Option<&Facts> {
        self.items.get(name)
    }

    /// All that has a torrent, or had one last.
    pub(super) fn all(&self) -> impl Iterator<Item = &Facts> {
        self.items.values()
    }
}

/// What is to be pulled, by size.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    sizes: BTreeMap<String, u64>,
    by_size: BTreeSet<(u64, String)>,
}

impl Lacking {
    /// This lacks so many bytes. None: it does not.
    pub(super) fn set(&mut self, name: &str, bytes: Option<u64>) {
        let before = match bytes {
            Some(bytes) => self.sizes.insert(name.to_owned(), bytes),
            None => self.sizes.remove(name),
        };
        if let Some(before) = before.filter(|before| Some(*before) != bytes) {
            self.by_size.remove(&(before, name.to_owned()));
        }
        if let Some(bytes) = bytes {
            self.by_size.insert((bytes, name.to_owned()));
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.sizes.contains_key(name)
    }

    /// The names, smallest first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_size.iter().map(|(_, name)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, tag: &str) -> Facts {
        let (name, tag) = (name.to_owned(), tag.to_owned());
        let (info_hash_v1, info_hash_v2, modified) = (None, None, None);
        Facts { name, tag, bytes: 1, single: true, files: 1, info_hash_v1, info_hash_v2, modified }
    }

    #[test]
    fn a_change_is_told_with_what_was_there() {
        let mut list = List::new(9);
        assert_eq!(list.item(facts("a", "1")), Heard::There);
        assert_eq!(list.item(facts("a", "1")), Heard::Nothing);
        assert_eq!(list.item(facts("a", "2")), Heard::Instead(facts("a", "1")));
        // First that it has changed, then what it is: as every site tells it.
        assert!(list.changed("a"));
        assert_eq!((list.now("a"), list.last("a")), (None, Some(&facts("a", "2"))));
        assert_eq!(list.item(facts("a", "3")), Heard::Instead(facts("a", "2")), "its copy is still to be deleted");
        assert_eq!(list.now("a"), Some(&facts("a", "3")));
        assert!(list.changed("a"));
        assert_eq!(list.item(facts("a", "3")), Heard::There, "it is the same, and may be given again");
        assert!(list.changed("b") && list.last("b").is_none());
        assert_eq!(list.removed("a"), Some(facts("a", "3")));
        assert_eq!((list.removed("b"), list.removed("b")), (None, None));
    }

    #[test]
    fn what_the_whole_list_does_not_name_is_gone() {
        let mut list = List::new(9);
        for name in ["a", "b", "c"] {
            list.item(facts(name, "1"));
        }
        assert!(list.changed("c") && list.changed("d") && list.changed("e"));
        assert_eq!(list.ready(), None, "no list has begun");
        list.begin();
        list.item(facts("a", "1"));
        assert!(list.changed("b") && list.changed("e"));
        assert_eq!(list.ready(), Some(vec!["c".to_owned(), "d".to_owned()]), "also what never had a torrent");
        list.begin();
        list.stop();
        assert_eq!(list.ready(), None, "it broke off");
    }

    #[test]
    fn a_full_list_hears_of_what_it_knows() {
        let mut list = List::new(2);
        for name in ["a", "b", "c"] {
            list.item(facts(name, "1"));
        }
        assert_eq!(list.all().count(), 2);
        assert_eq!(list.item(facts("b", "2")), Heard::Instead(facts("b", "1")));
        assert_eq!(list.item(facts("c", "2")), Heard::Nothing);
        assert!(list.changed("x") && list.changed("y") && !list.changed("z") && list.changed("x"));
    }

    #[test]
    fn the_smallest_comes_first() {
        let mut lacking = Lacking::default();
        for (name, bytes) in [("a", 5), ("b", 3), ("c", 4), ("b", 9), ("a", 5)] {
            lacking.set(name, Some(bytes));
        }
        lacking.set("c", None);
        lacking.set("c", None);
        assert_eq!(lacking.names().collect::<Vec<_>>(), ["a", "b"]);
        assert!(lacking.has("b") && !lacking.has("c"));
    }
}
