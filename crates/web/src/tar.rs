//! A folder as one deterministic tar stream (POSIX ustar, with pax headers where a name or a size doesn't fit).
//!
//! The plan is made from names and lengths alone: sorted by name, owner 0, time 0, mode 0644 or 0755. So the stream of a
//! torrent's files is the same bytes on every machine and every time, and any range of it can be answered without reading
//! what lies before. Folders have no entries of their own: programs that unpack make them.

use std::ops::Range;

const BLOCK: u64 = 512;
/// Largest size that a ustar header can say: eleven octal digits.
const USTAR_SIZE_MAX: u64 = (1 << 33) - 1;

/// One file of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path in the archive, with `/` between the parts.
    pub(crate) path: String,
    /// Bytes in it.
    pub(crate) len: u64,
    /// May be executed.
    pub(crate) executable: bool,
    /// Which file of the caller it is.
    pub(crate) file: usize,
}

/// Where everything is in the stream.
#[derive(Debug)]
pub(crate) struct Plan {
    entries: Vec<Entry>,
    /// Where the headers of each entry begin.
    starts: Vec<u64>,
    /// Bytes in all, the two empty blocks at the end included.
    len: u64,
}

/// What lies at some place of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes of that file.
    File {
        /// The caller's file.
        file: usize,
        /// Which of its bytes.
        range: Range<u64>,
    },
}

impl Plan {
    /// Plans the stream of these files. None if they come to more than 64 bits can count.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Option<Self> {
        entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        let mut starts = Vec::with_capacity(entries.len());
        let mut at: u64 = 0;
        for entry in &entries {
            starts.push(at);
            at = at.checked_add(headers_len(entry))?.checked_add(padded(entry.len)?)?;
        }
        Some(Plan { entries, starts, len: at.checked_add(2 * BLOCK)? })
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// What lies at `at`: at least one byte and at most `max`, unless `at` is at the end.
    pub(crate) fn part(&self, at: u64, max: u64) -> Part {
        let left = self.len.saturating_sub(at).min(max);
        let zeros = |n: u64| Part::Bytes(vec![0; n.min(left).min(2 * BLOCK) as usize]);
        let index = self.starts.partition_point(|start| *start <= at);
        let Some(entry) = index.checked_sub(1).map(|i| &self.entries[i]) else { return zeros(self.len) };
        let within = at - self.starts[index - 1];
        let head = headers_len(entry);
        if within < head {
            let headers = headers(entry);
            let from = within as usize;
            return Part::Bytes(headers[from..headers.len().min(from.saturating_add(left as usize))].to_vec());
        }
        let within = within - head;
        if within < entry.len {
            return Part::File { file: entry.file, range: within..entry.len.min(within.saturating_add(left)) };
        }
        // The end of the last block of the file, or the end of the stream.
        let next = self.starts.get(index).copied().unwrap_or(self.len);
        zeros(next - at)
    }
}

fn padded(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(BLOCK)
}

/// Bytes of all headers of an entry.
fn headers_len(entry: &Entry) -> u64 {
    match pax(entry) {
        Some(pax) => 2 * BLOCK + (pax.len() as u64).next_multiple_of(BLOCK),
        None => BLOCK,
    }
}

fn headers(entry: &Entry) -> Vec<u8> {
    let mode = if entry.executable { 0o755 } else { 0o644 };
    let mut out = Vec::new();
    let (prefix, name) = match split(&entry.path) {
        Some(both) => both,
        // What a program that knows no pax headers sees.
        None => ("", cut(&entry.path, 100)),
    };
    if let Some(pax) = pax(entry) {
        out.extend(header("", cut(&format!("PaxHeaders/{name}"), 100), pax.len() as u64, 0o644, b'x'));
        out.extend(&pax);
        out.resize(out.len().next_multiple_of(BLOCK as usize), 0);
    }
    out.extend(header(prefix, name, entry.len.min(USTAR_SIZE_MAX), mode, b'0'));
    out
}

/// The extended header, if one is needed.
fn pax(entry: &Entry) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if split(&entry.path).is_none() || !entry.path.is_ascii() {
        out.extend(record("path", &entry.path));
    }
    if entry.len > USTAR_SIZE_MAX {
        out.extend(record("size", &entry.len.to_string()));
    }
    (!out.is_empty()).then_some(out)
}

