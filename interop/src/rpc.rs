//! Asking a client's control port, through curl: it knows multipart forms, and is there anyway.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;

/// What came back.
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Runs curl with these arguments.
///
/// # Errors
/// When there was no answer at all.
pub fn curl(args: &[&str]) -> Result<Reply> {
    let mut command = Command::new("curl");
    command.args(["-s", "-S", "--http1.1", "-i", "-H", "Expect:", "--max-time", "20"]).args(args);
    let out = process::output(&mut command)?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr).trim());
    let split = out.stdout.windows(4).position(|w| w == b"\r\n\r\n").context("no answer of HTTP")?;
    let head = String::from_utf8_lossy(&out.stdout[..split]).into_owned();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status in the answer")?;
    Ok(Reply { status, head, body: out.stdout[split + 4..].to_vec() })
}
