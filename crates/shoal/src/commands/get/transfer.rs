//! One thing that is fetched: its bar, its objects for programs, and its end.

use crate::say::{Voice, printable};
use crate::units;
use base::TorrentId;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use node::disk::Labour;
use node::{Node, Status};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use swarm::SourceKind;

/// Sources that are listed for people.
const SOURCES_SHOWN: usize = 20;
/// Time without anybody after which people are told that it waits.
const LONELY: Duration = Duration::from_secs(5);
/// The same explanation is not repeated within this time where there is no bar to hold it.
const REPEAT: Duration = Duration::from_secs(10);

/// How far something is, for programs.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "progress")]
pub struct Progress<'a> {
    /// Bytes that are here.
    pub bytes: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
    /// Bytes a second that come.
    pub rate: u64,
    /// Peers connected.
    pub peers: u32,
    /// Servers that send.
    pub servers: u32,
    /// What it is called.
    pub name: &'a str,
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
    rotten: u64,
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
    /// What comes is checked against hashes.
    pub verified: bool,
    /// It has failed, and that was told.
    pub failed: bool,
    /// It is seeded, since then.
    pub seeds_from: Option<Instant>,
    /// It was seeded enough.
    pub ends: bool,
    started: Instant,
    alone_since: Option<Instant>,
    said: Option<(String, Instant)>,
    /// What the disk's thread had done at the last look.
    labour: (Instant, Labour),
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
            verified: true,
            failed: false,
            seeds_from: None,
            ends: false,
            started,
            alone_since: Some(started),
            said: None,
            labour: (started, Labour::default()),
        }
    }

    /// True once nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.failed || (self.path.is_some() && (self.seeds_from.is_none() || self.ends))
    }

    /// Tells how far it is. True once nobody has been there for a while: people are to be told why.
    pub fn progress(&mut self, status: &Status, voice: Voice) -> bool {
        let t = &status.torrent;
        let bytes = (t.done + t.partial).min(t.wanted);
        voice.object(&Progress {
            bytes,
            total: Some(t.wanted),
            rate: t.rate_down,
            peers: t.peers,
            servers: t.streams,
            name: &self.name,
        });
        self.bar.set_length(t.wanted);
        self.bar.set_position(bytes);
        let left = t.wanted.saturating_sub(bytes).checked_div(t.rate_down);
        self.bar.set_message(match (status.checking, t.peers, left) {
            (Some((done, all)), ..) => format!("checking, {} %", done.saturating_mul(100) / all.max(1)),
            (None, 0, _) if t.streams == 0 => "waiting for sources".into(),
            (None, n, None) => from(n, t.streams),
            (None, n, Some(left)) => {
                format!(
                    "{}, {}, {} left",
                    units::rate(t.rate_down),
                    from(n, t.streams),
                    units::time(Duration::from_secs(left))
                )
            }
        });
        if t.peers > 0 || t.streams > 0 || status.checking.is_some() {
            self.alone_since = None;
        } else if self.alone_since.get_or_insert_with(Instant::now).elapsed() > LONELY && self.said.is_none() {
            self.said = Some((String::new(), Instant::now()));
            return true;
        }
        false
    }

    /// Nobody is there who has it, for this reason.
    pub fn waits(&self, why: &str, voice: Voice, shown: &Shown) {
        voice.object(&Explained { name: &self.name, text: why });
        shown.above(|| voice.note(&format!("{}: {why}; waiting for somebody who has it, Ctrl-C ends", self.name)));
    }

    /// What the disk's thread spent on hashing and on writing since this was asked last, in percent of the time.
    pub fn labour(&mut self, status: &Status) -> (u64, u64) {
        let (now, sum) = (Instant::now(), status.labour);
        let (then, before) = std::mem::replace(&mut self.labour, (now, sum));
        let span = now.duration_since(then).as_millis().max(1);
        let percent = |now: Duration, before: Duration| {
            u64::try_from(now.saturating_sub(before).as_millis() * 100 / span).unwrap_or(u64::MAX)
        };
        (percent(sum.hashing, before.hashing), percent(sum.writing, before.writing))
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
        let (wasted, rotten) = status.map_or((0, 0), |s| (s.torrent.wasted, s.torrent.rotten));
        let path = self.path.as_ref().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        voice.object(&Complete {
            path: path.clone(),
            bytes,
            seconds: seconds.as_secs_f64(),
            verified: self.verified,
            wasted,
            rotten,
            sources: sources
                .iter()
                .map(|s| {
                    let (kind, address) = match &s.kind {
                        SourceKind::Peer(addr) => ("peer", addr.to_string()),
                        SourceKind::Http(name) => ("http", name.clone()),
                    };
                    From { kind, address, bytes: s.bytes }
                })
                .collect(),
            name: &self.name,
        });
        self.clear();
        shown.above(|| {
            let path = printable(&path);
            let verified = if self.verified { "complete and verified" } else { "complete, not verified" };
            if bytes == 0 {
                voice.result(&format!("{path} is {verified}; nothing had to be fetched"));
                return;
            }
            let rate = units::rate((bytes as f64 / seconds.as_secs_f64().max(0.001)) as u64);
            let (size, time) = (units::bytes(bytes), units::time(seconds));
            voice.result(&format!("{path} is {verified}: {size} in {time}, {rate}"));
            for source in sources.iter().take(SOURCES_SHOWN).filter(|_| !voice.quiet) {
                let share = source.bytes as f64 * 100.0 / bytes as f64;
                let who = match &source.kind {
                    SourceKind::Peer(addr) => addr.to_string(),
                    SourceKind::Http(name) => printable(name).to_string(),
                };
                voice.result(&format!("  {:>9} ({share:.0} %) from {who}", units::bytes(source.bytes)));
            }
            if sources.len() > SOURCES_SHOWN {
                voice.result(&format!("  and the rest from {} more", sources.len() - SOURCES_SHOWN));
            }
            let in_vain =
                [(wasted.saturating_sub(rotten), "came twice or unasked"), (rotten, "did not match the hashes")];
            for (bytes, what) in in_vain.into_iter().filter(|(bytes, _)| *bytes > 0) {
                voice.note(&format!("  {} {what}", units::bytes(bytes)));
            }
        });
    }
}

