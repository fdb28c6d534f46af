//! Who may come in: names and passwords (Basic, RFC 7617) against argon2 hashes in a file.
//!
//! The file is looked at with every request, so that whoever leaves it is out at once. A check is made to cost time and memory, so
//! few run side by side and few wait; a pair that was right is remembered by a keyed digest for as long as the file says the same.
//! The password goes no further than this: programs and other servers are told the name.

mod users;

use crate::answer::{busy, refuse};
use crate::serve::Handler;
use crate::stamp::Stamp;
use axum::extract::Request;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::Semaphore;
pub use users::{AuthError, password_line};
use users::{FILE_MAX, NAME_MAX, PASSWORD_MAX, Pair, Users};

/// Passwords that are checked at once.
const CHECKING_MAX: usize = 2;
/// Requests that wait for such a check, in all and of one address: guesses must not keep all others out.
const WAITING_MAX: usize = 256;
const WAITING_OF_ONE_MAX: usize = 16;
/// Seconds after which who found no room may come again.
const RETRY: u32 = 1;
/// What browsers ask for a name with.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Shoal\", charset=\"UTF-8\"");

/// Whose request it is: in the extensions of a request for programs, of a response for the log.
#[derive(Clone, Debug)]
pub(crate) struct User(pub(crate) Arc<str>);

/// The names and passwords of a file.
#[derive(Clone, Debug)]
pub struct Auth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Draws digests that nobody else can.
    key: [u8; 32],
    state: Mutex<State>,
    turns: Arc<Semaphore>,
    waiting: Mutex<BTreeMap<IpAddr, usize>>,
}

#[derive(Debug)]
struct State {
    users: Arc<Users>,
    /// The file when it was last read, if its next change will show. None: it is to be read again.
    seen: Option<Stamp>,
    /// What was said of it last: nothing is said twice.
    said: String,
}

enum Verdict {
    Known(Arc<str>),
    Unknown,
    Busy,
}

impl Auth {
    /// Reads the file. Blocking.
    ///
    /// # Errors
    /// If it can't be read, has a wrong line, or names nobody.
    pub fn open(path: &Path) -> Result<Self, AuthError> {
        let (users, seen) = read(path)?;
        let mut key = [0; 32];
        // Without this there is nothing that others could not know.
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty()).map_err(std::io::Error::from)?;
        Ok(Auth(Arc::new(Inner {
            path: path.to_owned(),
            key,
            state: Mutex::new(State { users: Arc::new(users), seen, said: String::new() }),
            turns: Arc::new(Semaphore::new(CHECKING_MAX)),
            waiting: Mutex::default(),
        })))
    }

    async fn judge(&self, headers: &HeaderMap, from: IpAddr) -> Verdict {
        let Some((name, password)) = credentials(headers) else { return Verdict::Unknown };
        let users = self.0.users();
        let pair = self.0.pair(&name, &password);
        if users.knows(&pair) {
            return Verdict::Known(name.into());
        }
        let Some(place) = Waiting::new(&self.0, from) else { return Verdict::Busy };
        let Ok(turn) = self.0.turns.clone().acquire_owned().await else { return Verdict::Busy };
        // A browser asks for all parts of a page at once: the first has been checked meanwhile.
        if users.knows(&pair) {
            return Verdict::Known(name.into());
        }
        // Who goes away leaves the work behind; it keeps its turn until it is done.
        let check = tokio::task::spawn_blocking(move || {
            let right = users.check(&name, &password);
            if right {
                users.remember(pair);
            }
            drop((turn, place));
            right.then_some(name)
        });
        match check.await {
            Ok(Some(name)) => Verdict::Known(name.into()),
            Ok(None) => Verdict::Unknown,
            Err(_) => Verdict::Busy,
        }
    }
}

impl Inner {
    /// Who may come in now. A file that has become wrong counts as it was before.
    fn users(&self) -> Arc<Users> {
        let mut state = lock(&self.state);
        let now = std::fs::metadata(&self.path).ok().map(|m| Stamp::of(&m));
        if now.is_some() && now == state.seen {
            return state.users.clone();
        }
        match read_changed(&self.path, &state.users) {
            Ok((changed, seen)) => {
                if let Some(users) = changed {
                    tracing::info!("{} was read anew", self.path.display());
                    state.users = Arc::new(users);
                }
                state.seen = seen;
                state.said.clear();
            }
            Err(error) => {
                let text = error.to_string();
                if state.said != text {
                    tracing::error!("{}: {text}; what it said before goes on to count", self.path.display());
                    state.said = text;
                }
            }
        }
        state.users.clone()
    }

