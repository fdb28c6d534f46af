//! Announces over HTTP (BEP 3): fetched by the hands, from an address that was judged before, redirects too.

use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, JobId, Scope};
use wire::tracker::AnnounceEvent;
use wire::tracker::http::{Reply, announce_url, parse_announce_reply};

use super::announce::{Refusal, build};
use super::tracker::{Over, canonical};
use super::types::{HttpReply, Output};
use super::{Client, RESOLVE_LIMIT, scope};
use crate::url::Url;

/// Time for a reply.
const REPLY_LIMIT: Duration = Duration::from_secs(60);
/// Redirects followed for one announce.
const REDIRECTS_MAX: u8 = 5;

impl Client {
    /// Fetches the announce of leg `l`.
    pub(super) fn send_http(&mut self, now: Instant, t: usize, l: usize) {
        let tracker = &mut self.trackers[t];
        let leg = &mut tracker.legs[l];
        let Some(event) = leg.flight.as_ref().map(|f| f.event) else { return };
        let announce = build(&self.config, &self.stats, leg, event);
        let Some(flight) = &mut leg.flight else { return };
        let Over::Http { job, url, .. } = &flight.over else { return };
        leg.sent |= event != AnnounceEvent::Stopped;
        flight.deadline = now + REPLY_LIMIT;
        let url = announce_url(url.as_str(), &announce, tracker.tracker_id.as_deref());
        self.outputs.push_back(Output::Fetch { job: *job, url, to: leg.to });
    }

    pub(super) fn on_fetched(&mut self, now: Instant, job: JobId, result: Result<HttpReply, String>) {
        let Some((t, l)) = self.find_job(job) else {
            return self.on_fetched_scrape(job, result);
        };
        let refusal = match result {
            Ok(HttpReply { status: 300..=399, location: Some(location), .. }) => {
                match self.follow(now, t, l, &location) {
                    Ok(()) => return,
                    Err(why) => Refusal::new(why),
                }
            }
            Ok(reply) => match parse_announce_reply(&reply.body) {
                Ok(Reply::Answer(answer)) => return self.succeed(now, t, l, answer),
                Ok(Reply::Failure(failure)) => Refusal::by_tracker(failure),
                // A page that is no answer at all matters less than the status that came with it.
                Err(e) if reply.status == 200 => Refusal::new(e.to_string()),
                Err(_) => Refusal::new(format!("HTTP status {}", reply.status)),
            },
            Err(why) => Refusal::new(why),
        };
        self.fail(now, t, l, refusal);
    }

    fn find_job(&self, job: JobId) -> Option<(usize, usize)> {
        self.trackers.iter().enumerate().find_map(|(t, tracker)| {
            let l = tracker.legs.iter().position(|leg| leg.flight.as_ref().is_some_and(|f| f.over.has_job(job)))?;
            Some((t, l))
        })
    }

    /// Goes where a redirect leads, if that is allowed.
    fn follow(&mut self, now: Instant, t: usize, l: usize, location: &str) -> Result<(), String> {
        let job = self.job();
        let leg = &mut self.trackers[t].legs[l];
        let Some(flight) = &mut leg.flight else { return Ok(()) };
        let Over::Http { url, redirects, .. } = &flight.over else { return Ok(()) };
        let redirects = redirects + 1;
        let to =
            url.redirect(location).ok_or_else(|| format!("redirected to {location:?}, which can't be followed"))?;
        if redirects > REDIRECTS_MAX {
            return Err("redirected too often".to_owned());
        }
        match to.ip() {
            Some(ip) => {
                let addr = SocketAddr::new(ip, to.port);
                self.fetch_redirected(now, t, l, &[addr], to, redirects)
            }
            None => {
                let (host, port) = (to.host.clone(), to.port);
                flight.over = Over::Redirect { job, url: to, redirects };
                flight.deadline = now + RESOLVE_LIMIT;
                self.outputs.push_back(Output::Resolve { job, host, port });
                Ok(())
            }
        }
    }

    pub(super) fn on_redirect_resolved(&mut self, now: Instant, job: JobId, result: Result<Vec<SocketAddr>, String>) {
        let Some((t, l)) = self.find_job(job) else { return };
        let Some(flight) = &self.trackers[t].legs[l].flight else { return };
        let Over::Redirect { url, redirects, .. } = &flight.over else { return };
        let (url, redirects) = (url.clone(), *redirects);
        let done = result.and_then(|found| self.fetch_redirected(now, t, l, &found, url, redirects));
        if let Err(why) = done {
            self.fail(now, t, l, Refusal::new(why));
        }
    }

    /// Fetches what a redirect named from one of `found`. Nobody outside may lead us inside, and inside only a tracker is asked.
    fn fetch_redirected(
        &mut self,
        now: Instant,
        t: usize,
        l: usize,
        found: &[SocketAddr],
        url: Url,
        redirects: u8,
    ) -> Result<(), String> {
        let job = self.job();
        let leg = &mut self.trackers[t].legs[l];
        let from = scope(leg.to);
        let allowed = |a: &SocketAddr| match Scope::of(a.ip()) {
            Some(Scope::Global) => true,
            Some(scope) => from >= scope && url.has_tracker_path(),
            None => false,
        };
        let family = |a: &SocketAddr| a.is_ipv4() == leg.to.is_ipv4();
        let found: Vec<_> = found.iter().map(|a| canonical(*a)).filter(allowed).collect();
        let to = found.iter().find(|a| family(a)).or(found.first()).copied();
        let to = to.ok_or_else(|| format!("redirected to {:?}, whose address may not be contacted", url.host))?;
        let Some(flight) = &mut leg.flight else { return Ok(()) };
        flight.deadline = now + REPLY_LIMIT;
        let text = url.as_str().to_owned();
        flight.over = Over::Http { job, url, redirects };
        self.outputs.push_back(Output::Fetch { job, url: text, to });
        Ok(())
    }
}
