//! Pages that programs make: CGI (RFC 3875) for any program, FastCGI for those that stay.
//!
//! Which files are programs is told by their extension. The rest of the path behind the file is the program's
//! (`/a.php/x/y`), and so are query, headers and body. Where nothing has a name and one program has it but for the extension, it is that
//! program's (`/a`, `/a/x/y`). What it prints streams to the client as it comes; a program that
//! says nothing for too long, or rubbish, ends in a 504 or a 502, and its complaints go to the log.
//!
//! Few run at once, and none of them waits for its client: a request takes a place when its body is here, and gives it up when the program
//! has ended, whoever still reads what it said.

mod cgi;
mod fastcgi;
mod output;
mod relay;
mod spool;
mod upload;
mod variables;

use crate::answer;
use crate::beneath::Root;
use crate::folder::Place;
use crate::say::printable;
use axum::body::Body;
use axum::http::{Method, StatusCode, request};
use axum::response::Response;
use cgi::Cgi;
pub use cgi::end_programs;
pub use fastcgi::Address;
use fastcgi::FastCgi;
use output::Output;
use spool::Room;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use upload::Upload;

/// Time that a request waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// Seconds after which who found all programs busy may come again.
const RETRY: u32 = 10;

/// What programs may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramLimits {
    /// Programs at once, CGI and FastCGI together.
    pub running: usize,
    /// Time in which a program must say something, and in which a client must send some of the body it announced.
    pub patience: Duration,
    /// Bytes of a request's body.
    pub body: u64,
}

impl Default for ProgramLimits {
    fn default() -> Self {
        ProgramLimits { running: 64, patience: Duration::from_secs(60), body: 64 << 20 }
    }
}

/// Who runs the files of one extension.
#[derive(Debug)]
enum Runner {
    Cgi(Cgi),
    FastCgi(FastCgi),
}

/// Which files are programs, and who runs them.
#[derive(Debug)]
pub struct Programs {
    runners: BTreeMap<OsString, Arc<Runner>>,
    limits: ProgramLimits,
    turns: Arc<Semaphore>,
    /// What waits for slow clients.
    room: Room,
    root: PathBuf,
    port: Option<u16>,
    extra: variables::Variables<'static>,
}

/// A program that was found in the path of a request.
#[derive(Debug)]
pub(crate) struct Script {
    runner: Arc<Runner>,
    /// The file, absolute.
    file: PathBuf,
    /// Its path in URLs.
    name: String,
    /// What follows it there, decoded; begins with a slash, if there is anything.
    info: Vec<u8>,
}

/// How much of a body was handed on: a program that is still being told is not expected to speak.
#[derive(Clone, Debug, Default)]
struct Fed(Arc<AtomicU64>);

