//! A child process whose lines carry the moment at which they came, and which ends when dropped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How long a process may take to come up or to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process may take to end when it is asked to.
const END: Duration = Duration::from_secs(2);

/// One running program.
pub(super) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    input: Option<ChildStdin>,
    lines: Receiver<(Instant, String)>,
}

impl Process {
    /// Starts the command in `folder`, which is its home as well; what it says on standard error goes to a log there.
    pub(super) fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let log = folder.join("log");
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file).env("HOME", folder);
        for variable in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
            command.env(variable, folder);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        let input = child.stdin.take();
        let out = child.stdout.take().context("a child without output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.map(|line| (Instant::now(), line)).try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, name: name.to_owned(), log, input, lines })
    }

    /// The process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one line.
    pub(super) fn say(&mut self, line: &Value) -> Result<()> {
        let input = self.input.as_mut().context("this program does not listen")?;
        writeln!(input, "{line}").with_context(|| format!("{} no longer listens", self.name))
    }

    /// Waits for the next line, which must be JSON.
    pub(super) fn hear(&mut self, limit: Duration) -> Result<(Instant, Value)> {
        match self.lines.recv_timeout(limit) {
            Ok((at, line)) => {
                let value = serde_json::from_str(&line).with_context(|| format!("{} printed {line:?}", self.name))?;
                Ok((at, value))
            }
            Err(RecvTimeoutError::Timeout) => bail!("{} said nothing for {limit:?}{}", self.name, self.last_words()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().context("cannot wait")?;
                bail!("{} ended with {status}{}", self.name, self.last_words())
            }
        }
    }

    /// The next line that is there already.
    pub(super) fn heard(&mut self) -> Result<Option<(Instant, Value)>> {
        match self.lines.try_recv() {
            Ok((at, line)) => {
                let value = serde_json::from_str(&line).with_context(|| format!("{} printed {line:?}", self.name))?;
                Ok(Some((at, value)))
            }
            Err(_) => self.alive().map(|()| None),
        }
    }

    /// Fails when it has ended, with the end of its log.
    pub(super) fn alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot ask for the state of a process")? {
            bail!("{} ended with {status}{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Waits until it ends by itself, which must be a good end, and says when that was.
    pub(super) fn ended(&mut self, limit: Duration) -> Result<Instant> {
        drop(self.input.take());
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().context("cannot ask for the state of a process")? {
                let now = Instant::now();
                ensure!(status.success(), "{} ended with {status}{}", self.name, self.last_words());
                return Ok(now);
            }
            ensure!(Instant::now() < end, "{} has not ended in {limit:?}{}", self.name, self.last_words());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to end, waits, and kills it if it does not.
    pub(super) fn stop(&mut self) {
        drop(self.input.take());
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // One that has ended meanwhile cannot be told to, and need not be.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let end = Instant::now() + END;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn last_words(&self) -> String {
        let log = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n    ");
        if tail.is_empty() { String::new() } else { format!("; its log ends:\n    {tail}") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Asks until the answer is yes; programs of others can only be asked again and again.
pub(super) fn until(limit: Duration, what: &str, mut question: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + limit;
    while !question().with_context(|| format!("waiting for {what}"))? {
        ensure!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
