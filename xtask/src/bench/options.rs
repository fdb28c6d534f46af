//! The command line of `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::clients::Kind;
use super::plan;

/// What to run, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    /// The comparisons; empty means all of them.
    pub(super) names: Vec<String>,
    /// How often each case runs.
    pub(super) runs: usize,
    /// Where the figures go, and where those of before are.
    pub(super) json: Option<PathBuf>,
    /// Only cases with one of these in their name.
    pub(super) filters: Vec<String>,
    /// Seeds and leechers that replace the usual ones.
    pub(super) pairs: Vec<(Kind, Kind)>,
    /// Our binary, if it is not to be built.
    pub(super) ours: Option<PathBuf>,
    /// Another build of ours.
    pub(super) before: Option<PathBuf>,
    /// Write the page at the end.
    pub(super) report: bool,
}

impl Options {
    /// Reads them.
    pub(super) fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self { runs: 5, ..Self::default() };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let mut value = || rest.next().copied().with_context(|| format!("{arg} needs a value"));
            match *arg {
                "--runs" => {
                    let text = value()?;
                    options.runs = text.parse().ok().filter(|n| *n > 0).with_context(|| format!("--runs {text:?}"))?;
                }
                "--json" => options.json = Some(value()?.into()),
                "--filter" => options.filters.push(value()?.to_owned()),
                "--case" => {
                    let text = value()?;
                    let (seed, leecher) =
                        text.split_once(':').with_context(|| format!("--case {text:?}: write SEED:LEECHER"))?;
                    options.pairs.push((Kind::of(seed)?, Kind::of(leecher)?));
                }
                "--shoal" => options.ours = Some(value()?.into()),
                "--before" => options.before = Some(value()?.into()),
                "--report" => options.report = true,
                flag if flag.starts_with('-') => bail!("no flag {flag:?}"),
                "all" => {}
                name => {
                    let known: Vec<&str> = plan::BENCHES.iter().map(|(name, _)| *name).collect();
                    ensure!(known.contains(&name), "no comparison {name:?}: known are {}", known.join(", "));
                    options.names.push(name.to_owned());
                }
            }
        }
        ensure!(!options.report || options.json.is_some(), "--report needs --json FILE");
        Ok(options)
    }

    /// Is this case wanted?
    pub(super) fn wants(&self, case: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|f| case.contains(f.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_names_in_any_order() {
        let line = ["--runs", "3", "pair", "--json", "a.json", "--case", "ours:rqbit-1", "swarm", "--filter", "ours"];
        let options = Options::parse(&line).unwrap();
        assert_eq!(options.names, ["pair", "swarm"]);
        assert_eq!((options.runs, options.json), (3, Some("a.json".into())));
        assert_eq!(options.pairs, [(Kind::Ours, Kind::Rqbit1)]);
        assert_eq!(Options::parse(&[]).unwrap().runs, 5);
    }

    #[test]
    fn a_filter_is_part_of_a_name() {
        let options = Options::parse(&["--filter", "ours", "--filter", "aria2"]).unwrap();
        assert!(options.wants("rqbit-1:ours") && options.wants("aria2:aria2") && !options.wants("rqbit:rqbit"));
        assert!(Options::parse(&[]).unwrap().wants("anything"));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in
            [&["--runs", "0"][..], &["--runs"], &["nothing"], &["--case", "ours"], &["--case", "a:b"], &["--what"]]
        {
            assert!(Options::parse(line).is_err(), "{line:?}");
        }
    }
}
