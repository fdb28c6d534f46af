//! Who else has what a site shares.

use crate::page::segment;

/// One server with the same content under the same paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The beginning of its links: scheme, host and port, without a slash at the end.
    pub base: String,
    /// 1 is tried first, 999999 last, as is what has none.
    pub priority: Option<u32>,
    /// The country it is in, by its two letters.
    pub location: Option<String>,
}

/// The mirrors of a site that live now, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(pub Vec<Mirror>);

impl Mirrors {
    /// Most of them named in the headers of one answer.
    const IN_HEADERS_MAX: usize = 10;

    /// The values of a `Link` header that name other places of what is at `path` here (RFC 6249).
    pub(crate) fn links(&self, path: &str) -> String {
        let mut links = String::new();
        for mirror in self.0.iter().take(Mirrors::IN_HEADERS_MAX) {
            links.push_str(&format!(", <{}{path}>; rel=duplicate", mirror.base));
            if let Some(priority) = mirror.priority {
                links.push_str(&format!("; pri={priority}"));
            }
            if let Some(location) = &mirror.location {
                links.push_str(&format!("; geo={location}"));
            }
        }
        links
    }
}

/// The link of what is called `item` at the server `base`.
pub fn link(base: &str, item: &str) -> String {
    format!("{base}{}", path(item, None))
}

/// The path of an item's file under any base: of the item itself where `path` is None.
pub(crate) fn path(item: &str, path: Option<&str>) -> String {
    let name = segment(item);
    match path {
        None => format!("/f/{name}"),
        Some(path) => format!("/f/{name}/{}", path.split('/').map(segment).collect::<Vec<_>>().join("/")),
    }
}

/// The web seed (BEP 19) at the server `base` of a torrent that is shared there as `item`: a file's is its link; to a folder's,
/// clients append the name that the torrent has, and the path in it.
pub(crate) fn web_seed(base: &str, item: &str, layout: &base::Layout) -> String {
    match (layout.is_single(), item == layout.name()) {
        (true, _) => link(base, item),
        (false, true) => format!("{base}/f/"),
        (false, false) => format!("{base}/~/seed/{}/", segment(item)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_priority_and_place() {
        let mirror = |base: &str, priority, location: Option<&str>| Mirror {
            base: base.into(),
            priority,
            location: location.map(Into::into),
        };
        let mirrors =
            Mirrors(vec![mirror("http://a.example", Some(1), Some("de")), mirror("https://b.example:1", None, None)]);
        assert_eq!(
            mirrors.links("/f/x"),
            ", <http://a.example/f/x>; rel=duplicate; pri=1; geo=de, <https://b.example:1/f/x>; rel=duplicate"
        );
        assert_eq!(Mirrors::default().links("/f/x"), "");
        assert_eq!(Mirrors(vec![mirror("http://a", None, None); 50]).links("/f/x").matches("duplicate").count(), 10);
        assert_eq!(path("a b", Some("c/d?e")), "/f/a%20b/c/d%3Fe");
    }
}
