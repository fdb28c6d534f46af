//! One thing that is fetched: its bar, its objects for programs, and its end.

use crate::say::{Voice, printable};
use crate::units;
use base::TorrentId;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use node::{Node, Status};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Sources that are listed for people.
const SOURCES_SHOWN: usize = 20;
/// Time without anybody after which people are told that it waits.
const LONELY: Duration = Duration::from_secs(5);
/// The same explanation is not repeated within this time where there is no bar to hold it.
const REPEAT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
#[serde(tag = "event", rename = "progress")]
struct Progress<'a> {
    bytes: u64,
    total: u64,
    rate: u64,
    peers: u32,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "explain")]
struct Explained<'a> {
    name: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "complete")]
struct Complete<'a> {
    path: String,
    bytes: u64,
    seconds: f64,
    verified: bool,
    wasted: u64,
    sources: Vec<From>,
    name: &'a str,
}

#[derive(Serialize)]
struct From {
    kind: &'static str,
    address: String,
    bytes: u64,
}

/// The bars.
#[derive(Debug)]
pub struct Shown(MultiProgress);

impl Shown {
    /// No bars yet.
    pub fn new(voice: Voice) -> Self {
        let target = if voice.draws() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Shown(MultiProgress::with_draw_target(target))
    }

    /// One more bar.
    fn bar(&self, name: &str) -> ProgressBar {
        let bar = self.0.add(ProgressBar::new(0));
        let style = "{prefix} {wide_bar} {binary_bytes} of {binary_total_bytes} {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        let short: String = name.chars().take(30).collect();
        bar.set_prefix(printable(&short));
        bar
    }

    /// A line of text under the bars so far.
    fn line(&self) -> ProgressBar {
        let line = self.0.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("  {wide_msg}") {
            line.set_style(style);
        }
        line
    }

    /// Prints something above the bars.
    pub fn above(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

/// One thing that is fetched.
#[derive(Debug)]
pub struct Transfer {
    /// The torrent.
    pub id: TorrentId,
    /// Its name, as far as it is known.
    pub name: String,
    /// Its bar.
    pub bar: ProgressBar,
    /// The line under it that says what limits it.
    why: ProgressBar,
    /// Where it is, once it is complete.
    pub path: Option<PathBuf>,
    /// It has failed, and that was told.
    pub failed: bool,
    /// It is seeded, since then.
    pub seeds_from: Option<Instant>,
    /// It was seeded enough.
    pub ends: bool,
    started: Instant,
    alone_since: Option<Instant>,
    said: Option<(String, Instant)>,
}

impl Transfer {
    /// Begins now.
    pub fn new(id: TorrentId, name: String, shown: &Shown) -> Self {
        let (bar, why) = (shown.bar(&name), shown.line());
        let started = Instant::now();
        Transfer {
            id,
            name,
            bar,
            why,
            path: None,
            failed: false,
            seeds_from: None,
            ends: false,
            started,
            alone_since: Some(started),
            said: None,
        }
    }

    /// True once nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.failed || (self.path.is_some() && (self.seeds_from.is_none() || self.ends))
    }

    /// Tells how far it is.
    pub fn progress(&mut self, status: &Status, voice: Voice, shown: &Shown) {
        let t = &status.torrent;
        let bytes = (t.done + t.partial).min(t.wanted);
        voice.object(&Progress { bytes, total: t.wanted, rate: t.rate_down, peers: t.peers, name: &self.name });
        self.bar.set_length(t.wanted);
        self.bar.set_position(bytes);
        let left = t.wanted.saturating_sub(bytes).checked_div(t.rate_down);
        self.bar.set_message(match (status.checking, t.peers, left) {
            (Some((done, all)), ..) => format!("checking, {} %", done.saturating_mul(100) / all.max(1)),
            (None, 0, _) => "waiting for peers".into(),
            (None, n, None) => format!("{n} {}", noun(n)),
            (None, n, Some(left)) => {
                format!(
                    "{}, {n} {}, {} left",
                    units::rate(t.rate_down),
                    noun(n),
                    units::time(Duration::from_secs(left))
                )
            }
        });
        if t.peers > 0 || status.checking.is_some() {
            self.alone_since = None;
        } else if self.alone_since.get_or_insert_with(Instant::now).elapsed() > LONELY && self.said.is_none() {
            self.said = Some((String::new(), Instant::now()));
            shown.above(|| voice.note(&format!("{}: waiting for somebody who has it; Ctrl-C ends", self.name)));
        }
    }

    /// Takes its lines off the terminal.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
        self.why.finish_and_clear();
    }

    /// Tells what limits it.
    pub fn explain(&mut self, text: String, voice: Voice, shown: &Shown) {
        voice.object(&Explained { name: &self.name, text: &text });
        if voice.draws() {
            self.why.set_message(text);
        } else if self.said.as_ref().is_none_or(|(said, at)| *said != text && at.elapsed() > REPEAT) {
            shown.above(|| voice.note(&format!("{}: {text}", self.name)));
            self.said = Some((text, Instant::now()));
        }
    }

    /// Tells that it is complete, and who supplied what.
    pub async fn complete(&self, node: &Node, voice: Voice, shown: &Shown) {
        let seconds = self.started.elapsed();
        let (mut sources, status) = tokio::join!(node.sources(self.id), node.status(self.id));
        sources.sort_by_key(|s| std::cmp::Reverse(s.bytes));
        let bytes: u64 = sources.iter().map(|s| s.bytes).sum();
        let wasted = status.map_or(0, |s| s.torrent.wasted);
        let path = self.path.as_ref().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        voice.object(&Complete {
            path: path.clone(),
            bytes,
            seconds: seconds.as_secs_f64(),
            verified: true,
            wasted,
            sources: sources
                .iter()
                .map(|s| From { kind: "peer", address: s.addr.to_string(), bytes: s.bytes })
                .collect(),
            name: &self.name,
        });
        self.clear();
        shown.above(|| {
            let path = printable(&path);
            if bytes == 0 {
                voice.result(&format!("{path} is complete and verified; nothing had to be fetched"));
                return;
            }
            let rate = units::rate((bytes as f64 / seconds.as_secs_f64().max(0.001)) as u64);
            let (size, time) = (units::bytes(bytes), units::time(seconds));
            voice.result(&format!("{path} is complete and verified: {size} in {time}, {rate}"));
            for source in sources.iter().take(SOURCES_SHOWN).filter(|_| !voice.quiet) {
                let share = source.bytes as f64 * 100.0 / bytes as f64;
                voice.result(&format!("  {:>9} ({share:.0} %) from {}", units::bytes(source.bytes), source.addr));
            }
            if sources.len() > SOURCES_SHOWN {
                voice.result(&format!("  and the rest from {} more", sources.len() - SOURCES_SHOWN));
            }
            if wasted > 0 {
                voice.note(&format!("  {} came twice, unasked or broken", units::bytes(wasted)));
            }
        });
    }
}

fn noun(peers: u32) -> &'static str {
    if peers == 1 { "peer" } else { "peers" }
}
