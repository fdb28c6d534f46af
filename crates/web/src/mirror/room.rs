//! Which copies make room for another: those that nobody asked for longest.

use crate::site::Asked;
use std::cmp::Reverse;

/// A copy that is here: when it was asked for last, its bytes and its name.
pub(super) type Held<'a> = (Option<Asked>, u64, &'a str);

/// What there is room for.
#[derive(Clone, Debug)]
pub(super) struct Room<'a> {
    /// Bytes in all; None: as many as the disk takes.
    max: Option<u64>,
    /// Bytes of what is here and of what is being pulled.
    used: u64,
    /// What may go, that which nobody asked for longest first.
    oldest: Vec<Held<'a>>,
}

impl<'a> Room<'a> {
    /// Room for `max` bytes, `used` of which are, for example by these.
    pub(super) fn new(max: Option<u64>, used: u64, mut held: Vec<Held<'a>>) -> Self {
        held.sort_by_key(|(last, bytes, name)| (*last, Reverse(*bytes), *name));
        Room { max, used, oldest: held }
    }

    /// What has to go so that `bytes` more fit, which somebody asked for at `asked`. None: they don't, or only at the price of
    /// something that was asked for later. What nobody asked for takes no place of others.
    pub(super) fn make(&self, bytes: u64, asked: Option<Asked>) -> Option<Vec<String>> {
        let Some(max) = self.max else { return Some(Vec::new()) };
        let (mut used, mut gone) = (self.used, Vec::new());
        let mut oldest = self.oldest.iter().take_while(|(last, ..)| *last < asked);
        while used.checked_add(bytes).is_none_or(|all| all > max) {
            let (_, bytes, name) = oldest.next()?;
            used = used.saturating_sub(*bytes);
            gone.push((*name).to_owned());
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
        let here = vec![(at(2), 40, "a"), (at(1), 30, "b"), (None, 20, "c")];
        let room = |max, pulling: u64| Room::new(max, 90 + pulling, here.clone());
        let make = |bytes, asked| room(Some(100), 0).make(bytes, asked).map(|gone| gone.concat());
        assert_eq!(make(10, None).as_deref(), Some(""));
        assert_eq!(make(11, None), None, "nobody asked for it");
        assert_eq!(make(30, at(3)).as_deref(), Some("c"));
        assert_eq!(make(31, at(3)).as_deref(), Some("cb"));
        assert_eq!(make(100, at(3)).as_deref(), Some("cba"));
        assert_eq!(make(101, at(3)), None);
        assert_eq!(make(61, at(2)), None, "a was not asked for before it");
        assert_eq!(room(Some(100), 11).make(1, at(1)).map(|gone| gone.concat()).as_deref(), Some("c"));
        assert_eq!(room(None, 0).make(u64::MAX, None), Some(vec![]));
        assert_eq!(make(u64::MAX, at(9)), None);
    }
}
