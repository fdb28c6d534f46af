//! A page on its way from a program to a client. What the client does not take yet waits here, so that the program comes to its end and
//! its place is another's: some of it in memory, more in a file. Only of a page that is longer than both the program waits for the client.

use super::output::Output;
use super::spool::{Refused, Room, Spool};
use crate::say::printable;
use axum::body::{Body, Bytes};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Bytes of a page that is sent in one piece, if it is there at once.
const AT_ONCE_MAX: usize = 64 << 10;
/// Parts of a page that wait in memory.
const PARTS_MAX: usize = 2;
/// Bytes of a page that wait in a file.
const IN_FILE_MAX: u64 = 64 << 20;

/// A page that begins with `first`. It is `said` to have so many bytes, or nothing is said.
pub(super) fn page(
    name: &str,
    mut first: Vec<u8>,
    mut output: Output,
    said: Option<u64>,
    patience: Duration,
    room: Room,
) -> Body {
    // Most pages are here as soon as their headers are: they need nobody who waits for them.
    while first.len() < AT_ONCE_MAX {
        match output.next().now_or_never() {
            Some(Some(Ok(bytes))) => first.extend_from_slice(&bytes),
            Some(None) if said.is_none_or(|said| said == first.len() as u64) => return Body::from(first),
            Some(Some(Err(error))) => {
                output = Box::pin(stream::iter([Err(error)]));
                break;
            }
            Some(None) => {
                output = Box::pin(stream::empty());
                break;
            }
            None => break,
        }
    }
    relayed(name, first, output, patience, room)
}

/// The same, where it is not known how long it is, or where that is not what was said.
fn relayed(name: &str, first: Vec<u8>, output: Output, patience: Duration, room: Room) -> Body {
    let (parts, taken) = mpsc::channel(PARTS_MAX);
    if !first.is_empty() {
        let _ = parts.try_send(Ok(first.into()));
    }
    tokio::spawn(Pump { name: name.to_owned(), parts, spool: Spool::new(room), patience }.run(output));
    Body::from_stream(stream::unfold(taken, async |mut taken| Some((taken.recv().await?, taken))))
}

/// Takes a page from its program as fast as it comes, and gives it to the client as fast as it goes.
struct Pump {
    name: String,
    parts: mpsc::Sender<io::Result<Bytes>>,
    spool: Spool,
    patience: Duration,
}

impl Pump {
    async fn run(mut self, output: Output) {
        // The program ends, and gives up its place, when this is dropped.
        let mut output = Some(output);
        // What found no room, and what went wrong.
        let (mut waiting, mut end) = (None, Ok(()));
        let mut silent_at = Instant::now() + self.patience;
        let parts = self.parts.clone();
        while output.is_some() || waiting.is_some() || self.spool.len() > 0 {
            let listens = waiting.is_none() && self.spool.size() < IN_FILE_MAX;
            tokio::select! {
                biased;
                place = parts.reserve(), if waiting.is_some() || self.spool.len() > 0 => {
                    let Ok(place) = place else { return };
                    place.send(match self.spool.len() {
                        0 => waiting.take().map_or_else(|| Ok(Bytes::new()), Ok),
                        _ => self.spool.take().await,
                    });
                    if !listens {
                        // It was not asked.
                        silent_at = Instant::now() + self.patience;
                    }
                }
                next = next(&mut output, silent_at), if output.is_some() && listens => {
                    silent_at = Instant::now() + self.patience;
                    match next {
                        Ok(Some(bytes)) => match self.pass(bytes).await {
                            Ok(left) => waiting = left,
                            Err(error) => (output, end) = (None, Err(error)),
                        },
                        Ok(None) => output = None,
                        Err(error) => (output, end) = (None, Err(error)),
                    }
                }
                // Nobody wants it any more.
                () = parts.closed() => return,
            }
        }
        if let Err(error) = end {
            breaks_off(&self.name, &error);
            let _ = parts.send(Err(error)).await;
        }
    }

