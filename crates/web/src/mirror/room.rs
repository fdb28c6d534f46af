//! Which copies make room for another: those that nobody asked for longest.

use crate::site::Asked;

/// What there is room for.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// Bytes in all; None: as many as the disk takes.
    pub(super) max: Option<u64>,
    /// Bytes of what is being pulled.
    pub(super) pulling: u64,
    /// What is here: name, bytes, and when it was asked for last.
    pub(super) here: Vec<(String, u64, Option<Asked>)>,
}

impl Room {
    /// What has to go so that `bytes` more fit, which somebody asked for at `asked`. None: they don't, or only at the price of
    /// something that was asked for later. What nobody asked for takes no place of others.
    pub(super) fn make(&self, bytes: u64, asked: Option<Asked>) -> Option<Vec<String>> {
        let Some(max) = self.max else { return Some(Vec::new()) };
        let mut used = self.here.iter().fold(self.pulling, |sum, (_, bytes, _)| sum.saturating_add(*bytes));
        let fits = |used: u64| used.checked_add(bytes).is_some_and(|all| all <= max);
        let mut oldest: Vec<_> = self.here.iter().filter(|(_, _, last)| *last < asked).collect();
        oldest.sort_by_key(|(name, bytes, last)| (*last, std::cmp::Reverse(*bytes), name.clone()));
        let (mut oldest, mut gone) = (oldest.into_iter(), Vec::new());
        while !fits(used) {
            let (name, bytes, _) = oldest.next()?;
            used -= bytes;
            gone.push(name.clone());
        }
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_asked_goes_first() {
        let at = |n: u64| Some(1_000 + n);
        let here = vec![("a".into(), 40, at(2)), ("b".into(), 30, at(1)), ("c".into(), 20, None)];
        let room = Room { max: Some(100), pulling: 0, here };
        let make = |bytes, asked| room.make(bytes, asked).map(|gone| gone.concat());
        assert_eq!(make(10, None).as_deref(), Some(""));
        assert_eq!(make(11, None), None, "nobody asked for it");
        assert_eq!(make(30, at(3)).as_deref(), Some("c"));
        assert_eq!(make(31, at(3)).as_deref(), Some("cb"));
        assert_eq!(make(100, at(3)).as_deref(), Some("cba"));
        assert_eq!(make(101, at(3)), None);
        assert_eq!(make(61, at(2)), None, "a was not asked for before it");
        assert_eq!(Room { pulling: 11, ..room.clone() }.make(1, at(1)).map(|gone| gone.concat()).as_deref(), Some("c"));
        assert_eq!(Room { max: None, ..room.clone() }.make(u64::MAX, None), Some(vec![]));
        assert_eq!(room.make(u64::MAX, at(9)), None);
    }
}
