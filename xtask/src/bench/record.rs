//! What was measured, in a file of JSON: every run by itself, with the machine and the versions it was measured with.
//!
//! The file is written after each run, so that a comparison can be ended at any time and goes on from there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// Named figures of one run; the unit is the end of the name.
pub(super) type Figures = BTreeMap<String, f64>;

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Which comparison.
    pub(super) bench: String,
    /// What in it.
    pub(super) case: String,
    /// What came out.
    pub(super) figures: Figures,
}

/// All runs of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// Machine, versions and commands by name, as text.
    pub(super) about: BTreeMap<String, String>,
    /// The runs, in the order in which they were made.
    pub(super) rows: Vec<Row>,
}

impl Record {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no record of a comparison", path.display()))
    }

    /// Joins several: they must be of the same build and machine, since figures hold only within one.
    pub(super) fn merge(records: Vec<Self>) -> Result<Self> {
        let mut records = records.into_iter();
        let mut all = records.next().context("no record to report of")?;
        for other in records {
            for (name, value) in &other.about {
                match all.about.get(name) {
                    Some(first) if first != value => bail!("two records differ in {name}: {first:?} and {value:?}"),
                    Some(_) => {}
                    None => drop(all.about.insert(name.clone(), value.clone())),
                }
            }
            all.rows.extend(other.rows);
        }
        Ok(all)
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let about = value["about"].as_object().context("no `about`")?;
        let about = about.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect();
        let rows = value["rows"].as_array().context("no `rows`")?;
        Ok(Self { about, rows: rows.iter().map(row).collect::<Result<_>>()? })
    }

    fn text(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(|r| format!("  {}", row_json(r))).collect();
        format!("{{\n\"about\": {},\n\"rows\": [\n{}\n]\n}}\n", json!(self.about), rows.join(",\n"))
    }

    /// How often this was run.
    pub(super) fn runs(&self, bench: &str, case: &str) -> usize {
        self.rows.iter().filter(|r| r.bench == bench && r.case == case).count()
    }

    /// The figures of all runs of a case, by name.
    pub(super) fn figures(&self, bench: &str, case: &str) -> BTreeMap<&str, Vec<f64>> {
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for row in self.rows.iter().filter(|r| r.bench == bench && r.case == case) {
            for (name, value) in &row.figures {
                all.entry(name).or_default().push(*value);
            }
        }
        all
    }

    /// The cases of a comparison in the order in which they first came.
    pub(super) fn cases(&self, bench: &str) -> Vec<&str> {
        let mut cases = Vec::new();
        for row in self.rows.iter().filter(|r| r.bench == bench) {
            if !cases.contains(&row.case.as_str()) {
                cases.push(&row.case);
            }
        }
        cases
    }
}

fn row(value: &Value) -> Result<Row> {
    let text = |name: &str| value[name].as_str().map(str::to_owned).with_context(|| format!("a row without `{name}`"));
    let figures = value["figures"].as_object().context("a row without `figures`")?;
    let figures = figures.iter().map(|(k, v)| Ok((k.clone(), v.as_f64().context("a figure that is no number")?)));
    Ok(Row { bench: text("bench")?, case: text("case")?, figures: figures.collect::<Result<_>>()? })
}

/// One run as JSON; three places after the point are more than any figure is worth.
pub(super) fn row_json(row: &Row) -> Value {
    let figures: Map<String, Value> =
        row.figures.iter().map(|(k, v)| (k.clone(), json!((v * 10_000.0).round() / 10_000.0))).collect();
    json!({"bench": row.bench, "case": row.case, "figures": figures})
}

/// A record that grows on disk.
pub(super) struct Book {
    path: Option<PathBuf>,
    /// What it holds so far.
    pub(super) record: Record,
}

impl Book {
    /// Opens the file, or a new one. One of another build or machine is refused, since its figures cannot be compared.
    pub(super) fn open(path: Option<&Path>, about: BTreeMap<String, String>) -> Result<Self> {
        let mut record = Record { about, rows: Vec::new() };
        if let Some(path) = path.filter(|p| p.exists()) {
            let earlier = Record::read(path)?;
            ensure!(
                earlier.about == record.about,
                "{} is of another build or machine; name another file with --json",
                path.display()
            );
            record.rows = earlier.rows;
        }
        Ok(Self { path: path.map(Path::to_owned), record })
    }

    /// Adds a run.
    pub(super) fn add(&mut self, row: Row) -> Result<()> {
        self.record.rows.push(row);
        let Some(path) = &self.path else { return Ok(()) };
        let part = path.with_extension("part");
        fs::write(&part, self.record.text()).with_context(|| format!("cannot write {}", part.display()))?;
        fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The middle of some figures: of an even number, the mean of the two in the middle.
pub(super) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(case: &str, wall: f64) -> Row {
        Row { bench: "pair".into(), case: case.into(), figures: [("wall_s".to_owned(), wall)].into() }
    }

    fn record(rows: Vec<Row>) -> Record {
        Record { about: [("kernel".to_owned(), "6".to_owned())].into(), rows }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let record = record(vec![sample("a:a", 1.5), sample("b:b", 2.25), sample("a:a", 1.75)]);
        assert_eq!(Record::parse(&record.text()).unwrap(), record);
        assert_eq!(record.cases("pair"), ["a:a", "b:b"]);
        assert_eq!(record.runs("pair", "a:a"), 2);
        assert_eq!(record.figures("pair", "a:a")["wall_s"], [1.5, 1.75]);
        assert!(Record::parse("{}").is_err());
    }

    #[test]
    fn records_of_different_machines_do_not_merge() {
        let (a, mut b) = (record(vec![sample("a:a", 1.0)]), record(vec![sample("a:a", 3.0)]));
        assert_eq!(Record::merge(vec![a.clone(), b.clone()]).unwrap().rows.len(), 2);
        b.about.insert("kernel".into(), "7".into());
        assert!(Record::merge(vec![a, b]).is_err());
        assert!(Record::merge(vec![]).is_err());
    }

    #[test]
    fn a_book_goes_on_where_it_was() {
        let folder = std::env::temp_dir().join(format!("xtask-book-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("it.json");
        let about = record(vec![]).about;
        Book::open(Some(&path), about.clone()).unwrap().add(sample("a:a", 1.0)).unwrap();
        assert_eq!(Book::open(Some(&path), about).unwrap().record.runs("pair", "a:a"), 1);
        assert!(Book::open(Some(&path), BTreeMap::new()).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
