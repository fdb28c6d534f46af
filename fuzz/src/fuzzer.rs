//! The loop: take an example, damage it, run the target, keep what is new.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};

use base::Rng;

use crate::Target;
use crate::damage;

/// Most examples that are kept; past them an old one is replaced.
const EXAMPLES_MAX: usize = 4_096;

/// Most damages in a row to one example.
const DAMAGES_MAX: u64 = 6;

/// The state of one target's run. Everything follows from the seed.
pub struct Fuzzer {
    target: &'static Target,
    rng: Rng,
    examples: Vec<Vec<u8>>,
    seen: BTreeSet<u64>,
    executions: u64,
}

impl Fuzzer {
    /// A run that begins with the target's well-formed examples, which must all be accepted.
    ///
    /// # Panics
    /// When one of them is not: the target would test nothing.
    #[must_use]
    pub fn new(target: &'static Target, seed: u64) -> Self {
        let examples = (target.examples)();
        let mut seen = BTreeSet::new();
        for example in &examples {
            let outcome = (target.run)(example);
            assert!(outcome.is_ok(), "{}: a good example is refused: {outcome:?}", target.name);
            seen.insert(signature(&outcome));
        }
        Self { target, rng: Rng::from_seed(seed), examples, seen, executions: 0 }
    }

    /// Runs so many damaged examples.
    ///
    /// # Panics
    /// When the target does; the bytes that made it are printed before, so that they become a test.
    pub fn run(&mut self, executions: u64) {
        for _ in 0..executions {
            let mut input = self.examples[self.rng.index(self.examples.len())].clone();
            for _ in 0..=self.rng.below(DAMAGES_MAX) {
                let other = &self.examples[self.rng.index(self.examples.len())];
                damage::damage(&mut input, other, &mut self.rng);
            }
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| (self.target.run)(&input)));
            self.executions += 1;
            match outcome {
                Ok(outcome) => self.keep_if_new(input, &outcome),
                Err(cause) => {
                    let shown = input.escape_ascii();
                    panic!("{} panics on b\"{shown}\": {}", self.target.name, words(&*cause));
                }
            }
        }
    }

    /// How many inputs were run.
    #[must_use]
    pub fn executions(&self) -> u64 {
        self.executions
    }

    /// How many examples there are now.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.examples.len()
    }

    /// Bytes of the longest example.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.examples.iter().map(Vec::len).max().unwrap_or(0)
    }

    fn keep_if_new(&mut self, input: Vec<u8>, outcome: &Result<String, String>) {
        if !self.seen.insert(signature(outcome)) {
            return;
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(input);
        } else {
            let at = self.rng.index(self.examples.len());
            self.examples[at] = input;
        }
    }
}

/// An outcome without its digits: "byte 7 is wrong" and "byte 9 is wrong" are one.
fn signature(outcome: &Result<String, String>) -> u64 {
    let (text, start) = match outcome {
        Ok(text) => (text, 1),
        Err(text) => (text, 2),
    };
    let bytes = text.bytes().filter(|b| !b.is_ascii_digit());
    bytes.fold(start, |hash: u64, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn words(cause: &(dyn std::any::Any + Send)) -> &str {
    let literal = cause.downcast_ref::<&str>().copied();
    literal.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}
