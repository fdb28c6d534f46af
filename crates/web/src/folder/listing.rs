//! What is in a folder: a page for people, JSON for programs.

use super::path::{Place, segment};
use super::{STYLE, Trouble};
use crate::accept;
use crate::answer;
use crate::beneath::Root;
use crate::beside::Shares;
use crate::date;
use askama::Template;
use axum::http::{header, request};
use axum::response::Response;
use base::size;
use rustix::fs::{AtFlags, Dir, FileType, statat};
use serde::Serialize;
use std::cmp::Reverse;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Entries that a listing shows. Further ones are counted.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
    /// Of files.
    bytes: Option<u64>,
    modified: String,
    href: String,
    #[serde(skip)]
    at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Folder,
    File,
}

#[derive(Serialize)]
struct Listing<'a> {
    path: &'a str,
    entries: &'a [Entry],
    /// Entries that are not shown.
    more: usize,
}

#[derive(Template)]
#[template(path = "listing.html")]
struct Page<'a> {
    style: &'a str,
    title: &'a str,
    crumbs: Vec<(String, String)>,
    columns: Vec<Column>,
    rows: Vec<Row<'a>>,
    files: usize,
    folders: usize,
    bytes: String,
    more: usize,
    up: bool,
    /// There is more under `/f/`.
    shares: bool,
}

/// Sorts by it. A button, since who copies a site follows its links, and would have each listing once for each order.
struct Column {
    label: &'static str,
    sort: String,
    mark: &'static str,
    number: bool,
}

struct Row<'a> {
    entry: &'a Entry,
    size: String,
    date: String,
    folder: bool,
}

/// Answers with what is in the open `folder`, which is `place`.
pub(super) fn answer(root: &Root, place: &Place, folder: &File, parts: &request::Parts) -> Result<Response, Trouble> {
    let (mut entries, more) = read(root, place, folder)?;
    let order = Order::of(parts.uri.query().unwrap_or_default());
    order.sort(&mut entries);
    let title = title(place);
    if order.json || wants_json(parts) {
        return Ok(answer::listing_json(&Listing { path: &title, entries: &entries, more }));
    }
    let files = entries.iter().filter(|e| e.kind == Kind::File);
    let page = Page {
        style: STYLE,
        title: &title,
        crumbs: crumbs(place),
        columns: order.columns(),
        files: files.clone().count(),
        folders: entries.iter().filter(|e| e.kind == Kind::Folder).count(),
        bytes: size::bytes(files.filter_map(|e| e.bytes).sum()),
        rows: entries.iter().map(row).collect(),
        more,
        up: !place.names().is_empty(),
        shares: parts.extensions.get::<Shares>().is_some(),
    };
    Ok(answer::page_with_forms(page.render()))
}

fn row(entry: &Entry) -> Row<'_> {
    Row {
        size: entry.bytes.map(size::bytes).unwrap_or_default(),
        date: entry.modified.get(..16).unwrap_or_default().replace('T', " "),
        folder: entry.kind == Kind::Folder,
        entry,
    }
}

fn read(root: &Root, place: &Place, folder: &File) -> Result<(Vec<Entry>, usize), Trouble> {
    let (mut entries, mut more) = (Vec::new(), 0);
    for entry in Dir::read_from(folder).map_err(std::io::Error::from)? {
        let entry = entry.map_err(std::io::Error::from)?;
        let name = entry.file_name().to_bytes();
        if name.first().is_none_or(|b| *b == b'.') {
            continue;
        }
        // One that has gone meanwhile, or leads out, is not there.
        let Ok(mut stat) = statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let path = place.path().join(Path::new(std::ffi::OsStr::from_bytes(name)));
            match root.open(&path).and_then(|f| rustix::fs::fstat(f).map_err(Into::into)) {
                Ok(target) => stat = target,
                Err(_) => continue,
            }
        }
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Folder,
            FileType::RegularFile => Kind::File,
            _ => continue,
        };
        if entries.len() == ENTRIES_MAX {
            more += 1;
            continue;
        }
        let slash = if kind == Kind::Folder { "/" } else { "" };
        entries.push(Entry {
            name: String::from_utf8_lossy(name).into_owned(),
            kind,
            bytes: (kind == Kind::File).then_some(stat.st_size as u64),
            modified: date::iso(stat.st_mtime),
            // A name with a colon would be taken for a scheme.
            href: format!("./{}{slash}", segment(name)),
            at: stat.st_mtime,
        });
    }
    Ok((entries, more))
}

fn title(place: &Place) -> String {
    let names = place.names().iter().map(|n| String::from_utf8_lossy(n).into_owned() + "/");
    std::iter::once("/".to_owned()).chain(names).collect()
}

/// The folders above, and this one.
fn crumbs(place: &Place) -> Vec<(String, String)> {
    let mut href = String::from("/");
    let mut crumbs = vec![("/".to_owned(), href.clone())];
    for name in place.names() {
        href += &segment(name);
        href.push('/');
        crumbs.push((String::from_utf8_lossy(name).into_owned(), href.clone()));
    }
    crumbs
}

fn wants_json(parts: &request::Parts) -> bool {
    let accepts = parts.headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    accepts.flat_map(|a| a.split(',')).any(|one| accept::element(one) == ("application/json", true))
}

/// What `?sort=...&order=...&format=...` asks for; `sort=-size` is short for both.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    by: By,
    down: bool,
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum By {
    #[default]
    Name,
    Size,
    Time,
}

impl Order {
    fn of(query: &str) -> Self {
        let mut order = Order::default();
        for pair in query.split('&') {
            match pair {
                "sort=size" => order.by = By::Size,
                "sort=time" => order.by = By::Time,
                "sort=-name" => order.down = true,
                "sort=-size" => (order.by, order.down) = (By::Size, true),
                "sort=-time" => (order.by, order.down) = (By::Time, true),
                "order=desc" => order.down = true,
                "format=json" => order.json = true,
                _ => {}
            }
        }
        order
    }

    /// Folders first, whatever the order.
    fn sort(self, entries: &mut [Entry]) {
        entries.sort_by_cached_key(|e| (e.kind, e.name.to_lowercase(), e.name.clone()));
        match (self.by, self.down) {
            (By::Name, false) => {}
            (By::Name, true) => {
                entries.sort_by_cached_key(|e| (e.kind, Reverse((e.name.to_lowercase(), e.name.clone()))))
            }
            (By::Size, false) => entries.sort_by_key(|e| (e.kind, e.bytes)),
            (By::Size, true) => entries.sort_by_key(|e| (e.kind, Reverse(e.bytes))),
            (By::Time, false) => entries.sort_by_key(|e| (e.kind, e.at)),
            (By::Time, true) => entries.sort_by_key(|e| (e.kind, Reverse(e.at))),
        }
    }

    fn columns(self) -> Vec<Column> {
        let column = |by, label, key, number| {
            let here = self.by == by;
            let (mark, next) = match (here, self.down) {
                (true, false) => (" \u{2191}", "-"),
                (true, true) => (" \u{2193}", ""),
                (false, _) => ("", ""),
            };
            Column { label, sort: format!("{next}{key}"), mark, number }
        };
        vec![
            column(By::Name, "Name", "name", false),
            column(By::Size, "Size", "size", true),
            column(By::Time, "Changed (UTC)", "time", true),
        ]
    }
}
