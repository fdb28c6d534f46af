//! Trackers over HTTP: the query strings of announces and scrapes, and the bencoded replies (BEP 3, 7, 23, 24, 31, 48).
//!
//! It is as lenient as the trackers and clients that people run: what is odd counts as absent, and an error is only
//! what leaves nothing to work with. It fetches nothing and parses no URL beyond what it has to change in one.

mod query;
mod reply;
#[cfg(test)]
mod tests;

pub use query::{
    AnnounceRequest, QUERY_BYTES_MAX, QueryError, SCRAPE_HASHES_MAX, announce_url, parse_announce, parse_scrape,
    scrape_url,
};
pub use reply::{
    AnnounceReply, Failure, Peer, PeerList, RESPONSE_BYTES_MAX, Reply, ReplyError, Retry, ScrapeReply,
    parse_announce_reply, parse_scrape_reply, write_announce_reply, write_failure, write_scrape_reply,
};
