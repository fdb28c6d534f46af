//! Saved state: one SQLite file in the data folder (WAL, so that a kill at any moment leaves it whole).
//!
//! A row for each torrent and place: what it is, where it lies, which pieces are good, which blocks of others are
//! written. Rows are written after the bytes that they speak of, so they never promise too much. What they say of a file
//! is believed only while the file has the size and time of change that were noted when nobody was writing to it, and
//! only if the machine did not restart since (the boot id tells) or the bytes were synced before the row was written;
//! everything else is hashed again.

use crate::disk::Stamp;
use base::{Bitfield, FileIndex, InfoHash, InfoHashes, PieceIndex};
use rustix::fs::FlockOperation;
use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Nodes with the default data folder on one machine at once.
const DEFAULTS_MAX: u32 = 64;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS torrents (
    path BLOB PRIMARY KEY,      -- where the content shall lie in the end
    at BLOB NOT NULL,           -- where it lies now
    v1 BLOB, v2 BLOB,           -- what it is called
    metainfo BLOB,              -- the .torrent
    complete INTEGER NOT NULL,
    good BLOB NOT NULL,         -- a bit for each piece
    partial BLOB NOT NULL,      -- for each piece begun: index, number of blocks, a bit for each block
    stamps BLOB NOT NULL,       -- for each file: index, size, time of change; none while it is written to
    synced INTEGER NOT NULL,    -- what is good had reached the medium
    boot TEXT NOT NULL          -- the boot of the machine in which this was written
) STRICT;
";

/// What can go wrong with the state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder can't be made or used.
    #[error("can't use the data folder {0}: {1}")]
    Folder(PathBuf, std::io::Error),
    /// Another node uses it.
    #[error("another node uses the data folder {0}; choose another one with --data-dir")]
    Locked(PathBuf),
    /// The database can't be read or written.
    #[error("can't use the state in {0}: {1}")]
    Database(PathBuf, sqlx::Error),
}

/// A data folder that is ours while this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes `path`, which is made if it is not there.
    ///
    /// # Errors
    /// If it can't be used, or another node does.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |e| StateError::Folder(path.to_owned(), e);
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataDir { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Locked(path.to_owned())),
            Err(e) => Err(failed(e.into())),
        }
    }

    /// Takes the platform's data folder; where another node has it, a numbered one inside: two commands in two
    /// terminals are two nodes.
    ///
    /// # Errors
    /// If there is no such folder or it can't be used.
    pub fn open_default() -> Result<Self, StateError> {
        let base = default_data_dir();
        let numbered = (2..=DEFAULTS_MAX).map(|i| base.join(format!("node-{i}")));
        let mut last = StateError::Locked(base.clone());
        for path in std::iter::once(base.clone()).chain(numbered) {
            match DataDir::open(&path) {
                Err(e @ StateError::Locked(_)) => last = e,
                other => return other,
            }
        }
        Err(last)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The platform's data folder for us.
pub fn default_data_dir() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|h| h.join(".local/share")))
        .unwrap_or_else(std::env::temp_dir)
        .join("shoal")
}

/// What tells one boot of the machine from another.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// What it is called.
    pub hashes: InfoHashes,
    /// The .torrent, if it is known.
    pub metainfo: Option<Vec<u8>>,
    /// Where it lies now.
    pub at: PathBuf,
    /// All that was wanted is there.
    pub complete: bool,
    /// Good pieces.
    pub good: Bitfield,
    /// Blocks written of others.
    pub partial: Vec<(PieceIndex, Bitfield)>,
    /// What the files looked like when this was written, if nobody was writing to them.
    pub stamps: Vec<(FileIndex, Stamp)>,
    /// What is good had reached the medium.
    pub synced: bool,
    /// The boot in which it was written.
    pub boot: String,
}

/// The state of one node.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    path: PathBuf,
}

impl Store {
    /// Opens the state in a data folder.
    ///
    /// # Errors
    /// If the database can't be opened.
    pub async fn open(dir: &DataDir) -> Result<Self, StateError> {
        let path = dir.path().join("state.sqlite");
        let failed = |e| StateError::Database(path.clone(), e);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed)?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await.map_err(failed)?;
        Ok(Store { pool, path })
    }

    /// What is known of the content that shall lie at `path` in the end.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn load(&self, path: &Path) -> Result<Option<Saved>, StateError> {
        let row = sqlx::query("SELECT * FROM torrents WHERE path = ?").bind(path.as_os_str().as_bytes());
        let row = row.fetch_optional(&self.pool).await.map_err(|e| self.failed(e))?;
        Ok(row.as_ref().map(read_row))
    }

    /// All that is known, by the final path.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn load_all(&self) -> Result<Vec<(PathBuf, Saved)>, StateError> {
        let rows = sqlx::query("SELECT * FROM torrents ORDER BY path")
            .fetch_all(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(rows.iter().map(|r| (path_of(r, "path"), read_row(r))).collect())
    }

    /// Writes rows, in one transaction. Each speaks of bytes that were written before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn save(&self, rows: &[(PathBuf, Saved)]) -> Result<(), StateError> {
        let mut transaction = self.pool.begin().await.map_err(|e| self.failed(e))?;
        for (path, s) in rows {
            let query = sqlx::query("INSERT OR REPLACE INTO torrents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                .bind(path.as_os_str().as_bytes())
                .bind(s.at.as_os_str().as_bytes())
                .bind(s.hashes.v1.map(|h| h.0.to_vec()))
                .bind(s.hashes.v2.map(|h| h.to_vec()))
                .bind(s.metainfo.as_deref())
                .bind(s.complete)
                .bind(bits(&s.good))
                .bind(
                    s.partial
                        .iter()
                        .flat_map(|(p, b)| [p.0.to_le_bytes().to_vec(), bits(b)].concat())
                        .collect::<Vec<u8>>(),
                )
                .bind(s.stamps.iter().flat_map(stamp_bytes).collect::<Vec<u8>>())
                .bind(s.synced)
                .bind(&s.boot);
            query.execute(&mut *transaction).await.map_err(|e| self.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.failed(e))
    }

    /// Forgets what lies at `path`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete(&self, path: &Path) -> Result<(), StateError> {
        let query = sqlx::query("DELETE FROM torrents WHERE path = ?").bind(path.as_os_str().as_bytes());
        query.execute(&self.pool).await.map(|_| ()).map_err(|e| self.failed(e))
    }

    /// Closes the database in order.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn failed(&self, e: sqlx::Error) -> StateError {
        StateError::Database(self.path.clone(), e)
    }
}

