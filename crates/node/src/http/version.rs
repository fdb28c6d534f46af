//! What tells one version of what is at a URL from another: its strong entity tag, or when it was changed (RFC 9110 8.8).
//!
//! A URL may lead to another mirror each time, and mirrors make tags of their own, so what was seen is kept for each URL at which it
//! was. Where digests of pieces check what comes, no more is needed: servers behind one address may have tags of their own, and what is
//! wrong is found out piece by piece. Where there is one digest of all, which comes too late to tell who was wrong, each place has to go
//! on with what it had. Where there is none, mirrors must also agree in one of both: nothing else tells whether they have the same.

use base::Plan;
use reqwest::Url;
use reqwest::header::{DATE, ETAG, HeaderMap, LAST_MODIFIED};
use std::time::Duration;

/// A time of change is believed only if it was so long before the answer: what changes twice in a second keeps its time, and
/// clocks differ.
const SETTLED: Duration = Duration::from_secs(60);
/// Longer tags and dates are not kept.
const TEXT_MAX: usize = 512;
/// Answers kept for one server: of as many files, parts and mirrors.
const SEEN_MAX: usize = 4096;
/// Longer URLs are not kept.
const URL_MAX: usize = 2048;

/// What tells whether the right bytes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digests {
    /// One for each piece.
    OfPieces,
    /// One of all of it.
    OfAll,
    /// Nothing.
    None,
}

impl Digests {
    pub(crate) fn of(plan: &Plan) -> Self {
        match plan.checks_pieces() {
            true => Digests::OfPieces,
            false if plan.whole.is_some() => Digests::OfAll,
            false => Digests::None,
        }
    }
}

/// A version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Its strong entity tag.
    pub tag: Option<String>,
    /// When it was changed, as the server writes it.
    pub modified: Option<String>,
    /// When it was changed says enough: it was well before the server answered.
    pub settled: bool,
}

impl Version {
    /// What an answer tells.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text =
            |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim).filter(|v| v.len() <= TEXT_MAX);
        let modified = text(LAST_MODIFIED);
        let date = |text: Option<&str>| httpdate::parse_http_date(text?).ok();
        let settled = date(text(DATE))
            .zip(date(modified))
            .is_some_and(|(said, changed)| said.duration_since(changed).is_ok_and(|before| before >= SETTLED));
        let tag = text(ETAG).filter(|tag| !tag.starts_with("W/"));
        Version { tag: tag.map(str::to_owned), modified: modified.map(str::to_owned), settled }
    }

    /// What tells this version from all others, even from those of other days. None: nothing does.
    pub fn strong(&self) -> Option<&str> {
        self.tag.as_deref().or_else(|| self.modified.as_deref().filter(|_| self.settled))
    }

    /// Is it another one than this, at the same place?
    fn differs(&self, other: &Version) -> bool {
        match (&self.tag, &other.tag) {
            (Some(a), Some(b)) => a != b,
            _ => self.modified.is_some() && other.modified.is_some() && self.modified != other.modified,
        }
    }

    /// Is it another one, as far as it can be compared with one of another place?
    fn differs_elsewhere(&self, other: &Version) -> bool {
        let agrees = |a: &Option<String>, b: &Option<String>| a.as_ref().zip(b.as_ref()).map(|(a, b)| a == b);
        let all = [agrees(&self.tag, &other.tag), agrees(&self.modified, &other.modified)];
        all.contains(&Some(false)) && !all.contains(&Some(true))
    }
}

/// What was seen of the versions that a server has.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<Answer>);

#[derive(Debug)]
struct Answer {
    asked: String,
    /// Where that led, without a query, which may be another one each time.
    at: String,
    /// It led nowhere else.
    direct: bool,
    version: Version,
}

impl Seen {
    /// The entity tag to ask for at this URL: of an answer that came from there itself.
    pub(crate) fn tag(&self, url: &str) -> Option<&str> {
        self.0.iter().find(|a| a.direct && a.asked == url)?.version.tag.as_deref()
    }

