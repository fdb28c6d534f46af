//! Sending downloads to mirrors: by where a client is, and when there are too many here.
//!
//! Never pages, never what came with `here` or `download=here` (a mirror that has not got it sends people back so), and only to mirrors that
//! live and have this version: so nobody is sent in a circle.

use super::Site;
use crate::body::{self, Keeper};
use crate::count::One;
use crate::item::Item;
use crate::mirrors;
use crate::promise::Outbox;
use axum::body::Body;
use axum::http::{HeaderMap, Response as HttpResponse, StatusCode, header};
use axum::response::Response;
use std::net::IpAddr;
use std::time::Instant;

/// Who asks, as far as that matters for where it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) from: IpAddr,
    /// It is to be saved.
    pub(super) download: bool,
    /// It wants it from here.
    pub(super) here: bool,
    /// What its connection sends by itself.
    pub(super) outbox: Option<&'a Outbox>,
}

impl Asker<'_> {
    /// It asks whether this is here, and wants nothing done for it if not (RFC 9111, section 5.2.1.7): so origins look at mirrors.
    pub(super) fn only_looks(&self) -> bool {
        let values = self.headers.get_all(header::CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|one| one.trim().eq_ignore_ascii_case("only-if-cached"))
    }
}

impl Site {
    /// Where a download is sent instead, if anywhere.
    pub(super) fn elsewhere(&self, item: &Item, path: Option<&str>, asker: &Asker<'_>) -> Option<Response> {
        let rules = &self.rules;
        if asker.here || rules.redirect_above.is_none() && rules.redirect_networks.is_empty() {
            return None;
        }
        let live = self.registry.of(&item.name, &item.tag, Instant::now()).0;
        let near = rules
            .redirect_networks
            .iter()
            .filter(|(network, _)| network.contains(asker.from))
            .max_by_key(|(network, _)| network.bits())
            .and_then(|(_, base)| live.iter().find(|mirror| mirror.base == *base));
        let full = rules.redirect_above.is_some_and(|most| self.downloads.now() >= most);
        let to = near.or_else(|| live.first().filter(|_| full))?;
        self.registry.sent(&to.base);
        let query = if asker.download { "?download" } else { "" };
        Some(send(&format!("{}{}{query}", to.base, mirrors::path(&item.name, path))))
    }

    /// Counts a download until it ends.
    pub(super) fn counted(&self, response: Response) -> Response {
        let one = self.downloads.one();
        response.map(|body| body::kept(body, one))
    }

    /// Downloads now.
    pub fn downloads(&self) -> usize {
        self.downloads.now()
    }
}

/// It is over there, for now.
pub(super) fn send(to: &str) -> Response {
    let builder = HttpResponse::builder()
        .status(StatusCode::FOUND)
        .header(header::LOCATION, to)
        .header(header::VARY, "accept")
        .header(header::CACHE_CONTROL, "no-store");
    builder.body(Body::empty()).unwrap_or_default()
}

impl Keeper for One {}
