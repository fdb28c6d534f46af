//! Saved state: one SQLite file in the data folder (WAL, so that a kill at any moment leaves it whole).
//!
//! A row for each torrent and place: what it is, where it lies, which pieces are good, which blocks of others are
//! written. Rows are written after the bytes that they speak of, so they never promise too much. What they say of a file
//! is believed only while the file has the size and time of change that were noted when nobody was writing to it, and
//! only if the machine did not restart since (the boot id tells) or the bytes were synced before the row was written;
//! everything else is hashed again.

mod shared;

pub use shared::Remembered;

use crate::disk::Stamp;
use base::{Bitfield, FileIndex, InfoHash, InfoHashes, PieceIndex};
use rustix::fs::FlockOperation;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Nodes with the default data folder on one machine at once.
const DEFAULTS_MAX: u32 = 64;

/// What every connection begins with. Until the switch to WAL is made nothing is synced: there is nothing to lose yet, and
/// a new node need not wait for a slow disk. From then on the log's checksums keep the file whole, and NORMAL syncs before
/// each checkpoint. What a power loss may leave of a file that was just made, [`remove_blank`] knows.
const SETUP: &str = "
PRAGMA synchronous = OFF;
PRAGMA journal_mode = WAL;
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
CREATE TABLE IF NOT EXISTS shared (
    path BLOB PRIMARY KEY,      -- what was shared
    look BLOB NOT NULL,         -- the fingerprint of how it looked when it was hashed
    torrent BLOB NOT NULL,      -- its .torrent
    digests BLOB NOT NULL       -- the SHA-256 of each file
) STRICT;
PRAGMA synchronous = NORMAL;
";

/// What can go wrong with the state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder can't be made or used.
    #[error("can't use the data folder {0}: {1}")]
    Folder(PathBuf, std::io::Error),
    /// Another node uses it.
    #[error(
        "another shoal, which still runs, uses the data folder {0}; end that, or choose another folder with --data-dir"
    )]
    Locked(PathBuf),
    /// The database can't be read or written.
    #[error("can't use the state in {0}: {1}")]
    Database(PathBuf, sqlx::Error),
}

/// A file that one process at a time holds, until this is dropped, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the file `path`, which is made if it is not there. None: somebody has it.
    ///
    /// # Errors
    /// If it can't be made or locked.
    pub fn take(path: &Path) -> std::io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// A data folder that is ours while this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Lock,
}

impl DataDir {
    /// Takes `path`, which is made if it is not there.
    ///
    /// # Errors
    /// If it can't be used, or another node does.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |e| StateError::Folder(path.to_owned(), e);
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock = Lock::take(&path.join("lock")).map_err(failed)?;
        let lock = lock.ok_or_else(|| StateError::Locked(path.to_owned()))?;
        Ok(DataDir { path: path.to_owned(), _lock: lock })
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
    /// Which .torrent is kept with it.
    pub metainfo: Glimpse,
}

/// A row to write, and the .torrent to keep with it, by the path where the content shall lie in the end.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where the content shall lie in the end.
    pub path: PathBuf,
    /// What is known of it.
    pub saved: Saved,
    /// Its .torrent. None: the one that is kept stays, if it is of this torrent.
    pub metainfo: Option<Vec<u8>>,
}

/// Enough of a .torrent to see whether it is another one, without reading all of it: its length, and where everything but
/// the info dictionary is, which the hashes stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glimpse {
    len: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// Bytes of a glimpse at each end.
const GLIMPSE: usize = 1024;

impl Glimpse {
    /// Of this .torrent.
    pub fn of(metainfo: &[u8]) -> Self {
        let n = metainfo.len();
        let (head, tail) = (metainfo[..n.min(GLIMPSE)].to_vec(), metainfo[n.saturating_sub(GLIMPSE)..].to_vec());
        Glimpse { len: n as u64, head, tail }
    }
}

/// Columns of a [`Saved`], in the order of [`read_row`]; a [`Glimpse`] follows.
const COLUMNS: &str = "path, at, v1, v2, complete, good, partial, stamps, synced, boot, length(metainfo)";

