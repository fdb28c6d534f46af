//! Who writes where: no two downloads of a node write to the same file, nor one into the folder of another.
//!
//! Two torrents, or a torrent and a file of a server, may have one name. Their bytes would mix in `NAME.part`, and of what has no
//! digests nobody would see it. So a download claims its final name and the names of what it writes to until then, before it
//! looks at any of them, and keeps them as long as it is there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All that is claimed: the path, as links lead to it, and what whoever claims it is called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<BTreeMap<PathBuf, Arc<str>>>>);

/// Paths that nobody else may write to while this is kept.
#[derive(Debug)]
pub struct Claim {
    claims: Claims,
    paths: Vec<PathBuf>,
}

impl Claims {
    /// Claims `end`, and the names beside it that are written to before that. `who` is told to the next who wants them.
    ///
    /// # Errors
    /// In words for people, if one of them, what is in it, or a folder that it is in is claimed.
    pub(crate) fn claim(&self, end: &Path, in_place: bool, who: &str) -> Result<Claim, String> {
        let name = end.file_name().unwrap_or_default();
        let mut paths =
            vec![resolved(end), resolved(&end.with_file_name(joined(&[OsStr::new("."), name, OsStr::new(".parts")])))];
        if !in_place {
            paths.push(resolved(&end.with_file_name(joined(&[name, OsStr::new(".part")]))));
        }
        let all = &mut *self.lock();
        if let Some(other) = paths.iter().find_map(|path| in_the_way(all, path)) {
            return Err(format!(
                "{} is the place of {other}, which this node fetches or has fetched; choose another folder, or get one after the other",
                end.display()
            ));
        }
        let who: Arc<str> = Arc::from(who);
        all.extend(paths.iter().map(|path| (path.clone(), who.clone())));
        Ok(Claim { claims: self.clone(), paths })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let all = &mut *self.claims.lock();
        for path in &self.paths {
            all.remove(path);
        }
    }
}

/// Who has claimed this path, something in it, or a folder that it is in.
fn in_the_way(all: &BTreeMap<PathBuf, Arc<str>>, path: &Path) -> Option<Arc<str>> {
    // Paths are compared name by name, so what is in a folder follows it at once.
    let within = all.range(path.to_owned()..).next().filter(|(other, _)| other.starts_with(path));
    let around = || path.ancestors().find_map(|folder| all.get(folder));
    within.map(|(_, who)| who).or_else(around).cloned()
}

/// Where a path leads, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    for folder in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (folder.canonicalize(), path.strip_prefix(folder)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

fn joined(parts: &[&OsStr]) -> OsString {
    parts.iter().fold(OsString::new(), |mut all, part| {
        all.push(part);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_to_a_place_and_into_it_and_beside_it_as_long_as_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        let claims = Claims::default();
        let claim =
            |path: &str| claims.claim(&at(path), false, "another").map_err(|e| assert!(e.contains("tree"), "{e}"));
        let tree = claims.claim(&at("real/tree"), false, "tree").unwrap();
        for taken in
            ["real/tree", "link/tree", "real", "real/tree/a", "real/tree.part", "real/tree.part/x", "real/.tree.parts"]
        {
            assert!(claim(taken).is_err(), "{taken}");
        }
        let others = ["real/tree2", "real/tre", "tree", "real/tree.txt"].map(|free| claim(free).unwrap());
        drop((tree, others));
        assert!(claims.lock().is_empty());
        drop(claim("real").unwrap());
        // In place, what would be beside it is free.
        let _tree = claims.claim(&at("tree"), true, "tree").unwrap();
        assert!(claims.claim(&at("tree.part"), true, "").is_ok() && claim("tree").is_err());
    }
}