fn path_of(row: &SqliteRow, column: &str) -> PathBuf {
    OsString::from_vec(row.get::<Vec<u8>, _>(column)).into()
}

/// Reads a row. What does not make sense counts as not known: it is hashed again.
fn read_row(row: &SqliteRow) -> Saved {
    let hash = |column| row.get::<Option<Vec<u8>>, _>(column);
    let mut good = &row.get::<Vec<u8>, _>("good")[..];
    let mut partial_bytes = &row.get::<Vec<u8>, _>("partial")[..];
    let mut partial = Vec::new();
    while let Some(piece) = take(&mut partial_bytes).map(u32::from_le_bytes) {
        match read_bits(&mut partial_bytes) {
            Some(blocks) => partial.push((PieceIndex(piece), blocks)),
            None => break,
        }
    }
    Saved {
        hashes: InfoHashes {
            v1: hash("v1").and_then(|h| h.try_into().ok()).map(InfoHash),
            v2: hash("v2").and_then(|h| h.try_into().ok()),
        },
        metainfo: row.get("metainfo"),
        at: path_of(row, "at"),
        complete: row.get("complete"),
        good: read_bits(&mut good).unwrap_or_default(),
        partial,
        stamps: read_stamps(&row.get::<Vec<u8>, _>("stamps")),
        synced: row.get("synced"),
        boot: row.get("boot"),
    }
}

fn bits(b: &Bitfield) -> Vec<u8> {
    [&b.len().to_le_bytes()[..], b.as_bytes()].concat()
}

fn read_bits(bytes: &mut &[u8]) -> Option<Bitfield> {
    let len = u32::from_le_bytes(take(bytes)?);
    let (bits, rest) = bytes.split_at_checked((len as usize).div_ceil(8))?;
    *bytes = rest;
    Bitfield::from_bytes(bits, len)
}

fn stamp_bytes((file, stamp): &(FileIndex, Stamp)) -> Vec<u8> {
    [&file.0.to_le_bytes()[..], &stamp.size.to_le_bytes(), &stamp.mtime_ns.to_le_bytes()].concat()
}

fn read_stamps(mut bytes: &[u8]) -> Vec<(FileIndex, Stamp)> {
    let mut next = || {
        let file = FileIndex(u32::from_le_bytes(take(&mut bytes)?));
        let stamp =
            Stamp { size: u64::from_le_bytes(take(&mut bytes)?), mtime_ns: i64::from_le_bytes(take(&mut bytes)?) };
        Some((file, stamp))
    };
    std::iter::from_fn(&mut next).collect()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_come_back_and_survive_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(StateError::Locked(_))));
        let store = Store::open(&data).await.unwrap();
        let mut good = Bitfield::new(11);
        good.set(3);
        let saved = Saved {
            hashes: InfoHashes { v1: Some(InfoHash([7; 20])), v2: Some([9; 32]) },
            metainfo: Some(vec![1, 2]),
            at: OsString::from_vec(b"/a/\xff.part".to_vec()).into(),
            complete: false,
            good,
            partial: vec![(PieceIndex(5), Bitfield::full(9)), (PieceIndex(6), Bitfield::new(3))],
            stamps: vec![(FileIndex(2), Stamp { size: 1 << 40, mtime_ns: -5 })],
            synced: true,
            boot: "b".into(),
        };
        let path = Path::new("/a/x");
        assert_eq!(store.load(path).await.unwrap(), None);
        store.save(&[(path.to_owned(), saved.clone()), (PathBuf::from("/a/y"), Saved::default())]).await.unwrap();
        // Not closed: as after a kill.
        std::mem::forget(store);
        drop(data);
        let data = DataDir::open(dir.path()).unwrap();
        let store = Store::open(&data).await.unwrap();
        assert_eq!(store.load(path).await.unwrap(), Some(saved.clone()));
        let all = store.load_all().await.unwrap();
        assert_eq!(all, [(path.to_owned(), saved), (PathBuf::from("/a/y"), Saved::default())]);
        store.delete(path).await.unwrap();
        assert_eq!(store.load(path).await.unwrap(), None);
        store.close().await;
    }
}