/// Rows that are written or asked for in one statement; SQLite takes 32,766 values.
const ROWS_MAX: usize = 1024;

/// Memory that the database keeps of its pages, in KiB: rows are read once and written rarely.
const CACHE_KIB: u32 = 256;

/// The state of one node.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    path: PathBuf,
    #[cfg(test)]
    pub(crate) statements: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Store {
    /// Opens the state in a data folder.
    ///
    /// # Errors
    /// If the database can't be opened.
    pub fn open(dir: &DataDir) -> impl Future<Output = Result<Self, StateError>> + Send + use<> {
        let folder = dir.path().to_owned();
        async move {
            let path = folder.join("state.sqlite");
            remove_blank(&path).map_err(|e| StateError::Folder(folder, e))?;
            let options = SqliteConnectOptions::new()
                .filename(&path)
                .create_if_missing(true)
                .pragma("cache_size", format!("-{CACHE_KIB}"));
            let pool = SqlitePoolOptions::new()
                .max_connections(1)
                .after_connect(|connection, _| {
                    Box::pin(async { sqlx::raw_sql(SETUP).execute(connection).await.map(drop) })
                })
                .connect_with(options)
                .await
                .map_err(|e| StateError::Database(path.clone(), e))?;
            Ok(Store {
                pool,
                path,
                #[cfg(test)]
                statements: Default::default(),
            })
        }
    }

    /// What is known of the content that shall lie at these paths in the end.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn load(&self, paths: &[PathBuf]) -> Result<HashMap<PathBuf, Saved>, StateError> {
        let mut found = HashMap::with_capacity(paths.len());
        for paths in paths.chunks(ROWS_MAX) {
            let marks = vec!["?"; paths.len()].join(",");
            let text = format!(
                "SELECT {COLUMNS}, substr(metainfo, 1, {GLIMPSE}), substr(metainfo, max(1, length(metainfo) - {GLIMPSE} + 1))
                FROM torrents WHERE path IN ({marks})"
            );
            let query = paths.iter().fold(sqlx::query(AssertSqlSafe(text)), |q, p| q.bind(p.as_os_str().as_bytes()));
            self.count();
            // A statement of so many marks is not worth keeping.
            let rows = query.persistent(false).fetch_all(&self.pool).await.map_err(|e| self.failed(e))?;
            found.extend(rows.iter().map(|r| (path_of(r, 0), read_row(r))));
        }
        Ok(found)
    }

    /// The .torrent kept for the content that shall lie at `path`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn metainfo(&self, path: &Path) -> Result<Option<Vec<u8>>, StateError> {
        self.count();
        let query = sqlx::query("SELECT metainfo FROM torrents WHERE path = ?").bind(path.as_os_str().as_bytes());
        let row = query.fetch_optional(&self.pool).await.map_err(|e| self.failed(e))?;
        Ok(row.and_then(|row| row.get(0)))
    }

    /// Writes rows, in one transaction. Each speaks of bytes that were written before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn save(&self, rows: &[Row]) -> Result<(), StateError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut connection = self.pool.acquire().await.map_err(|e| self.failed(e))?;
        // A statement is a transaction by itself; to begin and end one takes two more ways to SQLite's thread.
        if rows.len() <= ROWS_MAX {
            return self.write(&mut connection, rows).await;
        }
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        for rows in rows.chunks(ROWS_MAX) {
            self.write(&mut transaction, rows).await?;
        }
        transaction.commit().await.map_err(|e| self.failed(e))
    }

    async fn write(&self, connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), StateError> {
        let marks = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows.len()].join(",");
        let text = format!(
            "INSERT INTO torrents (path, at, v1, v2, metainfo, complete, good, partial, stamps, synced, boot)
            VALUES {marks} ON CONFLICT (path) DO UPDATE SET
                metainfo = CASE WHEN excluded.metainfo IS NULL AND v1 IS excluded.v1 AND v2 IS excluded.v2
                    THEN metainfo ELSE excluded.metainfo END,
                at = excluded.at, v1 = excluded.v1, v2 = excluded.v2, complete = excluded.complete,
                good = excluded.good, partial = excluded.partial, stamps = excluded.stamps,
                synced = excluded.synced, boot = excluded.boot"
        );
        let query = rows.iter().fold(sqlx::query(AssertSqlSafe(text)), |query, Row { path, saved: s, metainfo }| {
            let partial: Vec<u8> =
                s.partial.iter().flat_map(|(p, b)| [p.0.to_le_bytes().to_vec(), bits(b)].concat()).collect();
            query
                .bind(path.as_os_str().as_bytes())
                .bind(s.at.as_os_str().as_bytes())
                .bind(s.hashes.v1.map(|h| h.0.to_vec()))
                .bind(s.hashes.v2.map(|h| h.to_vec()))
                .bind(metainfo.as_deref())
                .bind(s.complete)
                .bind(bits(&s.good))
                .bind(partial)
                .bind(s.stamps.iter().flat_map(stamp_bytes).collect::<Vec<u8>>())
                .bind(s.synced)
                .bind(&s.boot)
        });
        self.count();
        // The progress of one is written again and again; a statement of so many marks is not worth keeping.
        let query = query.persistent(rows.len() == 1);
        query.execute(connection).await.map(drop).map_err(|e| self.failed(e))
    }

    /// Forgets what lies at `path`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete(&self, path: &Path) -> Result<(), StateError> {
        self.count();
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

    #[cfg(test)]
    fn count(&self) {
        self.statements.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "as in tests")]
    const fn count(&self) {}
}

