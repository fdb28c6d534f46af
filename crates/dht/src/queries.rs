//! Questions that are out: which answer belongs to which, when one is late, and how long answers take.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, NodeId, Rng};

/// Questions that are out at once. Beyond that lookups wait.
pub const QUERIES_MAX: usize = 2_000;
/// A question that was not answered by now is lost.
pub const HARD_TIMEOUT: Duration = Duration::from_secs(15);
/// A question is late after so long, before it is known how long answers take.
pub const SOFT_TIMEOUT: Duration = Duration::from_secs(1);
/// Answers from which on that is known.
const SAMPLES_MIN: u32 = 4;
/// Until so many have come it is known badly, since the fastest come first ...
const SAMPLES_FEW: u32 = 16;
/// ... and nobody is late before that.
const SOFT_EARLY: Duration = Duration::from_millis(500);
/// It is never late before that ...
const SOFT_MIN: Duration = Duration::from_millis(250);
/// ... and always after that.
const SOFT_MAX: Duration = Duration::from_secs(2);

/// A question that is out.
#[derive(Debug)]
pub(crate) struct Pending<P> {
    /// Who was asked; others can't answer.
    pub(crate) to: SocketAddr,
    /// Who should answer, where that is known.
    pub(crate) id: Option<NodeId>,
    /// What for.
    pub(crate) purpose: P,
    sent: Instant,
    /// When something happens to it next.
    due: Instant,
    stage: Stage,
}

/// How long a question has been out, by what is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    /// Longer than most take.
    Slow,
    /// Longer than nearly all take: beyond the soft timeout.
    Late,
}

/// What time does to a question.
#[derive(Debug)]
pub(crate) enum Overdue<P> {
    /// Most would have answered by now. Here and below the question stays out, and its transaction id is told.
    Slow(u32),
    /// Nearly all would have: the soft timeout is over.
    Late(u32),
    /// The hard one is, and it is lost.
    Lost(Pending<P>),
}

/// All questions that are out.
#[derive(Debug)]
pub(crate) struct Queries<P> {
    pending: BTreeMap<u32, Pending<P>>,
    times: BTreeSet<(Instant, u32)>,
    rtt: Rtt,
}

impl<P> Queries<P> {
    pub(crate) fn new() -> Self {
        Queries { pending: BTreeMap::new(), times: BTreeSet::new(), rtt: Rtt::default() }
    }

