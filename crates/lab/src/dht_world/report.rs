//! What comes out of a run in the DHT, beside what theory says.

use serde::Serialize;

use super::world::Outcome;
use crate::params::DhtParams;

/// Rounds to the closest node, and questions in all, by the size of the network: static tables of eight, three questions at once.
/// Computed for LAB.md, and again by a program that shares nothing with this one.
const TABLE: &[(u64, f64, f64)] =
    &[(1_000, 1.24, 10.7), (10_000, 1.91, 12.8), (100_000, 2.50, 14.7), (1_000_000, 3.13, 16.6)];

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DhtReport {
    /// The scenario.
    pub scenario: &'static str,
    /// Its seed.
    pub seed: u64,
    /// Its size.
    pub parameters: DhtParams,
    /// What came out.
    pub results: DhtResults,
    /// What theory says.
    pub bounds: DhtBounds,
    /// Equal for equal seeds, as 16 hexadecimal digits.
    pub trace_hash: String,
}

/// What came out. Means and percentiles are over all lookups; seconds are virtual.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DhtResults {
    /// Lookups that came to their end.
    pub lookups: u64,
    /// Share of them that found the closest node that is alive.
    pub found_closest: f64,
    /// Mean share of the eight closest that are alive, found.
    pub found_eight: f64,
    /// Answers that led, one to the next, to the closest node: the mean.
    pub rounds: f64,
    /// Questions: the mean.
    pub queries: f64,
    /// Answers to them: the mean.
    pub answers: f64,
    /// Half of the lookups took no longer.
    pub seconds_median: f64,
    /// 95 in 100 did not.
    pub seconds_p95: f64,
    /// None did.
    pub seconds_max: f64,
    /// Datagrams sent, by everybody.
    pub datagrams: u64,
    /// Nodes that were made because a datagram reached them; some more than once.
    pub nodes_made: u64,
}

/// What theory says of static tables of eight with three questions at once; null for other sizes of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DhtBounds {
    /// Rounds to the closest node.
    pub rounds: Option<f64>,
    /// Questions in all.
    pub queries: Option<f64>,
}

impl DhtReport {
    pub(super) fn of(scenario: &'static str, seed: u64, params: &DhtParams, outcome: Outcome) -> Self {
        let of_size = TABLE.iter().find(|(nodes, ..)| *nodes == params.nodes);
        let bounds = DhtBounds { rounds: of_size.map(|(_, r, _)| *r), queries: of_size.map(|(.., q)| *q) };
        let count = outcome.lookups.len().max(1) as f64;
        let mean = |value: fn(&super::world::Lookup) -> f64| outcome.lookups.iter().map(value).sum::<f64>() / count;
        let mut times: Vec<f64> = outcome.lookups.iter().map(|l| l.time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (times.len() as f64 * share).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        let results = DhtResults {
            lookups: outcome.lookups.len() as u64,
            found_closest: mean(|l| if l.closest { 1.0 } else { 0.0 }),
            found_eight: mean(|l| l.share),
            rounds: mean(|l| f64::from(l.rounds)),
            queries: mean(|l| f64::from(l.queries)),
            answers: mean(|l| f64::from(l.answers)),
            seconds_median: at(0.5),
            seconds_p95: at(0.95),
            seconds_max: at(1.0),
            datagrams: outcome.datagrams,
            nodes_made: outcome.nodes_made,
        };
        let trace_hash = format!("{:016x}", outcome.trace);
        DhtReport { scenario, seed, parameters: params.clone(), results, bounds, trace_hash }
    }

    /// All lookups ended, and enough of them with the closest node.
    pub(super) fn finds_the_closest(&self, share: f64) -> Result<(), String> {
        let (r, wanted) = (&self.results, self.parameters.lookups);
        if r.lookups < wanted {
            return Err(format!("{} of {wanted} lookups came to an end", r.lookups));
        }
        if r.found_closest < share {
            return Err(format!(
                "{:.1} % of the lookups found the closest node, of {:.1}",
                100.0 * r.found_closest,
                100.0 * share
            ));
        }
        Ok(())
    }

    /// No more rounds and questions than theory says, times `slack`. Where it says nothing, anything is fine.
    pub(super) fn meets_the_table(&self, slack: f64) -> Result<(), String> {
        let (r, bounds) = (&self.results, &self.bounds);
        let check = |what: &str, found: f64, bound: Option<f64>| match bound {
            Some(bound) if found > bound * slack => Err(format!("{found:.2} {what} where theory says {bound:.2}")),
            // Much less would mean that tables know more than they should.
            Some(bound) if found < bound / slack => Err(format!("only {found:.2} {what} where theory says {bound:.2}")),
            _ => Ok(()),
        };
        check("rounds", r.rounds, bounds.rounds)?;
        check("questions", r.queries, bounds.queries)
    }

    pub(super) fn median_at_most(&self, seconds: f64) -> Result<(), String> {
        let median = self.results.seconds_median;
        let message =
            || format!("half of the lookups took {median:.2} s and more, which was to be {seconds:.2} s at most");
        (median <= seconds).then_some(()).ok_or_else(message)
    }
}
