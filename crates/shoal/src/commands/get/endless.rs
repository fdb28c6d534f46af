//! What a server sends without saying how long it is: written as it comes, from the beginning, and nothing else is possible.

use super::transfer::{bar_of_unknown, complete_unchecked};
use crate::failure::Failure;
use crate::say::{Voice, fail};
use crate::signals;
use anyhow::{Context as _, bail};
use node::http::client::{Request, Web};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::io::AsyncWriteExt as _;

/// Time without a byte after which the server is given up.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Fetches these one after the other.
pub async fn fetch_all(urls: Vec<(String, String)>, dir: &Path, in_place: bool, voice: Voice) -> Result<(), Failure> {
    let mut result = Ok(());
    for (url, name) in urls {
        let path = dir.join(&name);
        let one = tokio::select! {
            one = fetch(&url, &path, in_place, voice) => one,
            () = signals::stop() => return Err(Failure::Interrupted),
        };
        if let Err(error) = one {
            let message = format!("{error:#}");
            voice.object(&super::ErrorEvent { message: &message });
            fail(&crate::say::printable(&message));
            result = Err(Failure::Said);
        }
    }
    result
}

async fn fetch(url: &str, path: &Path, in_place: bool, voice: Voice) -> anyhow::Result<()> {
    let shown = node::http::without_password(url);
    if !in_place && path.symlink_metadata().is_ok() {
        bail!("{} exists; move it away, choose another folder, or overwrite it with --in-place", path.display());
    }
    let started = Instant::now();
    let failed = |e: String| anyhow::anyhow!("can't fetch {shown}: {e}");
    let mut answer = Web::default().ask(Request::get(url)).await.map_err(|e| failed(e.to_string()))?;
    if !answer.status().is_success() {
        return Err(failed(format!("the server says {}", answer.status())));
    }
    let part = if in_place { path.to_owned() } else { part_of(path) };
    let written = || format!("can't write {}", part.display());
    let mut file = tokio::fs::File::create(&part).await.with_context(written)?;
    let (bar, mut bytes) = (bar_of_unknown(voice, path), 0u64);
    loop {
        let chunk =
            tokio::time::timeout(SILENCE, answer.chunk()).await.map_err(|_| failed("it has gone silent".into()))?;
        // A connection that breaks looks like an end to nobody: the end is marked.
        let Some(chunk) = chunk.map_err(|e| failed(node::fetch::words(&e)))? else { break };
        file.write_all(&chunk).await.with_context(written)?;
        bytes += chunk.len() as u64;
        bar.set_position(bytes);
    }
    file.flush().await.with_context(written)?;
    drop(file);
    bar.finish_and_clear();
    if part != path {
        if path.symlink_metadata().is_ok() {
            bail!("{} was made in the meantime; what came is at {}", path.display(), part.display());
        }
        std::fs::rename(&part, path).with_context(|| format!("can't rename {}", part.display()))?;
    }
    complete_unchecked(voice, path, &shown, bytes, started.elapsed());
    Ok(())
}

fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}
