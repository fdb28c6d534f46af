//! One driver a client: how it is started, given a torrent and asked for its state.

pub mod aria2;
pub mod libtorrent;
pub mod qbittorrent;
pub mod rtorrent;
pub mod transmission;

use std::path::Path;

use anyhow::{Context, Result};

/// The port on which every client listens for peers: each has an address of its own.
pub(crate) const PEER_PORT: u16 = 50_000;

/// The port on which every client is controlled.
pub(crate) const CONTROL_PORT: u16 = 51_000;

/// A path as text, which the control ports want.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}

/// Bytes in base64.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, &b)| word | u32::from(b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads() {
        for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(super::base64(bytes.as_bytes()), expected);
        }
    }
}