/// A bar for what has no known end.
pub fn bar_of_unknown(voice: Voice, path: &std::path::Path) -> ProgressBar {
    let target = if voice.draws() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {binary_bytes}, {binary_bytes_per_sec}") {
        bar.set_style(style);
    }
    let name = path.file_name().map(|n| n.to_string_lossy().chars().take(30).collect::<String>());
    bar.set_prefix(printable(&name.unwrap_or_default()));
    bar
}

/// Tells that something is complete of which nothing was known before.
pub fn complete_unchecked(voice: Voice, path: &std::path::Path, url: &str, bytes: u64, time: Duration) {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let path = path.to_string_lossy().into_owned();
    voice.object(&Complete {
        path: path.clone(),
        bytes,
        seconds: time.as_secs_f64(),
        verified: false,
        wasted: 0,
        rotten: 0,
        sources: vec![From { kind: "http", address: url.to_owned(), bytes }],
        name: &name,
    });
    let rate = units::rate((bytes as f64 / time.as_secs_f64().max(0.001)) as u64);
    let path = printable(&path);
    voice.result(&format!(
        "{path} is complete, not verified: {} in {}, {rate}",
        units::bytes(bytes),
        units::time(time)
    ));
}

/// How many send.
fn from(peers: u32, streams: u32) -> String {
    use units::count;
    match (peers, streams) {
        (n, 0) => count(n, "peer"),
        (0, n) => count(n, "stream"),
        (peers, streams) => format!("{}, {}", count(peers, "peer"), count(streams, "stream")),
    }
}
