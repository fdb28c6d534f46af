//! Bodies on their way through, both ways: neither may stand still, and what goes wrong with a request's is told from what goes wrong behind.

use super::{Guard, ProxyError};
use crate::pace::Pace;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

/// How the body of a request goes.
#[derive(Debug, Default)]
pub(super) struct Fed {
    so_far: AtomicU64,
    waits: AtomicBool,
    trouble: OnceLock<Trouble>,
}

/// What can be wrong with it.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Large,
    Slow,
    Broken,
}

impl Fed {
    /// How much of it was handed on.
    pub(super) fn so_far(&self) -> u64 {
        self.so_far.load(Ordering::Relaxed)
    }

    /// It is the client that is waited for, which is somebody else's to count.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Why it did not come, if it did not.
    pub(super) fn trouble(&self) -> Option<ProxyError> {
        self.trouble.get().map(|trouble| match trouble {
            Trouble::Large => ProxyError::Large,
            Trouble::Slow => ProxyError::Slow,
            Trouble::Broken => ProxyError::Broken,
        })
    }
}

/// The body of a request on its way, within its limits.
pub(super) struct Fetched {
    body: Body,
    fed: Arc<Fed>,
    left: u64,
    pace: Pace,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Fetched {
    pub(super) fn new(body: Body, fed: Arc<Fed>, most: u64, patience: Duration) -> Self {
        Fetched { body, fed, left: most, pace: Pace::new(patience), wait: None }
    }

    fn fail<T>(&self, trouble: Trouble) -> Poll<Option<Result<T, axum::Error>>> {
        let _ = self.fed.trouble.set(trouble);
        Poll::Ready(Some(Err(axum::Error::new(ProxyError::Broken))))
    }
}

impl HttpBody for Fetched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.fed.waits.store(polled.is_pending(), Ordering::Relaxed);
        match polled {
            Poll::Pending => {
                let pace = this.pace;
                let wait = this.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(pace.wait())));
                if wait.as_mut().poll(cx).is_ready() {
                    return this.fail(Trouble::Slow);
                }
                Poll::Pending
            }
            Poll::Ready(Some(Err(_))) => this.fail(Trouble::Broken),
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                let Some(left) = this.left.checked_sub(len as u64) else { return this.fail(Trouble::Large) };
                (this.left, this.wait) = (left, None);
                this.pace.took(len);
                this.fed.so_far.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer on its way: it breaks off where the server says nothing for too long. How long the client takes for what came is not
/// its fault.
pub(super) struct Passed {
    body: Incoming,
    wait: Option<Pin<Box<Sleep>>>,
    patience: Duration,
    _held: (Guard, OwnedSemaphorePermit),
}

impl Passed {
    pub(super) fn new(body: Incoming, patience: Duration, held: (Guard, OwnedSemaphorePermit)) -> Self {
        Passed { body, wait: None, patience, _held: held }
    }
}

impl HttpBody for Passed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let error = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => ProxyError::Answer(error),
            Poll::Ready(frame) => {
                this.wait = None;
                return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
            }
            Poll::Pending => {
                let patience = this.patience;
                let wait = this.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                if wait.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                ProxyError::Silent
            }
        };
        tracing::error!("an answer breaks off: {error}");
        Poll::Ready(Some(Err(axum::Error::new(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
