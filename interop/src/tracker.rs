//! `shoal tracker`, and what it knows of a torrent, which is asked by scraping it.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::place::Place;
use crate::process::{self, PATIENCE};
use crate::rpc;
use crate::shoal::Running;

/// The address of the tracker in each test.
const HOST_TRACKER: u8 = 1;
const PORT: u16 = 6_969;

/// How clients reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// BEP 3.
    Http,
    /// BEP 15.
    Udp,
}

/// The counts of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Peers that have all.
    pub complete: u64,
    /// How often a download was announced as completed.
    pub downloaded: u64,
    /// Peers that have not.
    pub incomplete: u64,
}

/// A running tracker.
pub struct Tracker {
    running: Running,
    address: String,
}

impl Tracker {
    /// Starts it for this place, on HTTP and UDP.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(place: &Place) -> Result<Self> {
        Self::start_with(place, &[])
    }

    /// The same, with more flags.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_with(place: &Place, more: &[&str]) -> Result<Self> {
        let address = format!("{}:{PORT}", place.address(HOST_TRACKER));
        let args = [&["tracker", "--http", &address, "--udp", &address], more].concat();
        let running = Running::start(place, "tracker", &args)?;
        Ok(Self { running, address })
    }

    /// The URL that goes into torrents, known before the tracker runs.
    #[must_use]
    pub fn url(place: &Place, via: Via) -> String {
        let scheme = match via {
            Via::Http => "http",
            Via::Udp => "udp",
        };
        format!("{scheme}://{}:{PORT}/announce", place.address(HOST_TRACKER))
    }

    /// Waits until what it knows of an info-hash is as wanted.
    ///
    /// # Errors
    /// When it never is; the error shows what it was.
    pub fn await_counts(&mut self, info_hash: &str, what: &str, wanted: impl Fn(Counts) -> bool) -> Result<()> {
        let mut last = Counts::default();
        let waited = process::until(PATIENCE, what, || {
            last = self.scrape(info_hash)?;
            Ok(wanted(last))
        });
        waited.with_context(|| format!("{last:?}"))
    }

    /// What it knows of an info-hash, given in hex; SHA-256 is cut to 20 bytes as on the wire.
    ///
    /// # Errors
    /// When it does not answer as a tracker does.
    pub fn scrape(&mut self, info_hash: &str) -> Result<Counts> {
        self.running.process.alive()?;
        let mut escaped = String::new();
        for pair in info_hash.as_bytes().chunks(2).take(20) {
            write!(escaped, "%{}", String::from_utf8_lossy(pair)).context("cannot write")?;
        }
        let reply = rpc::curl(&[&format!("http://{}/scrape?info_hash={escaped}", self.address)])?;
        ensure!(reply.status == 200, "the tracker answered a scrape with {}", reply.status);
        ensure!(reply.body.starts_with(b"d5:files"), "no scrape: {:?}", reply.text());
        let count = |key: &[u8]| {
            let at = reply.body.windows(key.len()).position(|w| w == key)? + key.len();
            let digits: String =
                reply.body[at..].iter().map(|&b| char::from(b)).take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        Ok(Counts {
            complete: count(b"8:completei").unwrap_or(0),
            downloaded: count(b"10:downloadedi").unwrap_or(0),
            incomplete: count(b"10:incompletei").unwrap_or(0),
        })
    }
}