    /// Notes a question. The answer is its transaction id, which nobody can guess; None if too many are out.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: Option<NodeId>,
        purpose: P,
        rng: &mut Rng,
    ) -> Option<[u8; 4]> {
        if self.pending.len() >= QUERIES_MAX {
            return None;
        }
        let mut tx = rng.next_u32();
        while self.pending.contains_key(&tx) {
            tx = tx.wrapping_add(1);
        }
        let due = now + self.rtt.slow();
        self.times.insert((due, tx));
        self.pending.insert(tx, Pending { to, id, purpose, sent: now, due, stage: Stage::Fresh });
        Some(tx.to_be_bytes())
    }

    /// The question that `from` answers with this transaction id.
    pub(crate) fn take(&mut self, now: Instant, from: SocketAddr, transaction: &[u8]) -> Option<Pending<P>> {
        let tx = u32::from_be_bytes(transaction.try_into().ok()?);
        if self.pending.get(&tx)?.to != from {
            return None;
        }
        let pending = self.pending.remove(&tx)?;
        self.times.remove(&(pending.due, tx));
        self.rtt.sample(now.since(pending.sent));
        if self.rtt.samples == SAMPLES_MIN {
            self.hurry();
        }
        Some(pending)
    }

    /// It is known now how long answers take: the first questions of all are late by that measure, too.
    fn hurry(&mut self) {
        let (slow, soft) = (self.rtt.slow(), self.rtt.soft());
        for (tx, pending) in &mut self.pending {
            let wait = match pending.stage {
                Stage::Fresh => slow,
                Stage::Slow => soft,
                Stage::Late => continue,
            };
            self.times.remove(&(pending.due, *tx));
            pending.due = pending.due.min(pending.sent + wait);
            self.times.insert((pending.due, *tx));
        }
    }

    /// The next question to which time has done something.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<Overdue<P>> {
        let (due, tx) = self.times.first().copied().filter(|(due, _)| *due <= now)?;
        self.times.remove(&(due, tx));
        let pending = self.pending.get_mut(&tx)?;
        let (stage, wait, overdue) = match pending.stage {
            Stage::Fresh => (Stage::Slow, self.rtt.soft(), Overdue::Slow(tx)),
            Stage::Slow => (Stage::Late, HARD_TIMEOUT, Overdue::Late(tx)),
            Stage::Late => return self.pending.remove(&tx).map(Overdue::Lost),
        };
        (pending.stage, pending.due) = (stage, pending.sent + wait);
        self.times.insert((pending.due, tx));
        Some(overdue)
    }

    /// A question that is out.
    pub(crate) fn find(&self, tx: u32) -> Option<&Pending<P>> {
        self.pending.get(&tx)
    }

    /// Forgets a question.
    pub(crate) fn drop(&mut self, tx: u32) -> Option<Pending<P>> {
        let pending = self.pending.remove(&tx)?;
        self.times.remove(&(pending.due, tx));
        Some(pending)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.times.first().map(|(at, _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// True if this address was asked something and may still answer.
    pub(crate) fn is_asked(&self, addr: SocketAddr) -> bool {
        self.pending.values().any(|p| p.to == addr)
    }

    pub(crate) fn soft(&self) -> Duration {
        self.rtt.soft()
    }
}

/// How long answers take, as TCP reckons it (RFC 6298), though over all nodes: mean and deviation, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Rtt {
    mean_us: u64,
    deviation_us: u64,
    samples: u32,
}

impl Rtt {
    fn sample(&mut self, rtt: Duration) {
        let us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).min(HARD_TIMEOUT.as_micros() as u64);
        if self.samples == 0 {
            (self.mean_us, self.deviation_us) = (us, us / 2);
        } else {
            self.deviation_us = (3 * self.deviation_us + self.mean_us.abs_diff(us)) / 4;
            self.mean_us = (7 * self.mean_us + us) / 8;
        }
        self.samples = self.samples.saturating_add(1);
    }

    /// Most who answer do it by then.
    fn slow(&self) -> Duration {
        if self.samples < SAMPLES_MIN {
            return SOFT_TIMEOUT / 2;
        }
        Duration::from_micros(self.mean_us * 5 / 4 + self.deviation_us).clamp(SOFT_MIN / 2, self.soft() * 3 / 4)
    }

    /// Nearly all who answer do it by then.
    fn soft(&self) -> Duration {
        // One or two answers say little about all nodes.
        if self.samples < SAMPLES_MIN {
            return SOFT_TIMEOUT;
        }
        let least = if self.samples < SAMPLES_FEW { SOFT_EARLY } else { SOFT_MIN };
        Duration::from_micros(self.mean_us + 4 * self.deviation_us).clamp(least, SOFT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(i: u16) -> SocketAddr {
        SocketAddr::from(([9, 9, 9, 9], i))
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn only_who_was_asked_answers_and_once() {
        let (mut q, mut rng) = (Queries::new(), Rng::from_seed(1));
        let tx = q.add(at(0), addr(1), None, 'a', &mut rng).unwrap();
        assert!(q.take(at(1), addr(2), &tx).is_none());
        assert!(q.take(at(1), addr(1), &tx[..3]).is_none() && q.take(at(1), addr(1), b"").is_none());
        assert!(q.take(at(1), addr(1), &[tx[0] ^ 1, tx[1], tx[2], tx[3]]).is_none());
        assert!(q.is_asked(addr(1)) && !q.is_asked(addr(2)));
        assert_eq!(q.take(at(1), addr(1), &tx).map(|p| p.purpose), Some('a'));
        assert!(q.take(at(1), addr(1), &tx).is_none());
        assert_eq!((q.len(), q.deadline()), (0, None));
    }

    #[test]
    fn late_after_a_second_and_lost_after_fifteen() {
        let (mut q, mut rng) = (Queries::new(), Rng::from_seed(1));
        let tx = q.add(at(0), addr(1), None, 'a', &mut rng).unwrap();
        assert_eq!(q.deadline(), Some(at(500)));
        assert!(matches!(q.overdue(at(999)), Some(Overdue::Slow(slow)) if slow.to_be_bytes() == tx));
        assert_eq!(q.deadline(), Some(at(1_000)));
        assert!(q.overdue(at(999)).is_none());
        assert!(matches!(q.overdue(at(1_000)), Some(Overdue::Late(late)) if late.to_be_bytes() == tx));
        assert!(q.overdue(at(14_999)).is_none());
        assert!(matches!(q.overdue(at(15_000)), Some(Overdue::Lost(Pending { purpose: 'a', .. }))));
        assert_eq!((q.len(), q.deadline()), (0, None));
    }

    #[test]
    fn the_soft_timeout_follows_the_answers() {
        let (mut q, mut rng) = (Queries::new(), Rng::from_seed(1));
        let mut answer_after = |ms: u64| {
            for _ in 0..50 {
                let tx = q.add(at(0), addr(1), None, (), &mut rng).unwrap();
                q.take(at(ms), addr(1), &tx).unwrap();
            }
            q.soft()
        };
        assert_eq!(answer_after(10), SOFT_MIN);
        assert!((Duration::from_millis(590)..Duration::from_millis(700)).contains(&answer_after(600)));
        assert_eq!(answer_after(9_000), SOFT_MAX);
    }

    #[test]
    fn the_first_questions_of_all_are_hurried_too() {
        let (mut q, mut rng) = (Queries::new(), Rng::from_seed(1));
        let asked: Vec<_> = (0..6).map(|i| q.add(at(0), addr(i), None, (), &mut rng).unwrap()).collect();
        for i in 0..4 {
            q.take(at(100), addr(i), &asked[usize::from(i)]).unwrap();
        }
        let soft = q.soft();
        assert_eq!(soft, SOFT_EARLY);
        assert!(q.deadline().unwrap() < at(300), "not only after half a second");
        let fates: Vec<_> = std::iter::from_fn(|| q.overdue(at(500))).collect();
        assert!(matches!(fates[..], [Overdue::Slow(_), Overdue::Slow(_), Overdue::Late(_), Overdue::Late(_)]));
    }

    #[test]
    fn so_many_are_out() {
        let (mut q, mut rng) = (Queries::new(), Rng::from_seed(1));
        let added = (0..QUERIES_MAX + 10).filter(|i| q.add(at(0), addr(*i as u16), None, (), &mut rng).is_some());
        assert_eq!(added.count(), QUERIES_MAX);
    }
}