/// A power loss soon after the file was made may leave it long enough but blank: nothing was in it, and it is made again.
fn remove_blank(path: &Path) -> std::io::Result<()> {
    let mut head = [0; 16];
    let blank = match File::open(path) {
        Ok(mut file) => file.read_exact(&mut head).is_ok() && head == [0; 16],
        Err(_) => false,
    };
    if blank { std::fs::remove_file(path) } else { Ok(()) }
}

fn path_of(row: &SqliteRow, column: usize) -> PathBuf {
    OsString::from_vec(row.get::<Vec<u8>, _>(column)).into()
}

/// Reads a row of [`COLUMNS`]. What does not make sense counts as not known: it is hashed again.
fn read_row(row: &SqliteRow) -> Saved {
    let hash = |column| row.get::<Option<&[u8]>, usize>(column);
    let mut good: &[u8] = row.get(5);
    let mut partial_bytes: &[u8] = row.get(6);
    let mut partial = Vec::new();
    while let Some(piece) = take(&mut partial_bytes).map(u32::from_le_bytes) {
        match read_bits(&mut partial_bytes) {
            Some(blocks) => partial.push((PieceIndex(piece), blocks)),
            None => break,
        }
    }
    let bytes = |column| row.get::<Option<Vec<u8>>, usize>(column).unwrap_or_default();
    Saved {
        hashes: InfoHashes {
            v1: hash(2).and_then(|h| h.try_into().ok()).map(InfoHash),
            v2: hash(3).and_then(|h| h.try_into().ok()),
        },
        at: path_of(row, 1),
        complete: row.get(4),
        good: read_bits(&mut good).unwrap_or_default(),
        partial,
        stamps: read_stamps(row.get(7)),
        synced: row.get(8),
        boot: row.get(9),
        metainfo: Glimpse {
            len: row.get::<Option<i64>, _>(10).and_then(|n| n.try_into().ok()).unwrap_or(0),
            head: bytes(11),
            tail: bytes(12),
        },
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
            at: OsString::from_vec(b"/a/\xff.part".to_vec()).into(),
            complete: false,
            good,
            partial: vec![(PieceIndex(5), Bitfield::full(9)), (PieceIndex(6), Bitfield::new(3))],
            stamps: vec![(FileIndex(2), Stamp { size: 1 << 40, mtime_ns: -5 })],
            synced: true,
            boot: "b".into(),
            metainfo: Glimpse::of(&[1, 2]),
        };
        let path = PathBuf::from("/a/x");
        let paths = [path.clone(), PathBuf::from("/a/y"), PathBuf::from("/a/z")];
        assert!(store.load(&paths).await.unwrap().is_empty());
        let row = Row { path: path.clone(), saved: saved.clone(), metainfo: Some(vec![1, 2]) };
        let other = Row { path: paths[1].clone(), saved: Saved::default(), metainfo: None };
        store.save(&[row.clone(), other]).await.unwrap();
        // Not closed: as after a kill.
        std::mem::forget(store);
        drop(data);
        let data = DataDir::open(dir.path()).unwrap();
        let store = Store::open(&data).await.unwrap();
        let found = store.load(&paths).await.unwrap();
        assert_eq!((found.len(), &found[&path], &found[&paths[1]]), (2, &saved, &Saved::default()));
        // The .torrent stays as long as it is of this torrent.
        store.save(&[Row { metainfo: None, ..row.clone() }]).await.unwrap();
        assert_eq!(store.metainfo(&path).await.unwrap(), Some(vec![1, 2]));
        let hashes = InfoHashes { v1: Some(InfoHash([8; 20])), v2: None };
        store.save(&[Row { metainfo: None, saved: Saved { hashes, ..saved }, ..row }]).await.unwrap();
        assert_eq!(store.metainfo(&path).await.unwrap(), None);
        store.delete(&path).await.unwrap();
        assert_eq!(store.load(&paths).await.unwrap().len(), 1);
        store.close().await;
    }

    #[tokio::test]
    async fn thousands_of_rows_take_a_few_statements() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(dir.path()).unwrap()).await.unwrap();
        let count = 2 * ROWS_MAX + 1;
        let saved = |i: usize| Saved { at: format!("/at/{i}").into(), ..Saved::default() };
        let row = |i| Row { path: format!("/{i}").into(), saved: saved(i), metainfo: None };
        store.save(&(0..count).map(row).collect::<Vec<_>>()).await.unwrap();
        let paths: Vec<PathBuf> = (0..count).map(|i| format!("/{i}").into()).collect();
        let found = store.load(&paths).await.unwrap();
        assert_eq!(store.statements.load(std::sync::atomic::Ordering::Relaxed), 6);
        assert!((0..count).all(|i| found[&paths[i]] == saved(i)));
        let none = vec![0; 5000];
        assert_eq!(Glimpse::of(&none), Glimpse::of(&none.clone()));
        assert_ne!(Glimpse::of(&none), Glimpse::of(&none[1..]));
    }

    #[tokio::test]
    async fn a_file_that_a_power_loss_left_blank_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let (file, path) = (dir.path().join("state.sqlite"), [PathBuf::from("/a/x")]);
        let row = [Row { path: path[0].clone(), saved: Saved::default(), metainfo: None }];
        let store = Store::open(&data).await.unwrap();
        store.save(&row).await.unwrap();
        std::mem::forget(store);
        // Its length has reached the medium, its content has not; the log beside it stands for nothing now.
        std::fs::write(&file, [0; 4096]).unwrap();
        let dir2 = tempfile::tempdir().unwrap();
        for name in ["state.sqlite", "state.sqlite-wal"] {
            std::fs::copy(dir.path().join(name), dir2.path().join(name)).unwrap();
        }
        let data = DataDir::open(dir2.path()).unwrap();
        let store = Store::open(&data).await.unwrap();
        assert!(store.load(&path).await.unwrap().is_empty());
        store.save(&row).await.unwrap();
        assert_eq!(store.load(&path).await.unwrap().len(), 1);
        store.close().await;
        // What is something else is left alone.
        let file = dir2.path().join("state.sqlite");
        std::fs::write(&file, [b'x'; 4096]).unwrap();
        assert!(matches!(Store::open(&data).await, Err(StateError::Database(..))));
        assert_eq!(std::fs::read(&file).unwrap(), [b'x'; 4096]);
    }
}
