//! A child process: logged, driven by lines of JSON, and ended when dropped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How long anything here may take before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often other programs are asked how far they are.
const POLL: Duration = Duration::from_millis(50);

/// One running program.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    input: Option<ChildStdin>,
    lines: Option<Receiver<String>>,
}

impl Process {
    /// Starts the command with its output going to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Self> {
        Self::spawn(name, folder, command, false)
    }

    /// Starts the command with its standard input and output as lines for [`Process::say`] and [`Process::hear`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn talk(name: &str, folder: &Path, command: &mut Command) -> Result<Self> {
        Self::spawn(name, folder, command, true)
    }

    fn spawn(name: &str, folder: &Path, command: &mut Command, talk: bool) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stderr(file.try_clone().context("cannot share the log")?).current_dir(folder).env("HOME", folder);
        for variable in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
            command.env(variable, folder);
        }
        if talk {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(file);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        let input = child.stdin.take();
        let lines = child.stdout.take().map(|out| {
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || {
                BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
            receiver
        });
        Ok(Self { child, name: name.to_owned(), log, input, lines })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one line.
    ///
    /// # Errors
    /// When the program no longer listens.
    pub fn say(&mut self, line: &Value) -> Result<()> {
        let input = self.input.as_mut().context("this program was not started to talk")?;
        writeln!(input, "{line}").with_context(|| format!("{} no longer listens", self.name))
    }

    /// Waits for the next line, which must be JSON.
    ///
    /// # Errors
    /// When none comes in time; the error shows the end of the log.
    pub fn hear(&mut self, limit: Duration) -> Result<Value> {
        let lines = self.lines.as_ref().context("this program was not started to talk")?;
        match lines.recv_timeout(limit) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("{} printed {line:?}", self.name)),
            Err(RecvTimeoutError::Timeout) => bail!("{} said nothing for {limit:?}{}", self.name, self.last_words()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().context("cannot wait")?;
                bail!("{} ended with {status}{}", self.name, self.last_words())
            }
        }
    }

    /// Waits for an object whose `event` is this one; others before it are dropped.
    ///
    /// # Errors
    /// When it does not come in time, or an `error` event comes instead.
    pub fn event(&mut self, name: &str, limit: Duration) -> Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let value = self.hear(left).with_context(|| format!("waiting for the event `{name}`"))?;
            if value["event"] == name {
                return Ok(value);
            }
            ensure!(value["event"] != "error", "{}: {value}", self.name);
        }
    }

    /// Has it ended?
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot ask for the state of a process")
    }

    /// Fails when it has ended, with the end of its log.
    ///
    /// # Errors
    /// When it has.
    pub fn alive(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended with {status}{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Kills it at once (SIGKILL) and waits.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends a signal by name.
    ///
    /// # Errors
    /// When `kill` cannot.
    pub fn signal(&self, name: &str) -> Result<()> {
        run(Command::new("kill").args([format!("-{name}"), self.id().to_string()])).map(drop)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn finish(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut end = None;
        until(limit, &format!("the end of {}", self.name), || {
            end = self.child.try_wait().context("cannot ask for the state of a process")?;
            Ok(end.is_some())
        })?;
        end.context("ended without a status")
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(8).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        if tail.is_empty() { String::new() } else { format!("; its log ends:\n    {}", tail.join("\n    ")) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// Runs a command to its end and gives its output; anything but success is an error that shows what it said.
///
/// # Errors
/// When it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let out = output(command)?;
    ensure!(out.status.success(), "{command:?} ended with {}: {}", out.status, text(&out.stderr));
    Ok(text(&out.stdout))
}

/// Runs a command to its end, whatever that is.
///
/// # Errors
/// When it cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Asks again and again until the answer is yes. Errors of the question end it; the time that others need can only be waited for.
///
/// # Errors
/// When the answer is still no after `limit`, or the question fails.
pub fn until(limit: Duration, what: &str, mut question: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + limit;
    while !question().with_context(|| format!("waiting for {what}"))? {
        ensure!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        thread::sleep(POLL);
    }
    Ok(())
}
