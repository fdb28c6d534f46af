//! Streams of a server that answers as a test says, read as a test allows.

use super::super::remote::Server;
use super::*;
use crate::site::{Reply, Site};
use base::{Checks, Geometry, Layout, Payload as _};
use tokio::sync::Notify;

/// A file of so many bytes, without digests.
fn plan(total: u64) -> Plan {
    let geometry = Geometry::new(total, 256 << 10, 16 << 10).unwrap();
    Plan::new(geometry, Layout::single("x".into(), total, false), Checks::default())
}

fn remote(site: &Site) -> Arc<Remote> {
    Arc::new(Remote::new(Server::whole(site.url("/x"))))
}

/// How a request for a run of bytes ends.
async fn end(remote: &Arc<Remote>, plan: Plan, run: (u64, u64)) -> Result<(), StreamError> {
    let mut flow = Flow::begin(remote, plan, run, 1 << 30);
    flow.until(u64::MAX).await;
    flow.end.unwrap()
}

/// A stream under way.
struct Flow {
    tap: Tap,
    inbox: Arc<Inbox<Msg>>,
    rung: Arc<Notify>,
    bytes: u64,
    skipped: u64,
    end: Option<Result<(), StreamError>>,
}

impl Flow {
    fn begin(remote: &Arc<Remote>, plan: Plan, (offset, len): (u64, u64), credit: u64) -> Self {
        let rung = Arc::new(Notify::new());
        let ring = rung.clone();
        let inbox = Arc::new(Inbox::new(Arc::new(move || ring.notify_one())));
        let tap = Tap::new(credit);
        let errand = Errand { conn: ConnId(1), offset, len, tap: tap.clone(), inbox: inbox.clone() };
        let web = Arc::new(Web::patient(Default::default()));
        tokio::spawn(run(web, remote.clone(), Arc::new(plan), None, errand));
        Flow { tap, inbox, rung, bytes: 0, skipped: 0, end: None }
    }

