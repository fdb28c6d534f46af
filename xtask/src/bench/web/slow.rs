//! A thousand clients that take their time, and what each of them takes of the server's memory.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use super::super::clients::Programs;
use super::super::data::MIDDLE;
use super::super::proc;
use super::super::process::{PATIENCE, until};
use super::super::record::Figures;
use super::server::{Extras, Kind, Server};
use crate::run;

/// How many.
const CLIENTS: usize = 1_000;
/// What each of them reads, or writes, at once, and how often.
const BYTES: usize = 512;
const TURNS: usize = 8;
const PAUSE: Duration = Duration::from_millis(400);

/// How they take their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Slow {
    /// They read a file of 256 MiB.
    Reading,
    /// The same from a link, where ours makes sure that the bytes are those of the torrent.
    Shared,
    /// They write the head of a request.
    Heads,
}

impl Slow {
    /// As tables call it.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Slow::Reading => "reading",
            Slow::Shared => "shared",
            Slow::Heads => "heads",
        }
    }
}

/// Runs it once.
pub(super) fn run(kind: Kind, slow: Slow, programs: &Programs) -> Result<Figures> {
    let root = programs.place.memory("web");
    super::super::place::fresh(&root)?;
    std::fs::hard_link(MIDDLE.path(&programs.place), root.join(MIDDLE.file))?;
    let share = slow == Slow::Shared;
    let server = Server::start(kind, programs, &root, Extras { share, ..Extras::default() })?;
    let path = format!("{}/{}", if share { "/f" } else { "" }, MIDDLE.file);
    if share {
        // Until its hashes are known it is a file like others.
        let torrent = format!("{}{path}.torrent", server.url);
        let mut ask = || Ok(run::works(std::process::Command::new("curl").args(["-sSf", "-o", "/dev/null", &torrent])));
        until(PATIENCE, "the torrent", &mut ask)?;
    }
    let at: SocketAddr = server.at().parse().context("no address")?;
    let mut first = client(at, slow, &path)?;
    turn(&mut first, slow)?;
    let before = proc::memory(server.pid())?;
    let mut clients = (0..CLIENTS).map(|_| client(at, slow, &path)).collect::<Result<Vec<_>>>()?;
    for _ in 0..TURNS {
        for client in &mut clients {
            turn(client, slow)?;
        }
        thread::sleep(PAUSE);
    }
    let after = proc::memory(server.pid())?;
    super::super::place::remove(&root)?;
    Ok(Figures::from([
        ("connected".to_owned(), clients.len() as f64),
        ("kib_each".to_owned(), (after.resident as f64 - before.resident as f64) / clients.len() as f64),
    ]))
}

/// One whose kernel takes little, so that the server has to wait.
fn client(at: SocketAddr, slow: Slow, path: &str) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("no socket")?;
    socket.set_recv_buffer_size(4 << 10).context("cannot set a buffer")?;
    socket.connect(&at.into()).with_context(|| format!("cannot connect to {at}"))?;
    let mut stream = TcpStream::from(socket);
    let end = if slow == Slow::Heads { "X-Slow: " } else { "\r\n" };
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\n{end}").context("cannot ask")?;
    stream.set_nonblocking(true).context("cannot be set not to wait")?;
    Ok(stream)
}

fn turn(stream: &mut TcpStream, slow: Slow) -> Result<()> {
    if slow == Slow::Heads {
        return stream.write_all(b"x").context("the server does not wait for the head");
    }
    match stream.read(&mut [0; BYTES]) {
        Ok(n) => {
            ensure!(n > 0, "the server has ended the answer");
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error).context("cannot read"),
    }
}