    /// Notes what has come for a URL, and from where.
    ///
    /// # Errors
    /// If it is something else than before, in words for people.
    pub(crate) fn note(
        &mut self,
        asked: &str,
        at: &Url,
        version: &Version,
        digests: Digests,
    ) -> Result<(), &'static str> {
        if digests == Digests::OfPieces {
            return Ok(());
        }
        let direct = Url::parse(asked).is_ok_and(|mut asked| {
            asked.set_fragment(None);
            super::client::strip_login(&mut asked);
            let mut at = at.clone();
            at.set_fragment(None);
            super::client::strip_login(&mut at);
            asked == at
        });
        let mut place = at.clone();
        place.set_query(None);
        place.set_fragment(None);
        let mut known = self.0.iter().filter(|a| a.asked == asked);
        if let Some(before) = known.clone().find(|a| a.at == place.as_str()) {
            return if before.version.differs(version) { Err("what it has has changed") } else { Ok(()) };
        }
        if digests == Digests::None && known.any(|a| a.version.differs_elsewhere(version)) {
            return Err(
                "it leads to several servers, which have different versions, and no digest tells which is right",
            );
        }
        if self.0.len() < SEEN_MAX && asked.len() + place.as_str().len() <= URL_MAX {
            let (asked, at) = (asked.to_owned(), place.into());
            self.0.push(Answer { asked, at, direct, version: version.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn version(tag: Option<&str>, modified: Option<&str>) -> Version {
        Version { tag: tag.map(str::to_owned), modified: modified.map(str::to_owned), settled: false }
    }

    #[test]
    fn a_date_tells_versions_apart_only_if_it_is_old_enough() {
        let of = |all: &[(reqwest::header::HeaderName, &'static str)]| {
            let pair = |(k, v): &(reqwest::header::HeaderName, &'static str)| (k.clone(), HeaderValue::from_static(v));
            Version::of(&all.iter().map(pair).collect())
        };
        let changed = (LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT");
        for (date, strong) in [
            ("Sun, 06 Nov 1994 08:50:37 GMT", true),
            ("Sun, 06 Nov 1994 08:50:36 GMT", false),
            ("Sun, 06 Nov 1994 08:49:36 GMT", false),
            ("yesterday", false),
        ] {
            assert_eq!(of(&[changed.clone(), (DATE, date)]).strong(), strong.then_some(changed.1), "{date}");
        }
        assert_eq!(of(std::slice::from_ref(&changed)).strong(), None, "when it was said is not known");
        assert_eq!(of(&[(ETAG, "W/\"1\""), changed.clone()]).strong(), None);
        assert_eq!(of(&[(ETAG, "\"1\""), changed]).strong(), Some("\"1\""));
    }

    #[test]
    fn what_changes_is_seen_and_mirrors_may_have_tags_of_their_own() {
        let (asked, a, b) = ("http://h/x", "http://a/x?sign=1", "http://b/x");
        let url = |text: &str| Url::parse(text).unwrap();
        let (one, two) = (version(Some("\"1\""), Some("then")), version(Some("\"2\""), Some("now")));
        let mut seen = Seen::default();
        for (at, what) in [(a, &one), (b, &two), ("http://a/x?sign=2", &one), (b, &two)] {
            assert_eq!(seen.note(asked, &url(at), what, Digests::OfAll), Ok(()), "{at}");
        }
        assert_eq!(seen.note(asked, &url(a), &two, Digests::OfPieces), Ok(()), "pieces tell");
        assert!(seen.note(asked, &url(a), &two, Digests::OfAll).unwrap_err().contains("changed"));
        assert_eq!(seen.tag(asked), None, "the tag of another URL says nothing of this");
        seen.note(b, &url(b), &two, Digests::OfAll).unwrap();
        assert_eq!(seen.tag(b), Some("\"2\""));
        // Where nothing checks what comes, they must agree.
        let mut seen = Seen::default();
        seen.note(asked, &url(a), &one, Digests::None).unwrap();
        assert!(seen.note(asked, &url(b), &two, Digests::None).unwrap_err().contains("several"));
        assert_eq!(seen.note(asked, &url(b), &version(Some("\"2\""), Some("then")), Digests::None), Ok(()));
        // Without tags, the time tells.
        let mut seen = Seen::default();
        seen.note(asked, &url(asked), &version(None, Some("then")), Digests::None).unwrap();
        assert!(seen.note(asked, &url(asked), &version(None, Some("now")), Digests::None).is_err());
        assert_eq!(seen.note(asked, &url(asked), &version(None, None), Digests::None), Ok(()));
    }
}
