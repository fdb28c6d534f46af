//! Who answers connections: threads that have each its own, or the runtime that is there.
//!
//! A connection stays where it came to. On a machine with few cores handing requests between threads costs more than it gives, and with
//! one poll a thread nobody waits for another's. A thread gets the next connection if it has the fewest.

use crate::count::{Count, One};
use crate::serve::{Handler, Serving, connection};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Connections on their way to a thread.
const ARRIVING_MAX: usize = 64;
/// Threads of one that may block: for reads from a disk, listings, passwords.
const BLOCKING_MAX: usize = 64;

/// A connection that came, and its place among all.
struct Arrival {
    stream: TcpStream,
    from: SocketAddr,
    place: OwnedSemaphorePermit,
    /// It counts as one of the thread's, however it ends.
    open: One,
}

/// All who answer. They end when this is dropped.
pub(crate) struct Crew(Vec<Member>);

#[derive(Clone)]
struct Member {
    arrivals: mpsc::Sender<Arrival>,
    open: Count,
}

/// Done when all have ended.
pub(crate) struct Ends(Vec<oneshot::Receiver<()>>);

impl Ends {
    pub(crate) async fn wait(self) {
        for end in self.0 {
            // One that is gone has ended, too.
            let _ = end.await;
        }
    }
}

impl Crew {
    /// `threads` of them; none: connections run on the runtime of the caller.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub(crate) fn new<H: Handler>(
        threads: usize,
        serving: &Arc<Serving<H>>,
        stopped: &watch::Receiver<bool>,
    ) -> io::Result<(Self, Ends)> {
        let (mut members, mut ends) = (Vec::new(), Vec::new());
        for number in 0..threads.max(1) {
            let (arrivals, arriving) = mpsc::channel(ARRIVING_MAX);
            let (ending, end) = oneshot::channel();
            let open = Count::default();
            let work = work(arriving, serving.clone(), stopped.clone(), ending);
            match threads {
                0 => drop(tokio::spawn(work)),
                _ => {
                    let mut runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_MAX).build()?;
                    std::thread::Builder::new().name(format!("web-{number}")).spawn(move || {
                        runtime.block_on(work);
                        // What still reads from a disk has nobody left to read for.
                        runtime.shutdown_background();
                    })?;
                }
            }
            members.push(Member { arrivals, open });
            ends.push(end);
        }
        Ok((Crew(members), Ends(ends)))
    }

    /// Hands a connection to whoever has the fewest.
    pub(crate) async fn take(&self, stream: TcpStream, from: SocketAddr, place: OwnedSemaphorePermit) {
        let Some(member) = self.0.iter().min_by_key(|m| m.open.now()) else { return };
        let open = member.open.one();
        // Refused only at the end.
        let _ = member.arrivals.send(Arrival { stream, from, place, open }).await;
    }
}

/// Answers what comes, and at the end ends what is left.
async fn work<H: Handler>(
    mut arriving: mpsc::Receiver<Arrival>,
    serving: Arc<Serving<H>>,
    stopped: watch::Receiver<bool>,
    ending: oneshot::Sender<()>,
) {
    let mut connections = JoinSet::new();
    while let Some(Arrival { stream, from, place, open }) = arriving.recv().await {
        while connections.try_join_next().is_some() {}
        let (serving, stopped) = (serving.clone(), stopped.clone());
        connections.spawn(async move {
            let _counted = (place, open);
            match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => connection(serving, stream, from, stopped).await,
                Err(error) => tracing::warn!("a connection is lost: {error}"),
            }
        });
    }
    // They end with all that works for them.
    connections.shutdown().await;
    let _ = ending.send(());
}
