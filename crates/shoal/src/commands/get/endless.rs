//! What a server sends without saying how long it is: written as it comes, from the beginning, and nothing else is possible.

use super::transfer::{Progress, bar_of_unknown, complete_unchecked};
use crate::failure::Failure;
use crate::say::{Voice, fail};
use crate::signals;
use anyhow::{Context as _, bail};
use node::Node;
use node::disk::Place;
use node::http::client::{Request, Web};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

/// Time without a byte after which the server is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// How all of them are fetched.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// Asks.
    pub web: &'a Web,
    /// Keeps other downloads of this run away from where they are written.
    pub node: &'a Node,
    /// The folder that they go to.
    pub dir: &'a Path,
    /// Write to the final name at once.
    pub in_place: bool,
    /// Most bytes a second.
    pub limit: Option<u64>,
    /// Who is told.
    pub voice: Voice,
}

/// Fetches these one after the other.
pub async fn fetch_all(urls: Vec<(String, String)>, how: How<'_>) -> Result<(), Failure> {
    let mut result = Ok(());
    for (url, name) in urls {
        let one = tokio::select! {
            one = fetch(&url, &name, how) => one,
            () = signals::stop() => return Err(Failure::Interrupted),
        };
        if let Err(error) = one {
            let message = format!("{error:#}");
            how.voice.object(&super::ErrorEvent { message: &message });
            fail(&crate::say::printable(&message));
            result = Err(Failure::Said);
        }
    }
    result
}

async fn fetch(url: &str, name: &str, how: How<'_>) -> anyhow::Result<()> {
    let (shown, path, voice) = (node::http::without_password(url), how.dir.join(name), how.voice);
    let _claim = how.node.claim(&path, how.in_place, name)?;
    if !how.in_place && path.symlink_metadata().is_ok() {
        bail!("{} exists; move it away, choose another folder, or overwrite it with --in-place", path.display());
    }
    let started = Instant::now();
    let failed = |e: String| anyhow::anyhow!("can't fetch {shown}: {e}");
    let mut answer = how.web.ask(Request::get(url)).await.map_err(|e| failed(e.to_string()))?;
    if !answer.status().is_success() {
        return Err(failed(format!("the server says {}", answer.status())));
    }
    let mut part = Part::new(&path, how.in_place);
    let written = || format!("can't write {}", path.display());
    let mut file = tokio::fs::File::from_std(part.open()?);
    let (bar, mut bytes, mut told) = (bar_of_unknown(voice, &path), 0u64, (Instant::now(), 0u64));
    loop {
        let chunk =
            tokio::time::timeout(SILENCE, answer.chunk()).await.map_err(|_| failed("it has gone silent".into()))?;
        // A connection that breaks looks like an end to nobody: the end is marked.
        let Some(chunk) = chunk.map_err(|e| failed(node::fetch::words(&e)))? else { break };
        file.write_all(&chunk).await.with_context(written)?;
        bytes += chunk.len() as u64;
        bar.set_position(bytes);
        if let Some(limit) = how.limit {
            // What is not read is not sent.
            tokio::time::sleep_until(started + Duration::from_secs_f64(bytes as f64 / limit.max(1) as f64)).await;
        }
        if told.0.elapsed() >= super::STEP {
            let rate = ((bytes - told.1) as f64 / told.0.elapsed().as_secs_f64()) as u64;
            voice.object(&Progress { bytes, total: None, rate, peers: 0, servers: 1, name });
            told = (Instant::now(), bytes);
        }
    }
    file.flush().await.with_context(written)?;
    drop(file);
    bar.finish_and_clear();
    part.finish(&path)?;
    complete_unchecked(voice, &path, &shown, bytes, started.elapsed());
    Ok(())
}

/// What is written to. If it does not come to its end, it goes: nothing could go on from it.
struct Part {
    path: PathBuf,
    in_place: bool,
    made: bool,
}

impl Part {
    fn new(path: &Path, in_place: bool) -> Self {
        let mut part = path.as_os_str().to_owned();
        if !in_place {
            part.push(".part");
        }
        Part { path: part.into(), in_place, made: false }
    }

    fn open(&mut self) -> anyhow::Result<std::fs::File> {
        let shown = self.path.display();
        if self.in_place && self.path.metadata().is_ok_and(|there| !there.is_file()) {
            // A pipe would wait for somebody to read.
            bail!("{shown} is no plain file; choose another folder with -o");
        }
        let mut options = std::fs::File::options();
        let options = options.write(true);
        let file = match self.in_place {
            true => options.create(true).truncate(true).open(&self.path),
            false => options.create_new(true).open(&self.path),
        };
        match file {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("{shown} exists already; move it away or choose another folder")
            }
            other => {
                let file = other.with_context(|| format!("can't write {shown}"))?;
                self.made = !self.in_place;
                Ok(file)
            }
        }
    }

    /// Gives it its final name, never over what is there.
    fn finish(mut self, path: &Path) -> anyhow::Result<()> {
        if self.path != path {
            // From here on it stays, whatever happens.
            self.made = false;
            let place =
                |path: &Path| Place::new(path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
            let here = || format!("what came is at {}", self.path.display());
            node::disk::rename(&place(&self.path), &place(path)).with_context(here)?;
        }
        self.made = false;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.made {
            // It was ours alone; if it can't be removed, it stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
