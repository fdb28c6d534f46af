//! CGI: a process for each request (RFC 3875). Variables come in its environment, the body on its standard input, and what it
//! prints is the answer.
//!
//! Each has a process group of its own. The group ends with its first process, with whoever waits for the answer, and when it
//! says nothing for too long: what a page leaves behind on purpose must leave the group (`setsid`).

use super::output::Output;
use super::variables::Variables;
use super::{Fed, ProgramError, Script, Turn};
use crate::body::part;
use crate::say::printable;
use axum::body::{Body, Bytes};
use bytes::BytesMut;
use futures_util::stream;
use rustix::fd::OwnedFd;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::num::NonZeroI32;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::AbortHandle;

/// Variables that are there only where there is a body (RFC 3875, sections 4.1.2 and 4.1.3).
const OF_BODIES: [&[u8]; 2] = [b"CONTENT_LENGTH", b"CONTENT_TYPE"];
/// Bytes read from a program at once.
const CHUNK: usize = 32 << 10;
/// Time for what a program that has ended left in its pipe.
const LEFT_TIME: Duration = Duration::from_millis(100);
/// Bytes of its complaints that go to the log, for one request.
const COMPLAINTS_MAX: usize = 64 << 10;
/// What a program inherits, besides what it is told of the request.
const INHERITED: [&str; 4] = ["PATH", "LANG", "TZ", "TMPDIR"];

/// How files are run.
#[derive(Debug)]
pub(super) struct Cgi {
    /// None: the file itself.
    program: Option<PathBuf>,
}

