//! Streams of a server that answers as a test says, read as a test allows.

use super::super::remote::Server;
use super::*;
use crate::site::{Reply, Site};
use base::{Checks, Geometry, Layout, Payload as _};
use tokio::sync::Notify;

/// A stream under way, of a file of these bytes.
struct Flow {
    tap: Tap,
    inbox: Arc<Inbox<Msg>>,
    rung: Arc<Notify>,
    bytes: u64,
    end: Option<Result<(), StreamError>>,
}

impl Flow {
    fn begin(site: &Site, total: u64, (offset, len): (u64, u64), credit: u64) -> Self {
        let geometry = Geometry::new(total, 256 << 10, 16 << 10).unwrap();
        let plan = Plan::new(geometry, Layout::single("x".into(), total, false), Checks::default());
        let rung = Arc::new(Notify::new());
        let ring = rung.clone();
        let inbox = Arc::new(Inbox::new(Arc::new(move || ring.notify_one())));
        let tap = Tap::new(credit);
        let errand = Errand { conn: ConnId(1), offset, len, tap: tap.clone(), inbox: inbox.clone() };
        let remote = Arc::new(Remote::new(Server::whole(site.url("/x"))));
        tokio::spawn(run(Arc::new(Web::patient(Default::default())), remote, Arc::new(plan), None, errand));
        Flow { tap, inbox, rung, bytes: 0, end: None }
    }

    /// Takes what comes until there are so many bytes, or it has ended.
    async fn until(&mut self, bytes: u64) {
        while self.bytes < bytes && self.end.is_none() {
            self.rung.notified().await;
            let mut news = Vec::new();
            self.inbox.take(&mut news);
            for msg in news {
                match msg {
                    Msg::Input(Input::Received { data, .. }) => self.bytes += data.len() as u64,
                    Msg::Input(Input::StreamEnded { end, .. }) => self.end = Some(end),
                    _ => panic!("something else"),
                }
            }
        }
    }
}

/// Lets time pass at once.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn silence_is_of_the_server_and_not_our_own() {
    let body = vec![1; 200_000];
    let site = Site::open(move |_| Reply::whole(&body));
    let mut flow = Flow::begin(&site, 200_000, (0, 200_000), 1000);
    flow.until(1000).await;
    pass(2 * SILENCE).await;
    flow.tap.open(1 << 20);
    flow.until(u64::MAX).await;
    assert_eq!((flow.bytes, flow.end), (200_000, Some(Ok(()))));
    // It sends no more before an hour has passed.
    let site = Site::open(|_| Reply::whole(&[1; 32 << 10]).slowly(3_600_000));
    let mut flow = Flow::begin(&site, 32 << 10, (0, 32 << 10), 1 << 20);
    flow.until(16 << 10).await;
    tokio::task::yield_now().await;
    pass(2 * SILENCE).await;
    flow.until(u64::MAX).await;
    assert!(matches!(&flow.end, Some(Err(StreamError::Broken { why })) if why.contains("nothing for a while")));
}

#[tokio::test]
async fn a_disk_that_is_silent_is_given_up() {
    let (silence, ends) = std::sync::mpsc::channel::<()>();
    let read = patiently(Duration::from_millis(10), move || ends.recv()).await;
    assert!(matches!(read, Err(StreamError::Broken { why }) if why.contains("nothing for a while")));
    drop(silence);
    assert_eq!(patiently(SILENCE, || 5).await, Ok(5));
}
