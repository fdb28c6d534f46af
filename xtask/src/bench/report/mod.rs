//! The pages of figures: targets, a table a comparison, and every run by itself, written from one or more records.

mod commands;
mod tables;
mod targets;

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::plan;
use super::record::Record;
use crate::run;

/// What has to be known to read it.
const INTRODUCTION: &str = "# Benchmarks

Ours beside libtorrent, rqbit, aria2 and mktorrent, written by `cargo xtask bench report`. Nothing here is typed by hand; what we lose is here as well.

- Figures hold only within one run on one machine: what is compared ran in turn (A B A B), the figures are medians with the smallest and the
  largest in brackets, and every run is at the end.
- Ours is the release binary with its default flags: `shoal seed` and `shoal get --seed`. It is a command, so its start counts (the column *of it
  start*, where it is shown: until it takes connections). The others are daemons that run already when their clock starts.
- CPU is that of the whole process, user and kernel, in seconds a GiB; for ours it begins with the process, for the others when they are handed the
  torrent. Memory is `VmHWM`, what was resident at most; *own* of it is anonymous memory, the rest pages of files, the program's text among them.
- *Best of the others* names who it is, and of how many that were measured in the same comparison.
- Every file that was transferred was compared with its source byte for byte, every torrent's info-hash with that of another program.
- All in a network namespace with only the loopback device, one small tracker in the harness, TCP, no encryption.
- Before each run as much memory is touched and freed as it will write, since a first touch of a page costs several times its second here.
- Programs that are asked how far they are (all but ours, which says it) are asked every 50 ms, and every 5 ms when nine tenths are there.
- `rqbit-1` is rqbit on one thread, `libtorrent-tuned` libtorrent with two threads that hash, two for the disk, and deeper queues.
";

/// The same for the web.
const INTRODUCTION_WEB: &str = "# Benchmarks of the web side

`shoal serve` beside nginx, `shoal get` from servers beside curl and aria2, written by `cargo xtask bench report`. Nothing here is typed by hand; what we lose is here as well.

- Figures hold only within one run on one machine: what is compared ran in turn (A B A B), the figures are medians with the smallest and the
  largest in brackets, and every run is at the end.
- Ours is the release binary with its default flags and one thread, which is what the others have. nginx is one process without a log of requests; `nginx` sends with sendfile,
  `nginx-buffers` from two buffers of 1 MiB, `nginx-cache` keeps files open for a minute and looks at them no more often.
- All in a network namespace. Wires are veth devices with a token bucket at the server's end, and a namespace behind them; their rate is that of the bytes in the packets.
- CPU is that of the server's process, user and kernel. The load (wrk with one thread, curl) has the other core.
- Every file that was fetched was compared with its source byte for byte. A command's start counts, for ours as for curl and aria2.
- *KiB each* is what the process grew by for a thousand clients beyond the first; what the kernel keeps for their sockets is not in it.
";

/// One of the pages.
struct Page {
    file: &'static str,
    introduction: &'static str,
    /// Which comparisons it is of.
    has: fn(&str) -> bool,
    commands: &'static str,
}

const PAGES: &[Page] = &[
    Page {
        file: "docs/BENCHMARKS.md",
        introduction: INTRODUCTION,
        has: |bench| !plan::is_web(bench),
        commands: commands::SECTION,
    },
    Page {
        file: "docs/BENCHMARKS-WEB.md",
        introduction: INTRODUCTION_WEB,
        has: plan::is_web,
        commands: commands::SECTION_WEB,
    },
];

/// Writes the pages of which something was measured.
pub(super) fn write(record: &Record) -> Result<()> {
    for page in PAGES.iter().filter(|page| record.rows.iter().any(|row| (page.has)(&row.bench))) {
        let path = run::root().join(page.file);
        fs::write(&path, page.text(record)).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

impl Page {
    fn text(&self, record: &Record) -> String {
        let mut page = self.introduction.to_owned();
        page.push_str("\n## Where\n\n| what | |\n|---|---|\n");
        for (name, value) in &record.about {
            let _ = writeln!(page, "| {name} | {value} |");
        }
        page.push('\n');
        page.push_str(&self.outcomes(record));
        for (bench, about) in plan::BENCHES.iter().filter(|(bench, _)| (self.has)(bench)) {
            page.push_str(&tables::table(record, bench, about));
        }
        page.push_str(self.commands);
        page.push_str(&tables::raw(record, self.has));
        page
    }

    fn outcomes(&self, record: &Record) -> String {
        let mut text =
            "## Targets\n\n| what | ours | best of the others | ours / best | target | |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for target in targets::TARGETS.iter().filter(|target| (self.has)(target.bench)) {
            let Some(outcome) = target.outcome(record) else {
                let _ = writeln!(text, "| {} | not measured | | | {} | |", target.what, target.wanted());
                continue;
            };
            let (best, ratio) = outcome.best.map_or_else(Default::default, |(value, who)| {
                (
                    format!("{} ({who}, of {})", tables::number(value), outcome.of),
                    format!("{:.2}", outcome.ours / value),
                )
            });
            let met = if outcome.met() { "met" } else { "**not met**" };
            let ours = tables::number(outcome.ours);
            let _ = writeln!(text, "| {} | {ours} | {best} | {ratio} | {} | {met} |", target.what, target.wanted());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Row;
    use super::*;

    #[test]
    fn a_page_says_what_was_and_what_was_not_measured() {
        let row = |case: &str, wall: f64| Row {
            bench: "pair".into(),
            case: case.into(),
            figures: [("wall_s".to_owned(), wall)].into(),
        };
        let rows = vec![row("ours:ours", 1.0), row("rqbit:rqbit", 4.0), row("ours:ours", 2.0)];
        let page = PAGES[0].text(&Record { about: [("kernel".to_owned(), "6.1".to_owned())].into(), rows });
        for line in [
            "| kernel | 6.1 |",
            "| one to one, 2 GiB: wall s | 1.50 | 4.00 (rqbit:rqbit, of 1) | 0.38 | at most 0.85 of the best | met |",
            "| 2,000 idle peers: KiB each | not measured | | | at most 4 | |",
            "| ours:ours | 1.50 (1.00 to 2.00) |",
        ] {
            assert!(page.lines().any(|l| l == line), "{line:?} is not in\n{page}");
        }
        assert!(!page.contains("web") && PAGES[1].text(&Record::default()).contains("2 GiB to one client"));
    }
}
