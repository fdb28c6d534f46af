//! What was hashed to be shared: while it looks as it did then, a restart need not hash it again.

use super::{StateError, Store};
use sqlx::Row as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Most paths remembered; the oldest ones are forgotten.
const PATHS_MAX: i64 = 20_000;

/// The torrent of something that was shared, and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// How it looked when it was hashed: [`crate::create::Look::fingerprint`].
    pub fingerprint: [u8; 32],
    /// The .torrent.
    pub torrent: Vec<u8>,
    /// SHA-256 of each file, in the order of the torrent without its padding.
    pub digests: Vec<[u8; 32]>,
}

impl Store {
    /// What is remembered of what was shared at `path`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn recall(&self, path: &Path) -> Result<Option<Remembered>, StateError> {
        let query = sqlx::query("SELECT look, torrent, digests FROM shared WHERE path = ?");
        let row = query.bind(path.as_os_str().as_bytes()).fetch_optional(&self.pool).await;
        let Some(row) = row.map_err(|e| self.failed(e))? else { return Ok(None) };
        // What does not make sense counts as not known.
        let (digests, rest) = row.get::<&[u8], _>(2).as_chunks();
        let fingerprint = row.get::<&[u8], _>(0).try_into().ok().filter(|_| rest.is_empty());
        Ok(fingerprint.map(|fingerprint| Remembered { fingerprint, torrent: row.get(1), digests: digests.to_vec() }))
    }

    /// Remembers it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remember(&self, path: &Path, what: &Remembered) -> Result<(), StateError> {
        let query = sqlx::query("REPLACE INTO shared (path, look, torrent, digests) VALUES (?, ?, ?, ?)")
            .bind(path.as_os_str().as_bytes())
            .bind(&what.fingerprint[..])
            .bind(&what.torrent)
            .bind(what.digests.as_flattened());
        query.execute(&self.pool).await.map_err(|e| self.failed(e))?;
        let query = sqlx::query("DELETE FROM shared WHERE rowid <= (SELECT max(rowid) FROM shared) - ?");
        query.bind(PATHS_MAX).execute(&self.pool).await.map(drop).map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::DataDir;

    #[tokio::test]
    async fn what_was_shared_is_remembered_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let store = Store::open(&data).await.unwrap();
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        assert_eq!(store.recall(a).await.unwrap(), None);
        let mut what = Remembered { fingerprint: [1; 32], torrent: vec![2; 100], digests: vec![[3; 32], [4; 32]] };
        store.remember(a, &what).await.unwrap();
        assert_eq!(store.recall(a).await.unwrap(), Some(what.clone()));
        assert_eq!(store.recall(b).await.unwrap(), None);
        what.fingerprint = [5; 32];
        store.remember(a, &what).await.unwrap();
        assert_eq!(store.recall(a).await.unwrap(), Some(what.clone()), "the newest counts");
        sqlx::query("UPDATE shared SET digests = x'00'").execute(&store.pool).await.unwrap();
        assert_eq!(store.recall(a).await.unwrap(), None, "what makes no sense is not known");
        for i in 0..5 {
            store.remember(Path::new(&format!("/{i}")), &what).await.unwrap();
        }
        sqlx::query("UPDATE shared SET rowid = rowid + 30000 WHERE path = x'2f34'").execute(&store.pool).await.unwrap();
        store.remember(b, &what).await.unwrap();
        assert!(store.recall(Path::new("/0")).await.unwrap().is_none(), "the oldest are forgotten");
        assert!(store.recall(b).await.unwrap().is_some() && store.recall(Path::new("/4")).await.unwrap().is_some());
    }
}