    fn pair(&self, name: &str, password: &[u8]) -> Pair {
        let digest = Sha256::new_with_prefix(self.key).chain_update((name.len() as u64).to_be_bytes());
        digest.chain_update(name).chain_update(password).finalize().into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> Result<(Users, Option<Stamp>), AuthError> {
    let (text, seen) = text(path)?;
    Ok((Users::parse(text)?, seen))
}

/// The same; without users where the file says what it said.
fn read_changed(path: &Path, before: &Users) -> Result<(Option<Users>, Option<Stamp>), AuthError> {
    let (text, seen) = text(path)?;
    let changed = if before.is(&text) { None } else { Some(Users::parse(text)?) };
    Ok((changed, seen))
}

/// What the file says, and its stamp if that will tell of the next change.
fn text(path: &Path) -> Result<(Vec<u8>, Option<Stamp>), AuthError> {
    let mut file = File::open(path)?;
    let (stamp, now) = (Stamp::of(&file.metadata()?), SystemTime::now());
    let mut text = Vec::new();
    file.by_ref().take(FILE_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(AuthError::Large);
    }
    Ok((text, Some(stamp).filter(|s| s.is_settled(now))))
}

/// A request that waits for its check.
struct Waiting {
    inner: Arc<Inner>,
    from: IpAddr,
}

impl Waiting {
    /// None: too many wait.
    fn new(inner: &Arc<Inner>, from: IpAddr) -> Option<Self> {
        let from = network(from);
        let mut waiting = lock(&inner.waiting);
        let (all, mine) = (waiting.values().sum::<usize>(), waiting.get(&from).copied().unwrap_or(0));
        if all >= WAITING_MAX || mine >= WAITING_OF_ONE_MAX {
            return None;
        }
        waiting.insert(from, mine + 1);
        Some(Waiting { inner: inner.clone(), from })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = lock(&self.inner.waiting);
        match waiting.get_mut(&self.from) {
            Some(n) if *n > 1 => *n -= 1,
            _ => drop(waiting.remove(&self.from)),
        }
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip => ip,
    }
}

/// The name and the password of a request; None: it has none that can be meant.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (first, None) = (all.next()?, all.next()) else { return None };
    let (scheme, rest) = first.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || rest.len() > 2 * (NAME_MAX + PASSWORD_MAX) {
        return None;
    }
    let mut pair = BASE64_STANDARD.decode(rest.trim()).ok()?;
    let colon = pair.iter().position(|b| *b == b':').filter(|at| (1..=NAME_MAX).contains(at))?;
    let password = pair.split_off(colon + 1);
    pair.pop();
    let name = String::from_utf8(pair).ok()?;
    (password.len() <= PASSWORD_MAX).then_some((name, password))
}

/// A site that lets in only who is named.
#[derive(Debug)]
pub struct Guarded<H> {
    /// What is behind.
    pub handler: H,
    /// Who may come in. None: everybody.
    pub auth: Option<Auth>,
}

impl<H: Handler> Handler for Guarded<H> {
    async fn answer(&self, mut request: Request, from: SocketAddr) -> Response {
        let Some(auth) = &self.auth else { return self.handler.answer(request, from).await };
        match Box::pin(auth.judge(request.headers(), from.ip())).await {
            Verdict::Known(name) => {
                let user = User(name);
                // RFC 3875, section 4.1.18: what was judged here is not for programs.
                request.headers_mut().remove(header::AUTHORIZATION);
                request.extensions_mut().insert(user.clone());
                let mut response = self.handler.answer(request, from).await;
                response.extensions_mut().insert(user);
                response
            }
            Verdict::Unknown => {
                let mut response = refuse(StatusCode::UNAUTHORIZED, "this needs a name and its password");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
                response
            }
            Verdict::Busy => busy("too many passwords are being checked; try again in a while", RETRY),
        }
    }
}

#[cfg(test)]
mod tests;
