//! Progress bars for what takes over a second, on terminals alone.

use crate::say::Voice;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use node::disk::check::Meter;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bars appear after this time: what is quicker needs none.
const QUIET_TIME: Duration = Duration::from_secs(1);
/// How often programs are told.
const TOLD: Duration = Duration::from_secs(1);
/// How often a bar is drawn.
const STEP: Duration = Duration::from_millis(100);

/// A bar of bytes; invisible where nobody looks.
pub fn bar(voice: Voice, what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target(voice));
    let style = "{prefix} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(what.to_owned());
    bar
}

fn target(voice: Voice) -> ProgressDrawTarget {
    if voice.draws() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// Does slow work on a thread that may block, with a bar that follows its meter; it says how many bytes there are. If `stop` is done first, the meter
/// tells the work to stop, and what it then says counts.
pub async fn metered<T: Send + 'static>(
    voice: Voice,
    what: &str,
    stop: impl Future<Output = ()>,
    work: impl FnOnce(&Meter, &dyn Fn(u64)) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let (meter, total) = (Arc::new(Meter::default()), Arc::new(AtomicU64::new(0)));
    let mut working = {
        let (meter, total) = (meter.clone(), total.clone());
        tokio::task::spawn_blocking(move || work(&meter, &|bytes| total.store(bytes, Ordering::Relaxed)))
    };
    let started = tokio::time::Instant::now();
    let mut tick = tokio::time::interval(STEP);
    let mut drawn = None;
    tokio::pin!(stop);
    let mut stopping = false;
    loop {
        tokio::select! {
            result = &mut working => {
                if let Some(bar) = drawn.take() {
                    ProgressBar::finish_and_clear(&bar);
                }
                return Ok(result?);
            }
            () = &mut stop, if !stopping => {
                stopping = true;
                meter.stop.store(true, Ordering::Relaxed);
            }
            _ = tick.tick() => {
                if started.elapsed() > QUIET_TIME {
                    let total = total.load(Ordering::Relaxed);
                    drawn.get_or_insert_with(|| bar(voice, what, total)).set_position(meter.bytes.load(Ordering::Relaxed));
                }
            }
        }
    }
}

/// How far something is.
#[derive(Clone, Copy, Debug)]
pub struct Far {
    /// What it does.
    pub what: &'static str,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes there are.
    pub total: u64,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "progress")]
struct Progress {
    bytes: u64,
    total: u64,
    rate: u64,
}

/// Follows work that says how far it is: with a bar, or with an object a second.
pub async fn followed<T>(voice: Voice, far: impl Fn() -> Far, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let started = tokio::time::Instant::now();
    let mut tick = tokio::time::interval(if voice.json { TOLD } else { STEP });
    let mut drawn: Option<(&str, ProgressBar)> = None;
    let mut before = 0;
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            _ = tick.tick() => {
                let Far { what, bytes, total } = far();
                if voice.json && started.elapsed() >= TOLD {
                    let rate = bytes.saturating_sub(before) / TOLD.as_secs().max(1);
                    voice.object(&Progress { bytes, total, rate });
                    before = bytes;
                }
                if started.elapsed() > QUIET_TIME {
                    if let Some((_, old)) = drawn.take_if(|(drawn, _)| *drawn != what) {
                        old.finish_and_clear();
                    }
                    let (_, bar) = drawn.get_or_insert_with(|| (what, bar(voice, what, total)));
                    bar.set_length(total);
                    bar.set_position(bytes);
                }
            }
        }
    };
    if let Some((_, bar)) = drawn {
        bar.finish_and_clear();
    }
    result
}

/// A line at the bottom of the terminal that says how it goes; nothing where nobody looks.
#[derive(Debug)]
pub struct Line(ProgressBar);

impl Line {
    /// A line that says nothing yet.
    pub fn new(voice: Voice) -> Self {
        let bar = ProgressBar::with_draw_target(None, target(voice));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Line(bar)
    }

    /// Does anybody see it?
    pub fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Says this from now on.
    pub fn set(&self, text: String) {
        self.0.set_message(text);
        self.0.tick();
    }

    /// Prints something above the line.
    pub fn above(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