impl Fed {
    fn more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A place among the programs that run.
#[derive(Debug)]
struct Turn {
    _permit: OwnedSemaphorePermit,
    fed: Fed,
}

/// Why there is no answer of a program.
#[derive(Debug, thiserror::Error)]
enum ProgramError {
    #[error("{0} can't be started: {1}")]
    Start(String, String),
    #[error("the FastCGI server at {0} can't be reached: {1}")]
    Connect(Address, std::io::Error),
    #[error("the request's body can't be had: {0}")]
    Body(String),
    #[error("the request's body comes too slowly")]
    Slow,
    #[error("too many bodies wait, or too many programs run")]
    Busy,
    #[error("the request's body can't be kept: {0}")]
    Spool(std::io::Error),
    #[error("the request's body is longer than {0} bytes")]
    Large(u64),
    #[error("{0}")]
    Output(#[from] output::OutputError),
}

impl Programs {
    /// None yet, in the folder `root`.
    ///
    /// # Errors
    /// If the folder has no absolute path.
    pub fn new(root: &Path, limits: ProgramLimits) -> std::io::Result<Self> {
        let turns = Arc::new(Semaphore::new(limits.running.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Programs {
            runners: BTreeMap::new(),
            limits,
            turns,
            room: Room::new(),
            root: root.canonicalize()?,
            port: None,
            extra: variables::Variables::default(),
        })
    }

    /// Runs files with this extension by a program, or by themselves.
    pub fn cgi(&mut self, extension: &str, program: Option<PathBuf>) {
        self.runners.insert(extension.into(), Arc::new(Runner::Cgi(Cgi::new(program))));
    }

    /// Hands files with this extension to a FastCGI server.
    pub fn fastcgi(&mut self, extension: &str, address: Address) {
        self.runners.insert(extension.into(), Arc::new(Runner::FastCgi(FastCgi::new(address))));
    }

    /// Looks whether programs can be run. What may become right later comes back in words: a FastCGI server may start after this one.
    ///
    /// # Errors
    /// If a CGI program is not there, or may not be run, in words for people.
    pub async fn look(&self) -> Result<Vec<String>, String> {
        let mut warnings = Vec::new();
        for (extension, runner) in &self.runners {
            let extension = extension.display();
            match &**runner {
                Runner::Cgi(cgi) => cgi.look().map_err(|why| format!("can't run .{extension} files: {why}"))?,
                Runner::FastCgi(server) => {
                    if let Err(error) = server.look().await {
                        let words = format!(
                            "{}; until it answers, .{extension} files are a 502",
                            ProgramError::Connect(server.address.clone(), error)
                        );
                        warnings.push(words);
                    }
                }
            }
        }
        Ok(warnings)
    }

    /// Tells all programs one more variable.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.extra.set(name.as_bytes().to_vec(), value.as_bytes().to_vec());
    }

    /// Tells them that requests come to this port, whatever clients call it.
    pub fn listens_on(&mut self, port: u16) {
        self.port = Some(port);
    }

    fn runner(&self, name: &[u8]) -> Option<&Arc<Runner>> {
        self.runners.get(Path::new(OsStr::from_bytes(name)).extension()?)
    }

    /// Some name in this path would be a program, were there such a file.
    pub(crate) fn would_run(&self, path: &str) -> bool {
        Place::parse(path).is_some_and(|place| place.names().iter().any(|name| self.runner(name).is_some()))
    }

    /// The program that a path leads to, or that is the index of the folder that it leads to. Blocking, for as long as it takes
    /// to look at a file.
    pub(crate) fn find(&self, root: &Root, place: &Place) -> Option<Script> {
        let is_file = |path: &Path| root.open(path).and_then(|f| f.metadata()).is_ok_and(|m| m.is_file());
        let mut path = PathBuf::new();
        // What is hidden is not looked for. What follows a program is its own, whatever it begins with.
        for (i, name) in place.names().iter().enumerate().take_while(|(i, _)| !place.hides(*i)) {
            path.push(OsStr::from_bytes(name));
            let Some(runner) = self.runner(name).filter(|_| is_file(&path)) else { continue };
            return Some(self.script(runner, &path, &place.names()[..=i], info(place, i)));
        }
        if place.is_folder() && !place.is_hidden() {
            let index = self.runners.iter().find_map(|(extension, runner)| {
                let index = with_extension(OsStr::new("index"), extension);
                let path = place.path().join(&index);
                let names: Vec<_> = place.names().iter().cloned().chain([index.into_encoded_bytes()]).collect();
                is_file(&path).then(|| self.script(runner, &path, &names, Vec::new()))
            });
            if index.is_some() {
                return index;
            }
        }
        self.find_stem(root, place)
    }

