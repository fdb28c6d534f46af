//! Each format of strangers: well-formed examples, the readers of production, and what must hold of what they accept.

mod datagrams;
mod files;
mod peers;
mod trackers;
mod utp;

/// One format.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Well-formed examples, which [`Target::run`] accepts.
    pub examples: fn() -> Vec<Vec<u8>>,
    /// Reads the bytes. Ok and Err both carry a few words about the outcome, in which digits don't count.
    pub run: fn(&[u8]) -> Result<String, String>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "bencode", examples: files::bencode_examples, run: files::bencode },
    Target { name: "metainfo", examples: files::metainfo_examples, run: files::metainfo },
    Target { name: "info", examples: files::info_examples, run: files::info },
    Target { name: "magnet", examples: files::magnet_examples, run: files::magnet },
    Target { name: "metalink", examples: files::metalink_examples, run: files::metalink },
    Target { name: "manifest", examples: files::manifest_examples, run: files::manifest },
    Target { name: "handshake", examples: peers::handshake_examples, run: peers::handshake },
    Target { name: "message", examples: peers::message_examples, run: peers::message },
    Target { name: "extended", examples: peers::extended_examples, run: peers::extended },
    Target { name: "metadata", examples: peers::metadata_examples, run: peers::metadata },
    Target { name: "http-reply", examples: trackers::http_reply_examples, run: trackers::http_reply },
    Target { name: "http-request", examples: trackers::http_request_examples, run: trackers::http_request },
    Target { name: "udp-reply", examples: trackers::udp_reply_examples, run: trackers::udp_reply },
    Target { name: "udp-request", examples: trackers::udp_request_examples, run: trackers::udp_request },
    Target { name: "utp-packet", examples: utp::packet_examples, run: utp::packet },
    Target { name: "krpc", examples: datagrams::krpc_examples, run: datagrams::krpc },
];

/// An error as words.
fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