/// `LENGTH key=value\n`, whose length counts its own digits.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    len = rest + len.to_string().len();
    format!("{len} {key}={value}\n").into_bytes()
}

/// A path as the two fields of ustar have it: up to 155 bytes, and up to 100 behind a slash.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    let fits = |(i, _): &(usize, char)| *i <= 155 && *i > 0 && path.len() - i - 1 <= 100 && path.len() - i > 1;
    path.char_indices().filter(|(_, c)| *c == '/').find(fits).map(|(i, _)| (&path[..i], &path[i + 1..]))
}

/// The beginning of a text, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=text.len().min(max)).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    &text[..end]
}

fn header(prefix: &str, name: &str, len: u64, mode: u32, kind: u8) -> [u8; BLOCK as usize] {
    let mut block = [0u8; BLOCK as usize];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{len:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &str, len: u64, file: usize) -> Entry {
        Entry { path: path.into(), len, executable: file.is_multiple_of(2), file }
    }

    /// The stream from `at`, in steps of at most `step`; file n is made of the byte n.
    fn stream(plan: &Plan, from: u64, step: u64) -> Vec<u8> {
        let (mut at, mut out) = (from, Vec::new());
        while at < plan.len() {
            let bytes = match plan.part(at, step) {
                Part::Bytes(bytes) => bytes,
                Part::File { file, range } => vec![file as u8; (range.end - range.start) as usize],
            };
            assert!(!bytes.is_empty() && bytes.len() as u64 <= step, "{} bytes at {at}", bytes.len());
            at += bytes.len() as u64;
            out.extend(bytes);
        }
        out
    }

    #[test]
    fn the_tar_program_reads_it() {
        let long = format!("t/{}/{}/x.bin", "d".repeat(120), "e".repeat(120));
        let middle = format!("t/{}/{}", "d".repeat(90), "e".repeat(90));
        let entries = vec![
            entry("t/b", 700, 1),
            entry("t/a \u{e9}", 3, 2),
            entry("t/empty", 0, 3),
            entry(&long, 512, 4),
            entry(&middle, 1, 5),
        ];
        let plan = Plan::new(entries).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar");
        std::fs::write(&file, stream(&plan, 0, 1 << 20)).unwrap();
        let status =
            std::process::Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(dir.path()).status().unwrap();
        assert!(status.success());
        for (path, len, byte) in
            [("t/b", 700, 1), ("t/a \u{e9}", 3, 2), ("t/empty", 0, 3), (&*long, 512, 4), (&*middle, 1, 5)]
        {
            assert_eq!(std::fs::read(dir.path().join(path)).unwrap(), vec![byte; len], "{path}");
        }
    }

    #[test]
    fn large_files_and_sums() {
        let plan = Plan::new(vec![entry("t/huge", 1 << 40, 0)]).unwrap();
        let Part::Bytes(head) = plan.part(0, 1 << 20) else { panic!("a header comes first") };
        assert_eq!(head.len(), 1536);
        assert!(head[512..].starts_with(b"22 size=1099511627776\n"));
        assert_eq!(plan.len(), 1536 + (1 << 40) + 1024);
        assert!(Plan::new(vec![entry("a", u64::MAX - 100, 0)]).is_none());
        for (value, len) in [(90, 99), (91, 101), (92, 102)] {
            let record = record("path", &"x".repeat(value));
            assert_eq!(record.len(), len);
            assert!(record.starts_with(format!("{len} path=").as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn every_range_is_the_same_bytes(lens in proptest::collection::vec(0u64..1200, 0..6), from in 0u64..9000, step in 1u64..700) {
            let entries = lens.iter().enumerate().map(|(i, len)| entry(&format!("t/{}{i}", "p".repeat(i * 60)), *len, i)).collect();
            let plan = Plan::new(entries).unwrap();
            let whole = stream(&plan, 0, 1 << 20);
            prop_assert_eq!(whole.len() as u64, plan.len());
            prop_assert_eq!(plan.len() % 512, 0);
            let from = from.min(plan.len());
            prop_assert_eq!(stream(&plan, from, step), &whole[from as usize..]);
        }
    }
}
