//! Where things are: the binary under test, the Python environment, and a folder and addresses for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result, ensure};

/// What one test has for itself. Its folder is removed when the test succeeded, and kept to be read when it failed.
pub struct Place {
    /// An empty folder.
    pub folder: PathBuf,
    number: u8,
    keep: bool,
}

static NEXT: AtomicU8 = AtomicU8::new(1);

impl Place {
    /// A fresh place; the name becomes the folder's.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let folder = target().join("interop/work").join(name.replace(['/', ' ', ','], "-"));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        ensure!(number < 255, "more tests than addresses: widen `Place::address`");
        Ok(Self { folder, number, keep: true })
    }

    /// One of this test's own addresses; `host` tells its programs apart, from 1.
    #[must_use]
    pub fn address(&self, host: u8) -> String {
        format!("10.77.{}.{host}", self.number)
    }

    /// A folder below, made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn sub(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// The test succeeded: nobody needs to read its logs.
    pub fn succeeded(mut self) {
        self.keep = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// The target folder that this test binary was built into.
#[must_use]
pub fn target() -> PathBuf {
    profile().parent().map(Path::to_owned).unwrap_or_default()
}

/// The folder of the profile, which holds the binaries: the test binary lies in its `deps`.
fn profile() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// The `shoal` binary of the same profile.
///
/// # Errors
/// When it was not built.
pub fn shoal() -> Result<PathBuf> {
    let program = profile().join("shoal");
    ensure!(program.is_file(), "{} is missing: `cargo xtask test` builds it first", program.display());
    Ok(program)
}

/// The Python of the environment that `cargo xtask setup` makes.
///
/// # Errors
/// When it is not there.
pub fn python() -> Result<PathBuf> {
    let program = target().join("interop/venv/bin/python");
    ensure!(program.exists(), "{} is missing: run `cargo xtask setup`", program.display());
    Ok(program)
}

/// A file of this package.
#[must_use]
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
