//! What tests need beyond Rust: other clients, servers, databases and a browser, and two Python libraries in an environment of their own.
//!
//! The only task that uses the network. It looks first, so that it is quick and silent when all is there. As root on a Debian it installs
//! what is missing; elsewhere it says what that is and fails, since a test that is skipped in silence is no test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::run;

/// The program that has to be found, or the file (where a name may be left open with a star), and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("transmission-daemon", "transmission-daemon"),
    ("transmission-create", "transmission-cli"),
    ("transmission-show", "transmission-cli"),
    ("aria2c", "aria2"),
    ("rtorrent", "rtorrent"),
    ("qbittorrent-nox", "qbittorrent-nox"),
    ("mktorrent", "mktorrent"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("strace", "strace"),
    ("mount", "mount"),
    ("curl", "curl"),
    ("wget", "wget"),
    ("nginx", "nginx-light"),
    ("php-cgi", "php-cgi"),
    ("php-fpm8.2", "php-fpm"),
    ("perl", "perl"),
    ("python3", "python3"),
    ("chromedriver", "chromium-driver"),
    ("/usr/lib/postgresql/*/bin/initdb", "postgresql"),
    ("mariadbd", "mariadb-server-core"),
    ("my_print_defaults", "mariadb-client-core"),
    ("/usr/lib/php/*/pdo_sqlite.so", "php-sqlite3"),
    ("/usr/lib/php/*/pdo_pgsql.so", "php-pgsql"),
    ("/usr/lib/php/*/pdo_mysql.so", "php-mysql"),
    ("/usr/lib/python3/dist-packages/psycopg2", "python3-psycopg2"),
    ("/usr/lib/python3/dist-packages/pymysql", "python3-pymysql"),
];

/// What Python has to find, with versions, so that a run next year meets the same programs.
const PYTHON: &[&str] = &["libtorrent==2.1.1", "torf==4.3.1"];

/// Makes all of it present, or says what is missing.
pub(crate) fn setup() -> Result<()> {
    install(PROGRAMS)?;
    python()
}

/// Installs what is missing of these programs, which come in these packages.
pub(crate) fn install(programs: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !found(program)).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    ensure!(found("apt-get"), "tests need programs that are missing here: {list} (as Debian calls them)");
    ensure!(is_root(), "tests need programs that are missing here; as root: apt-get install {list}");
    println!("installing {list}");
    run::run(&mut run::command("apt-get", &["update", "-qq"]))?;
    let mut install = run::command("apt-get", &["install", "-y", "-qq", "--no-install-recommends"]);
    run::run(install.args(&missing).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let still: Vec<&str> = programs.iter().map(|(program, _)| *program).filter(|p| !found(p)).collect();
    ensure!(still.is_empty(), "installed, and yet not found on the path: {}", still.join(" "));
    Ok(())
}

fn python() -> Result<()> {
    let folder = venv();
    let python = folder.join("bin/python");
    let stamp = folder.join("installed");
    let wanted = PYTHON.join("\n");
    let here = fs::read_to_string(&stamp).is_ok_and(|s| s == wanted);
    if here && run::works(&mut run::command(&python, &["-c", "import libtorrent, torf"])) {
        return Ok(());
    }
    println!("installing {} into {}", PYTHON.join(" "), folder.display());
    if !run::works(&mut run::command("python3", &["-c", "import ensurepip, venv"])) {
        ensure!(found("apt-get") && is_root(), "Python lacks venv; as root: apt-get install python3-venv");
        run::run(&mut run::command("apt-get", &["install", "-y", "-qq", "--no-install-recommends", "python3-venv"]))?;
    }
    let text = folder.to_str().context("the folder of the repository has a name that is no text")?;
    run::run(&mut run::command("python3", &["-m", "venv", "--clear", text]))?;
    let mut pip = run::command(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    run::run(pip.args(PYTHON)).context("cannot install the Python libraries")?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Where the Python environment lies: `target/interop/venv`, wherever the target folder is.
pub(crate) fn venv() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from).join("interop/venv")
}

fn found(program: &str) -> bool {
    if let Some((before, after)) = program.split_once('*') {
        let names = fs::read_dir(before).into_iter().flatten().flatten();
        return names.into_iter().any(|entry| found(&format!("{}{after}", entry.path().display())));
    }
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| owner(&m) == 0)
}

#[cfg(unix)]
fn owner(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_is_found_by_name() {
        assert!(found("sh"));
        assert!(!found("no-such-program-anywhere"));
    }

    #[test]
    fn files_are_found_with_a_name_left_open() {
        let here = run::root();
        let file = |name: &str| found(&format!("{}/{name}", here.display()));
        assert!(file("xtask/src/setup.rs") && file("xtask/*/setup.rs"));
        assert!(!file("xtask/src/nothing.rs") && !file("xtask/*/nothing.rs") && !file("nowhere/*/setup.rs"));
    }
}
