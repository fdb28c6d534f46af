//! Servers of databases as others run them: on the network, with a password that has to be written with care in a URL.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use interop::place::Place;
use interop::process::{Process, run};

/// A command as somebody without rights, whom databases ask for.
fn as_nobody(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

/// PostgreSQL over the network, with a password that has to be written with care; gives its URL.
pub(crate) fn postgres(place: &Place, folder: &str, address: &str) -> Result<(Process, String)> {
    let programs = fs::read_dir("/usr/lib/postgresql")?.flatten().map(|e| e.path().join("bin"));
    let programs = programs.filter(|p| p.join("initdb").exists()).max().context("PostgreSQL is not installed")?;
    let program = |name: &str| as_nobody(&programs.join(name).display().to_string());
    fs::write(format!("{folder}/password"), "se@c:r/t")?;
    let (data, password) = (format!("{folder}/postgres"), format!("--pwfile={folder}/password"));
    run(program("initdb").args([
        "-D",
        &data,
        "-U",
        "ada",
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--no-sync",
        &password,
    ]))?;
    // initdb lets in only this machine's loopback.
    fs::write(format!("{data}/pg_hba.conf"), "host all ada 10.77.0.0/16 scram-sha-256\n")?;
    let mut server = program("postgres");
    server.args(["-D", &data, "-c", &format!("listen_addresses={address}"), "-c", "unix_socket_directories="]);
    let process = Process::start("postgres", &place.folder, &mut server)?;
    Ok((process, format!("postgres://ada:se%40c%3Ar%2Ft@{address}/postgres")))
}

/// MariaDB likewise.
pub(crate) fn mariadb(place: &Place, folder: &str, address: &str) -> Result<(Process, String)> {
    let data = format!("--datadir={folder}/mariadb");
    let normal = ["--auth-root-authentication-method=normal", "--skip-test-db"];
    // Its temporary files are named by process number, which another name space has, too.
    run(as_nobody("mariadb-install-db").env("TMPDIR", folder).args(["--no-defaults", &data]).args(normal))?;
    let user = "CREATE DATABASE course;\nCREATE USER 'ada'@'%' IDENTIFIED BY 'se@c:r/t';\nGRANT ALL ON course.* TO 'ada'@'%';\n";
    fs::write(format!("{folder}/start.sql"), user)?;
    let mut server = as_nobody("mariadbd");
    server.args(["--no-defaults", &data, &format!("--init-file={folder}/start.sql"), &format!("--socket={folder}/s")]);
    server.arg(format!("--tmpdir={folder}"));
    server.args([&format!("--bind-address={address}"), "--skip-name-resolve", "--innodb-buffer-pool-size=32M"]);
    let process = Process::start("mariadb", &place.folder, &mut server)?;
    Ok((process, format!("mysql://ada:se%40c%3Ar%2Ft@{address}:3306/course")))
}