    /// Gives bytes to the client, or lets them wait. What there is no room for comes back.
    async fn pass(&mut self, bytes: Bytes) -> io::Result<Option<Bytes>> {
        let bytes = match self.spool.len() {
            0 => match self.parts.try_send(Ok(bytes)) {
                Err(mpsc::error::TrySendError::Full(Ok(bytes))) => bytes,
                _ => return Ok(None),
            },
            _ => bytes,
        };
        match self.spool.put(bytes).await {
            Ok(()) => Ok(None),
            Err(Refused::Full(bytes)) => Ok(Some(bytes)),
            Err(Refused::Broken(error)) => Err(error),
        }
    }
}

fn breaks_off(name: &str, error: &io::Error) {
    tracing::error!("{}: its page breaks off: {error}", printable(name.as_bytes()));
}

/// What the program prints next; None at its end.
async fn next(output: &mut Option<Output>, silent_at: Instant) -> io::Result<Option<Bytes>> {
    let Some(output) = output else { return std::future::pending().await };
    match tokio::time::timeout_at(silent_at, output.next()).await {
        Ok(next) => next.transpose(),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it said nothing for too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::part;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A program that prints so many parts of 10,000 bytes, and notes in `left` how many it did not.
    fn program(parts: usize, left: &Arc<AtomicUsize>) -> Output {
        left.store(parts, Ordering::Relaxed);
        let left = left.clone();
        Box::pin(stream::unfold(0, move |n| {
            let left = left.clone();
            async move {
                // A real one is never there at once.
                tokio::task::yield_now().await;
                left.store(parts - n, Ordering::Relaxed);
                (n < parts).then(|| (Ok(Bytes::from(vec![n as u8; 10_000])), n + 1))
            }
        }))
    }

    async fn read(mut body: Body) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(bytes) = part(&mut body).await.map_err(io::Error::other)? {
            all.extend(bytes);
        }
        Ok(all)
    }

    /// Until nobody can go on: a paused clock moves only then.
    async fn settled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_does_not_wait_for_its_client() {
        let left = Arc::default();
        let wanted: Vec<u8> =
            [b"head".to_vec()].into_iter().chain((0..50).map(|n| vec![n; 10_000])).flatten().collect();
        let body = page("a", b"head".to_vec(), program(50, &left), None, PATIENCE, Room::of(1 << 20));
        settled().await;
        assert_eq!(left.load(Ordering::Relaxed), 0, "it came to its end, though nobody reads");
        assert!(read(body).await.unwrap() == wanted);
        // Where there is no more room, it waits.
        let body = page("a", b"head".to_vec(), program(50, &left), None, PATIENCE, Room::of(100 << 10));
        settled().await;
        assert!((1..50).contains(&left.load(Ordering::Relaxed)));
        assert!(read(body).await.unwrap() == wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn pages_that_break_off() {
        let words = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
        let silent: Output = Box::pin(words("half").chain(stream::pending()));
        assert!(read(page("a", vec![], silent, None, PATIENCE, Room::new())).await.is_err());
        let broken: Output = Box::pin(words("half").chain(stream::iter([Err(io::Error::other("x"))])));
        assert!(read(page("a", vec![], broken, None, PATIENCE, Room::new())).await.is_err());
        // How long it is is known only where it is what was said.
        for (said, exact) in [(None, Some(4)), (Some(4), Some(4)), (Some(5), None), (Some(3), None)] {
            let body = page("a", vec![], Box::pin(words("half")), said, PATIENCE, Room::new());
            assert_eq!(http_body::Body::size_hint(&body).exact(), exact, "{said:?}");
            assert_eq!(read(body).await.unwrap(), b"half");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_ends_the_program() {
        let alive = Arc::new(());
        let held = alive.clone();
        let output: Output = Box::pin(stream::pending::<()>().map(move |()| {
            let _ = &held;
            Ok(Bytes::new())
        }));
        let body = page("a", vec![1], output, None, PATIENCE, Room::new());
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(body);
        settled().await;
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
