//! `shoal tracker`: a tracker by itself, over HTTP and UDP.

use super::Listening;
use crate::args::TrackerArgs;
use crate::failure::Failure;
use crate::say::Voice;
use crate::signals;
use anyhow::Context as _;
use base::InfoHash;
use node::tracker_server::TrackerServer;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::net::{TcpListener, UdpSocket};
use tracker::server::{Access, Config};

/// The port of trackers.
const PORT: u16 = 6969;

/// Does what the command line says.
pub async fn run(args: TrackerArgs, voice: Voice) -> Result<(), Failure> {
    if args.workers.is_some_and(|n| n.get() > 1) {
        voice.note("note: one worker answers; more are not built yet");
    }
    let access = Access {
        allow: args.allow.as_deref().map(hashes).transpose()?,
        deny: args.deny.as_deref().map(hashes).transpose()?.unwrap_or_default(),
    };
    let wanted = args.http.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
    let http = super::listen(wanted).await?;
    let bound = http.first().context("no listener")?.local_addr()?;
    let udp_wanted = args.udp.unwrap_or(SocketAddr::new(wanted.ip(), bound.port()));
    let udp = UdpSocket::bind(udp_wanted).await;
    let udp =
        udp.map_err(|e| anyhow::anyhow!("can't listen for datagrams on {udp_wanted} (--udp): {e}{}", super::hint(&e)))?;
    let udp_bound = udp.local_addr()?;
    let handle = TrackerServer::start(Config { access, ..Config::default() }).context("can't start the tracker")?;
    let mut tasks = tokio::task::JoinSet::new();
    if udp_bound.ip() == Ipv4Addr::UNSPECIFIED
        && let Ok(socket) = super::udp_v6_only(udp_bound.port())
    {
        tasks.spawn(handle.clone().serve_udp(socket));
    }
    tasks.spawn(handle.clone().serve_udp(udp));
    http.into_iter().for_each(|listener: TcpListener| drop(tasks.spawn(handle.clone().serve_http(listener))));
    voice.object(&Listening { http: Some(bound), udp: Some(udp_bound), ..Listening::default() });
    voice.result(&format!("announce to http://{bound}/announce or udp://{udp_bound}"));
    signals::stop().await;
    let totals = handle.lock().totals();
    voice.note(&format!("{} announces were answered", totals.announces));
    Ok(())
}

/// Reads a list of info-hashes: one a line, in hexadecimal, v2 ones too; `#` begins a remark.
fn hashes(path: &Path) -> anyhow::Result<BTreeSet<InfoHash>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let mut found = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let hash = line.split('#').next().unwrap_or_default().trim();
        if hash.is_empty() {
            continue;
        }
        let wrong = || {
            format!(
                "{}, line {}: {hash:.80} is no info-hash of 40 or 64 hexadecimal digits",
                path.display(),
                number + 1
            )
        };
        found.insert(info_hash(hash).with_context(wrong)?);
    }
    Ok(found)
}

fn info_hash(text: &str) -> Option<InfoHash> {
    let sound = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = if sound { &text[..40] } else { return None };
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(InfoHash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_hashes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        let v1 = "0123456789abcdef0123456789ABCDEF01234567";
        std::fs::write(&file, format!("# all of them\n{v1} # one\n\n{}\n", "ab".repeat(32))).unwrap();
        let found = hashes(&file).unwrap();
        assert!(found.contains(&InfoHash([0xab; 20])) && found.len() == 2);
        std::fs::write(&file, format!("{v1}\nxyz\n")).unwrap();
        assert!(hashes(&file).unwrap_err().to_string().contains("line 2: xyz"));
    }
}
