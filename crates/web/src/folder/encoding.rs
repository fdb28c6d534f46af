//! Compressed forms that lie beside a file, and which of them a client takes (RFC 9110, section 12.5.3).

use crate::accept;
use axum::http::{HeaderMap, header};
use std::path::{Path, PathBuf};

/// A content coding and the extension of its files.
#[derive(Debug, PartialEq)]
pub(super) struct Coding {
    pub(super) name: &'static str,
    pub(super) extension: &'static str,
}

impl Coding {
    /// The file with this form of another.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(self.extension);
        name.into()
    }
}

/// The best first.
pub(super) const CODINGS: &[Coding] = &[
    Coding { name: "zstd", extension: ".zst" },
    Coding { name: "br", extension: ".br" },
    Coding { name: "gzip", extension: ".gz" },
];

/// What `Accept-Encoding` says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted<'a>(Option<&'a str>);

impl<'a> Accepted<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        // A range is of the file itself: whoever asks for one goes on with bytes that have no coding.
        let plain = headers.contains_key(header::RANGE);
        Accepted(headers.get(header::ACCEPT_ENCODING).filter(|_| !plain).and_then(|v| v.to_str().ok()))
    }

    /// A form with this coding may be sent. Which of those that may is ours to choose.
    pub(super) fn allows(self, coding: &Coding) -> bool {
        let Some(list) = self.0 else { return false };
        let mut any = false;
        for one in list.split(',') {
            let (name, taken) = accept::element(one);
            let same = name.eq_ignore_ascii_case(coding.name)
                || (coding.name == "gzip" && name.eq_ignore_ascii_case("x-gzip"));
            if same {
                return taken;
            }
            any |= name == "*" && taken;
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_take() {
        let takes = |text| {
            let accepted = Accepted(Some(text));
            CODINGS.iter().filter(|c| accepted.allows(c)).map(|c| c.name).collect::<Vec<_>>()
        };
        assert_eq!(takes("gzip, deflate, br, zstd"), ["zstd", "br", "gzip"]);
        assert_eq!(takes("GZIP;q=0.5"), ["gzip"]);
        assert_eq!(takes("gzip;q=0, *"), ["zstd", "br"]);
        assert_eq!(takes("*;q=0, br"), ["br"]);
        assert_eq!(takes("identity"), [""; 0]);
        assert!(!Accepted(None).allows(&CODINGS[0]));
    }
}
