//! A server that keeps what is put, as well or as badly as a test wants it to.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_RANGE, RANGE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// How it behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manners {
    /// PUTs that it answers with this status before it takes any.
    pub(super) refuses: (u32, u16),
    /// Keeps other bytes than it gets.
    pub(super) lies: bool,
    /// Knows no HEAD, and gives everything whatever the range.
    pub(super) simple: bool,
    /// Of what is asked for in ranges, it gives so many answers, and none after them.
    pub(super) falls_silent_after: Option<u32>,
    /// Lets in only this login, as the header has it.
    pub(super) login: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) manners: Manners,
    pub(super) kept: BTreeMap<String, Vec<u8>>,
    pub(super) puts: u32,
    pub(super) ranges: u32,
    /// The requests: method and path with query.
    pub(super) asked: Vec<String>,
}

/// The server, until it is dropped.
pub(super) struct Shelf {
    pub(super) url: String,
    pub(super) state: Arc<Mutex<State>>,
    /// Somebody waits for what it will never say.
    pub(super) silent: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Shelf {
    pub(super) async fn open(manners: Manners) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/d/", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { manners, ..State::default() }));
        let shared = state.clone();
        let silent = Arc::new(Notify::new());
        let quiet = silent.clone();
        let task = tokio::spawn(async move {
            // Connections end with the server.
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, quiet) = (shared.clone(), quiet.clone());
                let service = service_fn(move |request| answer(request, shared.clone(), quiet.clone()));
                open.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Shelf { url, state, silent, task }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().kept.keys().cloned().collect()
    }

    /// Changes the first byte of everything.
    pub(super) fn spoil(&self) {
        self.state.lock().unwrap().kept.values_mut().for_each(|bytes| bytes[0] ^= 1);
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    quiet: Arc<Notify>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let falls_silent = {
        let state = &mut *state.lock().unwrap();
        state.asked.push(format!("{} {}", head.method, head.uri));
        state.ranges += u32::from(head.headers.contains_key(RANGE));
        state.manners.falls_silent_after.is_some_and(|after| state.ranges > after)
    };
    if falls_silent {
        quiet.notify_one();
        std::future::pending::<()>().await;
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let state = &mut *state.lock().unwrap();
    let manners = state.manners;
    let plain = |status: u16| Response::builder().status(status).body(Full::default()).unwrap();
    let given = head.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    if manners.login.is_some_and(|login| given != Some(login)) {
        return Ok(plain(401));
    }
    let name = head.uri.path().to_owned();
    if head.method == Method::PUT {
        state.puts += 1;
        let (left, status) = &mut state.manners.refuses;
        if *left > 0 {
            *left -= 1;
            return Ok(plain(*status));
        }
        let mut bytes = body.to_vec();
        if manners.lies {
            bytes.iter_mut().for_each(|b| *b ^= 1);
        }
        state.kept.insert(name, bytes);
        return Ok(plain(201));
    }
    if manners.simple && head.method == Method::HEAD {
        return Ok(plain(501));
    }
    let Some(kept) = state.kept.get(&name) else { return Ok(plain(404)) };
    let range = head.headers.get(RANGE).filter(|_| !manners.simple).and_then(|v| v.to_str().ok());
    let range = range.and_then(|r| r.strip_prefix("bytes=")?.split_once('-'));
    let response = match range {
        Some((from, to)) => {
            let from: usize = from.parse().unwrap();
            let to = to.parse::<usize>().unwrap().min(kept.len() - 1);
            let range = format!("bytes {from}-{to}/{}", kept.len());
            let body = Full::from(kept[from..=to].to_vec());
            Response::builder().status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, range).body(body)
        }
        None => Response::builder().body(Full::from(kept.clone())),
    };
    Ok(response.unwrap())
}