    /// The one program that is called as the first name in this path under which nothing lies, but for its extension. Files and
    /// folders go before it.
    fn find_stem(&self, root: &Root, place: &Place) -> Option<Script> {
        let is_missing = |path: &Path| root.open(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if self.runners.is_empty() || !is_missing(place.path()) {
            return None;
        }
        let mut folder = PathBuf::new();
        for (i, name) in place.names().iter().enumerate().take_while(|(i, _)| !place.hides(*i)) {
            let (stem, path) = (OsStr::from_bytes(name), folder.join(OsStr::from_bytes(name)));
            if !is_missing(&path) {
                folder = path;
                continue;
            }
            // A program that is missing is no other one.
            if self.runner(name).is_some() {
                return None;
            }
            let mut all = self.runners.iter().filter_map(|(extension, runner)| {
                let path = folder.join(with_extension(stem, extension));
                root.open(&path).and_then(|f| f.metadata()).is_ok_and(|m| m.is_file()).then_some((runner, path))
            });
            let ((runner, path), None) = (all.next()?, all.next()) else { return None };
            return Some(self.script(runner, &path, &place.names()[..=i], info(place, i)));
        }
        None
    }

    fn script(&self, runner: &Arc<Runner>, path: &Path, names: &[Vec<u8>], info: Vec<u8>) -> Script {
        let name = names.iter().map(|n| format!("/{}", String::from_utf8_lossy(n))).collect();
        Script { runner: runner.clone(), file: self.root.join(path), name, info }
    }

    /// Answers by a program. An answer that only says where to look instead comes back as that place.
    pub(crate) async fn run(
        &self,
        script: Script,
        parts: &request::Parts,
        body: Body,
        from: SocketAddr,
    ) -> Result<Response, String> {
        let result = match self.start(&script, parts, body, from).await {
            Ok((output, fed)) => {
                let (patience, head) = (self.limits.patience, parts.method == Method::HEAD);
                output::respond(&script.name, output, &fed, patience, head, self.room.clone()).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(output::Answer::Response(response)) => Ok(response),
            Ok(output::Answer::Elsewhere(path)) => Err(path),
            Err(error) => {
                if error.status().is_server_error() {
                    tracing::error!("{}: {error}", printable(script.name.as_bytes()));
                }
                Ok(match error {
                    ProgramError::Busy => answer::busy(error.words(), RETRY),
                    _ => answer::refuse(error.status(), error.words()),
                })
            }
        }
    }

    async fn start(
        &self,
        script: &Script,
        parts: &request::Parts,
        body: Body,
        from: SocketAddr,
    ) -> Result<(Output, Fed), ProgramError> {
        let Upload { body, length } = upload::collect(&parts.headers, body, &self.limits, &self.room).await?;
        let permit = tokio::time::timeout(TURN_WAIT, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(ProgramError::Busy) };
        let fed = Fed::default();
        let turn = Turn { _permit: permit, fed: fed.clone() };
        let variables = variables::of(script, &self.root, self.port, parts, from, length, &self.extra);
        let patience = self.limits.patience;
        let output = match &*script.runner {
            Runner::Cgi(cgi) => cgi.run(script, &variables, body, patience, turn)?,
            Runner::FastCgi(server) => server.run(script, &variables, body, patience, turn).await?,
        };
        Ok((output, fed))
    }
}

fn with_extension(stem: &OsStr, extension: &OsStr) -> OsString {
    [stem, OsStr::new("."), extension].into_iter().collect()
}

/// What follows the name `i` of a path.
fn info(place: &Place, i: usize) -> Vec<u8> {
    let mut info: Vec<u8> = place.names()[i + 1..].iter().flat_map(|n| [&b"/"[..], n].concat()).collect();
    if place.is_folder() {
        info.push(b'/');
    }
    info
}

impl ProgramError {
    fn status(&self) -> StatusCode {
        match self {
            ProgramError::Output(output::OutputError::Silent) => StatusCode::GATEWAY_TIMEOUT,
            ProgramError::Body(_) => StatusCode::BAD_REQUEST,
            ProgramError::Slow => StatusCode::REQUEST_TIMEOUT,
            ProgramError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            ProgramError::Large(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ProgramError::Spool(_) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// What strangers learn of it.
    fn words(&self) -> &'static str {
        match self {
            ProgramError::Output(output::OutputError::Silent) => "the program behind this page did not answer in time",
            ProgramError::Body(_) => "the request's body did not arrive",
            ProgramError::Slow => "the request's body comes too slowly",
            ProgramError::Busy => "all programs are busy; try again in a while",
            ProgramError::Large(_) => "the request's body is too long",
            ProgramError::Spool(_) => "there is no room for the request's body",
            _ => "the program behind this page has failed",
        }
    }
}