impl Cgi {
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        Cgi { program }
    }

    /// Whether there is such a program, and it may be run.
    pub(super) fn look(&self) -> Result<(), String> {
        // Files that run by themselves are looked at when they are asked for.
        let Some(program) = &self.program else { return Ok(()) };
        let runs = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
        if program.components().count() > 1 {
            return match runs(program) {
                true => Ok(()),
                false if program.exists() => {
                    Err(format!("{} is no file that may be run (chmod +x)", program.display()))
                }
                false => Err(format!("there is no {}", program.display())),
            };
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        match std::env::split_paths(&path).any(|folder| runs(&folder.join(program))) {
            true => Ok(()),
            false => Err(format!(
                "there is no program {} in the folders of PATH; install it, or name its path",
                program.display()
            )),
        }
    }

    /// Why it can't be started, with what there is to do where that is not plain.
    fn why(&self, error: &io::Error, script: &Script) -> String {
        match error.kind() {
            io::ErrorKind::PermissionDenied if self.program.is_none() => {
                format!("{error}; it has to be executable (chmod +x)")
            }
            io::ErrorKind::NotFound if self.program.is_none() && script.file.exists() => {
                format!("{error}: what its first line (#!) names")
            }
            _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                format!("{error}; its first line has to name who runs it (#!/bin/sh)")
            }
            _ => error.to_string(),
        }
    }

    pub(super) fn run(
        &self,
        script: &Script,
        variables: &Variables<'_>,
        body: Body,
        patience: Duration,
        turn: Turn,
    ) -> Result<Output, ProgramError> {
        let mut command = match &self.program {
            Some(program) => {
                let mut command = Command::new(program);
                command.arg(&script.file);
                command
            }
            None => Command::new(&script.file),
        };
        command.env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        // Where there is no body, nothing is said of it: what is empty many programs take for a broken number. FastCGI has no such rule, and
        // PHP knows what is empty from other servers.
        let said = variables.iter().filter(|(name, value)| !value.is_empty() || !OF_BODIES.contains(name));
        command.envs(said.map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
        command.current_dir(script.file.parent().unwrap_or(&script.file)).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = || self.program.as_ref().unwrap_or(&script.file).display().to_string();
        let mut child = command.spawn().map_err(|error| ProgramError::Start(what(), self.why(&error, script)))?;
        let missing = || ProgramError::Start(what(), "it has no pipes".into());
        let (stdin, stdout) = (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let fed = turn.fed.clone();
        let mut running = Running::new(child, turn);
        running.tasks = vec![
            tokio::spawn(feed(body, stdin, patience, running.group.clone(), fed)).abort_handle(),
            tokio::spawn(complain(stderr, script.name.clone())).abort_handle(),
        ];
        Ok(Box::pin(stream::unfold(Some((stdout, running)), move |state| async move {
            let (mut stdout, mut running) = state?;
            match running.read(&mut stdout).await {
                Ok(bytes) if bytes.is_empty() => {
                    // It may have closed its output to go on with something else.
                    tokio::spawn(running.finish(patience));
                    None
                }
                Ok(bytes) => Some((Ok(bytes), Some((stdout, running)))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

/// The process groups of all programs under way; None: no more may begin.
static UNDER_WAY: Mutex<Option<BTreeSet<NonZeroI32>>> = Mutex::new(Some(BTreeSet::new()));

fn under_way() -> MutexGuard<'static, Option<BTreeSet<NonZeroI32>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends all programs, and lets none begin: for who ends this process without letting its servers end in order.
pub fn end_programs() {
    // As long as this is held none is waited for, so the numbers are still their own.
    let mut all = under_way();
    for pid in all.take().unwrap_or_default() {
        let _ = Pid::from_raw(pid.get()).map(|pid| kill_process_group(pid, Signal::KILL));
    }
}

/// The processes of a program, until they are killed or gone.
#[derive(Clone, Debug)]
struct Group(Arc<Mutex<Option<Pid>>>);

impl Group {
    fn kill(&self) {
        if let Some(pid) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // The first process was not waited for yet, so the number is still its own. It may have ended already.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// A program under way. Dropping it ends all of its processes.
struct Running {
    group: Group,
    /// Readable once the first process has ended.
    ended: Option<AsyncFd<OwnedFd>>,
    /// It has ended; what it printed is still to be read.
    over: bool,
    tasks: Vec<AbortHandle>,
    _turn: Turn,
    /// Dropped last, when the group is dead: only then is it waited for.
    _child: Child,
}

impl Running {
    fn new(child: Child, turn: Turn) -> Self {
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        let group = Group(Arc::new(Mutex::new(pid)));
        match (&mut *under_way(), pid) {
            (Some(all), Some(pid)) => drop(all.insert(pid.as_raw_nonzero())),
            _ => group.kill(),
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd is what it claims to be for as long as it lives"
        )]
        let ended = pid.and_then(|pid| AsyncFd::new(pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?).ok());
        Running { group, ended, over: false, tasks: Vec::new(), _turn: turn, _child: child }
    }

    /// What it prints next; nothing at the end. What is there when its first process has ended is all: whoever left the group
    /// may hold the pipe for ever.
    async fn read(&mut self, stdout: &mut ChildStdout) -> io::Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(CHUNK);
        if !self.over {
            tokio::select! {
                biased;
                read = stdout.read_buf(&mut bytes) => {
                    read?;
                    return Ok(bytes.freeze());
                }
                () = ended(self.ended.as_ref()) => {}
            }
            self.group.kill();
            self.over = true;
        }
        match tokio::time::timeout(LEFT_TIME, stdout.read_buf(&mut bytes)).await {
            Ok(read) => drop(read?),
            Err(_) => bytes.clear(),
        }
        Ok(bytes.freeze())
    }

    /// Lets it come to its end, for a while.
    async fn finish(self, patience: Duration) {
        if !self.over {
            let _ = tokio::time::timeout(patience, ended(self.ended.as_ref())).await;
        }
    }
}

/// Waits for the end of the first process.
async fn ended(pidfd: Option<&AsyncFd<OwnedFd>>) {
    match pidfd {
        Some(pidfd) => drop(pidfd.readable().await),
        // A kernel that can't tell: the end of its output has to do.
        None => std::future::pending().await,
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.kill();
        self.tasks.iter().for_each(AbortHandle::abort);
        let pid = self.group.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(all), Some(pid)) = (&mut *under_way(), pid) {
            all.remove(&pid.as_raw_nonzero());
        }
    }
}

/// Hands the body on. A program whose request breaks off must not take a part of it for the whole.
async fn feed(mut body: Body, mut stdin: ChildStdin, patience: Duration, group: Group, fed: Fed) {
    loop {
        match tokio::time::timeout(patience, part(&mut body)).await {
            Ok(Ok(Some(bytes))) => {
                // It may read as much of it as it likes.
                if stdin.write_all(&bytes).await.is_err() {
                    return;
                }
                fed.more();
            }
            Ok(Ok(None)) => return,
            Ok(Err(_)) | Err(_) => return group.kill(),
        }
    }
}

/// Writes what it complains about to the log, line by line.
async fn complain(stderr: impl AsyncRead + Unpin, name: String) {
    let mut stderr = tokio::io::BufReader::new(stderr);
    let (mut line, mut said) = (Vec::new(), 0);
    loop {
        line.clear();
        let mut some = (&mut stderr).take(1024);
        match tokio::io::AsyncBufReadExt::read_until(&mut some, b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(n) if said < COMPLAINTS_MAX => {
                said += n;
                tracing::error!("{name}: {}", printable(&line));
            }
            // Read on, or it would wait for somebody to read.
            Ok(_) => {}
        }
    }
}
