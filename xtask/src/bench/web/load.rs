//! Requests as fast as they are answered, by wrk, and one large file by curl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::clients::Programs;
use super::super::data::{BIG, Stream};
use super::super::place;
use super::super::process::{PATIENCE, Process, until};
use super::super::record::Figures;
use super::server::{Extras, Kind, Server};
use crate::run;

/// Connections that are kept, and for how long they ask.
const CONNECTIONS: u32 = 64;
const PHP_CONNECTIONS: u32 = 16;
const SECONDS: u32 = 5;
/// Since when a small file is as it is.
const SETTLED: Duration = Duration::from_secs(5);
/// Requests before the clock starts.
const WARM_SECONDS: u32 = 1;

/// A file of 1 KiB.
pub(super) fn small(kind: Kind, programs: &Programs) -> Result<Figures> {
    let root = programs.place.memory("web");
    place::fresh(&root)?;
    let mut stream = Stream::new("one");
    let bytes: Vec<u8> = (0..128).flat_map(|_| stream.next().to_le_bytes()).collect();
    fs::write(root.join("one.bin"), bytes)?;
    // Ours keeps in memory what has not changed for a while, as sites mostly have not.
    thread::sleep(SETTLED);
    let server = Server::start(kind, programs, &root, Extras::default())?;
    let figures = asked(&server, "/one.bin", 1024, CONNECTIONS)?;
    place::remove(&root)?;
    Ok(figures)
}

/// A page that PHP makes of a parameter, behind the same pool.
pub(super) fn php(kind: Kind, programs: &Programs) -> Result<Figures> {
    let root = programs.place.memory("web");
    place::fresh(&root)?;
    let page =
        "<?php header('Content-Type: text/plain'); echo 'hello ', htmlspecialchars($_GET['name'] ?? ''), \"\\n\";";
    fs::write(root.join("hello.php"), page)?;
    let pool = Pool::start(programs)?;
    let server = Server::start(kind, programs, &root, Extras { php: Some(&pool.socket), ..Extras::default() })?;
    let figures = asked(&server, "/hello.php?name=ada", "hello ada\n".len(), PHP_CONNECTIONS)?;
    place::remove(&root)?;
    Ok(figures)
}

/// php-fpm with four processes.
struct Pool {
    _process: Process,
    socket: PathBuf,
}

impl Pool {
    fn start(programs: &Programs) -> Result<Self> {
        let folder = programs.place.disk("work").join("php-fpm");
        place::fresh(&folder)?;
        // The path of a socket may not be long.
        let socket = programs.place.memory("php.sock");
        let config = format!(
            "[global]\ndaemonize = no\nerror_log = {}\n[www]\nuser = root\ngroup = root\nlisten = {}\npm = static\npm.max_children = 4\n",
            folder.join("errors").display(),
            socket.display()
        );
        fs::write(folder.join("pool.conf"), config)?;
        let mut command = Command::new("php-fpm8.2");
        command.args(["--nodaemonize", "--allow-to-run-as-root", "--fpm-config"]).arg(folder.join("pool.conf"));
        let mut process = Process::start("php-fpm", &folder, &mut command)?;
        until(PATIENCE, "php-fpm", || {
            process.alive()?;
            Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok())
        })?;
        Ok(Pool { _process: process, socket })
    }
}

/// What wrk counts, and the time that the server used for each request.
fn asked(server: &Server, path: &str, len: usize, connections: u32) -> Result<Figures> {
    let url = format!("{}{path}", server.url);
    let answer = run::output(Command::new("curl").args(["-sSf", "-o", "/dev/null", "-w", "%{size_download}", &url]))?;
    ensure!(answer.trim() == len.to_string(), "{url} gives {answer} bytes, not {len}");
    let wrk = |seconds: u32| {
        let (connections, seconds) = (connections.to_string(), format!("{seconds}s"));
        run::output(Command::new("wrk").args(["-t1", "--latency", "-c", &connections, "-d", &seconds, &url]))
    };
    wrk(WARM_SECONDS)?;
    let before = server.cpu()?;
    let report = Report::read(&wrk(SECONDS)?)?;
    let used = server.cpu()?.since(before);
    Ok(Figures::from([
        ("requests_s".to_owned(), report.rate),
        ("us_a_request".to_owned(), 1e6 / report.rate),
        ("cpu_us_a_request".to_owned(), used.total() * 1e6 / report.requests),
        ("p99_ms".to_owned(), report.p99_ms),
    ]))
}

/// What wrk prints.
#[derive(Debug, PartialEq)]
struct Report {
    requests: f64,
    rate: f64,
    p99_ms: f64,
}

impl Report {
    fn read(text: &str) -> Result<Self> {
        ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "not all was answered:\n{text}");
        let after = |name: &str| text.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.trim().to_owned()));
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
        let parsed = || {
            Some(Report {
                requests: requests?,
                rate: after("Requests/sec:")?.parse().ok()?,
                p99_ms: milliseconds(&after("99%")?)?,
            })
        };
        parsed().with_context(|| format!("wrk says:\n{text}"))
    }
}

fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

/// 2 GiB to one client that throws it away.
pub(super) fn large(kind: Kind, programs: &Programs) -> Result<Figures> {
    let server = Server::start(kind, programs, &programs.place.seed(), Extras::default())?;
    let url = format!("{}/{}", server.url, BIG.file);
    once(&url, BIG.bytes)?;
    let (before, began) = (server.cpu()?, Instant::now());
    once(&url, BIG.bytes)?;
    let wall = began.elapsed().as_secs_f64();
    let used = server.cpu()?.since(before);
    Ok(Figures::from([
        ("wall_s".to_owned(), wall),
        ("mib_s".to_owned(), BIG.gib() * 1024.0 / wall),
        ("cpu_s_gib".to_owned(), used.total() / BIG.gib()),
    ]))
}

fn once(url: &str, len: u64) -> Result<()> {
    let curl = ["-sSf", "--max-time", "60", "-o", "/dev/null", "-w", "%{size_download}", url];
    let got = run::output(Command::new("curl").args(curl))?;
    ensure!(got.trim() == len.to_string(), "{url} gives {got} bytes, not {len}");
    Ok(())
}

/// How long a program runs that ends by itself.
pub(super) fn timed(name: &str, folder: &Path, command: &mut Command, limit: Duration) -> Result<f64> {
    let began = Instant::now();
    let mut process = Process::start(name, folder, command)?;
    let ended = process.ended(limit)?;
    Ok(ended.duration_since(began).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_read() {
        let text = "Running 5s test @ http://127.0.0.1/\n  1 threads and 64 connections\n  Latency Distribution\n     50%  501.00us\n     \
                    99%    1.25ms\n  376202 requests in 5.00s, 1.26GB read\nRequests/sec:  75240.34\nTransfer/sec:  258.3MB\n";
        assert_eq!(Report::read(text).unwrap(), Report { requests: 376202.0, rate: 75240.34, p99_ms: 1.25 });
        assert!(Report::read(&text.replace("Requests/sec", "Non-2xx or 3xx responses: 3\nRequests/sec")).is_err());
        assert!(Report::read("nothing").is_err());
        assert_eq!((milliseconds("500.00us"), milliseconds("2s"), milliseconds("2h")), (Some(0.5), Some(2000.0), None));
    }
}