    /// Takes what comes until there are so many bytes, or it has ended.
    async fn until(&mut self, bytes: u64) {
        while self.bytes + self.skipped < bytes && self.end.is_none() {
            self.rung.notified().await;
            let mut news = Vec::new();
            self.inbox.take(&mut news);
            for msg in news {
                match msg {
                    Msg::Input(Input::Received { data, .. }) => self.bytes += data.len() as u64,
                    Msg::Input(Input::Skipped { bytes, .. }) => self.skipped += bytes,
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
    let mut flow = Flow::begin(&remote(&site), plan(200_000), (0, 200_000), 1000);
    flow.until(1000).await;
    pass(2 * SILENCE).await;
    flow.tap.open(1 << 20);
    flow.until(u64::MAX).await;
    assert_eq!((flow.bytes, flow.end), (200_000, Some(Ok(()))));
    // It sends no more before an hour has passed.
    let site = Site::open(|_| Reply::whole(&[1; 32 << 10]).slowly(3_600_000));
    let mut flow = Flow::begin(&remote(&site), plan(32 << 10), (0, 32 << 10), 1 << 20);
    flow.until(16 << 10).await;
    tokio::task::yield_now().await;
    pass(2 * SILENCE).await;
    flow.until(u64::MAX).await;
    assert!(matches!(&flow.end, Some(Err(StreamError::Broken { why })) if why.contains("nothing for a while")));
}

#[tokio::test]
async fn what_is_thrown_away_is_little_and_counts() {
    let body = vec![1; 2 << 20];
    let site = Site::open(move |_| Reply::whole(&body));
    let (remote, total) = (remote(&site), 2 << 20);
    let mut flow = Flow::begin(&remote, plan(total), (10_000, 50_000), 4096);
    flow.until(4096).await;
    assert_eq!((flow.skipped, flow.bytes), (4096, 0), "as far as its credit goes");
    flow.tap.open(1 << 20);
    flow.until(u64::MAX).await;
    assert_eq!((flow.skipped, flow.bytes, flow.end), (10_000, 50_000, Some(Ok(()))));
    for offset in [16 << 10, 900 << 10] {
        assert_eq!(end(&remote, plan(total), (offset, 50_000)).await, Err(StreamError::NoRanges), "{offset}");
    }
}

#[tokio::test]
async fn a_wrong_file_says_nothing_of_the_others() {
    let run = (32 << 10, 16 << 10);
    let missing = |end: Result<(), StreamError>, said: &str| match end {
        Err(StreamError::Missing { at, why }) => assert!(at == run.0 && why.contains(said), "{at}: {why}"),
        other => panic!("{other:?}"),
    };
    // Shorter than what is asked for, shorter with and without ranges, and gone.
    for (n, said) in [(20 << 10, "less than 49152"), (60 << 10, "it has 61440 bytes, and 65536 are wanted")] {
        let site = Site::open(move |ask| Reply::ranged(ask, &vec![1; n], None));
        missing(end(&remote(&site), plan(64 << 10), run).await, said);
    }
    let site = Site::open(|_| Reply::whole(&[1; 5]));
    missing(end(&remote(&site), plan(64 << 10), run).await, "it has 5 bytes");
    let site = Site::open(|_| Reply::status(403));
    missing(end(&remote(&site), plan(64 << 10), run).await, "403");
    // It must not be used at all.
    let site = Site::open(|ask| Reply::ranged(ask, &[1; 64 << 10], None).with("Content-Encoding", "br"));
    let wrong = end(&remote(&site), plan(64 << 10), run).await;
    assert!(matches!(wrong, Err(StreamError::Wrong { .. })), "{wrong:?}");
}

#[tokio::test]
async fn servers_behind_one_address_may_have_tags_of_their_own_where_pieces_are_checked() {
    // As it is with several machines behind one that spreads the load.
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let site = Site::open(move |ask| {
        let tag = ["\"a\"", "\"b\""][turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2];
        Reply::ranged(ask, &[1; 64 << 10], Some(tag))
    });
    let (total, run) = (64 << 10, (32 << 10, 16 << 10));
    let pieces = Plan { checks: Checks { sha256: Some(vec![[0; 32]].into()), ..Checks::default() }, ..plan(total) };
    let checked = remote(&site);
    for _ in 0..4 {
        assert_eq!(end(&checked, pieces.clone(), run).await, Ok(()));
    }
    assert!(site.asked().iter().all(|ask| ask.header("if-range").is_none()));
    let of_all = Plan { whole: Some(base::WholeDigest::Sha256([0; 32])), ..plan(total) };
    for plan in [plan(total), of_all] {
        let remote = remote(&site);
        assert_eq!(end(&remote, plan.clone(), run).await, Ok(()));
        let other = end(&remote, plan, run).await;
        assert!(matches!(&other, Err(StreamError::Missing { why, .. }) if why.contains("changed")), "{other:?}");
    }
    let tags: Vec<_> = site.asked()[4..].iter().map(|ask| ask.header("if-range").map(str::to_owned)).collect();
    assert!(tags[0].is_none() && tags[1].is_some() && tags[2].is_none() && tags[3].is_some(), "{tags:?}");
}

#[tokio::test]
async fn who_says_later_is_asked_later() {
    for (status, busy) in [(408, true), (429, true), (502, true), (503, true), (504, true), (500, false)] {
        let site = Site::open(move |_| Reply::status(status).with("Retry-After", "7"));
        let end = end(&remote(&site), plan(64 << 10), (0, 16 << 10)).await;
        assert_eq!(matches!(end, Err(StreamError::Busy { seconds: 7, .. })), busy, "{status}: {end:?}");
        assert!(busy || matches!(end, Err(StreamError::Broken { .. })), "{status}: {end:?}");
    }
}

#[tokio::test]
async fn a_disk_that_is_silent_is_given_up() {
    let (silence, ends) = std::sync::mpsc::channel::<()>();
    let read = patiently(Duration::from_millis(10), move || ends.recv()).await;
    assert!(matches!(read, Err(StreamError::Broken { why }) if why.contains("nothing for a while")));
    drop(silence);
    assert_eq!(patiently(SILENCE, || 5).await, Ok(5));
}
