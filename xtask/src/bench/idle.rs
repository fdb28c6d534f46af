//! Thousands of peers that are connected to a seed and do nothing: what each of them takes of the process's memory, beyond
//! what the kernel keeps for its socket. The peers are in the harness: handshake, extension handshake, interested; then silence.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use super::clients::{Kind, Programs, Role, Work};
use super::data::MIDDLE;
use super::proc;
use super::record::Figures;
use super::tracker::Tracker;
use super::transfer;
use crate::run;

/// How many.
const PEERS: u16 = 2_000;
/// What every client is told to allow.
const ALLOWED: &str = "3000";
const CALM: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(10);

/// Runs it once.
pub(super) fn run(kind: Kind, programs: &Programs) -> Result<Figures> {
    let place = &programs.place;
    let torrents = [place.torrent(MIDDLE.torrent)];
    let source = place.seed();
    let work = Work { torrents: &torrents, files: &[MIDDLE.file], folder: &source, role: Role::Seed };
    let tracker = Tracker::start()?;
    let flags = flags(kind, programs);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let seed = transfer::start_seed_with(kind, programs, &work, &tracker, MIDDLE.bytes, &flags)?;
    thread::sleep(CALM);
    let pid = seed.pid().context("a client without a process")?;
    let hash = info_hash(programs, &torrents[0])?;
    let before = proc::memory(pid)?;
    let mut peers = Vec::new();
    for i in 0..PEERS {
        let peer = connect(i, seed.peers_at(), &hash).with_context(|| format!("peer {i}"))?;
        peers.push(peer);
    }
    thread::sleep(CALM);
    let used = proc::cpu(pid)?;
    thread::sleep(WATCHED);
    let idle = proc::cpu(pid)?.since(used).total() / WATCHED.as_secs_f64();
    let after = proc::memory(pid)?;
    let connected = peers.iter_mut().map(is_open).collect::<Result<Vec<bool>>>()?.into_iter().filter(|o| *o).count();
    ensure!(connected > 0, "{} has dropped all peers", kind.name());
    Ok(Figures::from([
        ("connected".to_owned(), connected as f64),
        ("kib_each".to_owned(), (after.resident as f64 - before.resident as f64) / connected as f64),
        ("resident_mib".to_owned(), transfer::mib(after.resident)),
        ("idle_cores".to_owned(), idle),
    ]))
}

/// Nobody allows so many by default.
fn flags(kind: Kind, programs: &Programs) -> Vec<String> {
    let binary = match kind {
        Kind::Ours => &programs.ours,
        Kind::Before => programs.before.as_ref().unwrap_or(&programs.ours),
        Kind::Libtorrent | Kind::LibtorrentTuned => return vec![format!("connections_limit={ALLOWED}")],
        Kind::Rqbit | Kind::Rqbit1 => return vec!["--peer-limit".into(), ALLOWED.into()],
        Kind::Aria2 => return vec![format!("--bt-max-peers={ALLOWED}")],
    };
    let help = run::output(Command::new(binary).args(["seed", "--help"])).unwrap_or_default();
    let known = ["--max-connections", "--max-connections-per-torrent"].into_iter().filter(|flag| help.contains(flag));
    known.flat_map(|flag| [flag.to_owned(), ALLOWED.to_owned()]).collect()
}

fn info_hash(programs: &Programs, torrent: &Path) -> Result<[u8; 20]> {
    let script = "import libtorrent as lt, sys; print(lt.torrent_info(sys.argv[1]).info_hashes().v1)";
    let text = run::output(Command::new(&programs.python).args(["-W", "ignore", "-c", script]).arg(torrent))?;
    let mut hash = [0; 20];
    for (i, byte) in hash.iter_mut().enumerate() {
        let digits = text.get(2 * i..2 * i + 2).context("libtorrent prints no info-hash")?;
        *byte = u8::from_str_radix(digits, 16).context("libtorrent prints no info-hash")?;
    }
    Ok(hash)
}

/// Each peer has an address of its own, as peers have.
fn connect(i: u16, to: SocketAddr, hash: &[u8; 20]) -> Result<TcpStream> {
    let [high, low] = i.to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("no socket")?;
    let from = SocketAddr::from((Ipv4Addr::new(10, 77, 100 + high, low), 0));
    socket.bind(&from.into()).with_context(|| format!("cannot bind to {from}"))?;
    socket.connect(&to.into()).with_context(|| format!("cannot connect to {to}"))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).context("cannot set a timeout")?;
    stream.write_all(&hello(i, hash)).context("cannot greet")?;
    let mut answer = [0; 68];
    stream.read_exact(&mut answer).context("no handshake came back")?;
    ensure!(answer[28..48] == *hash, "the handshake is of another torrent");
    stream.write_all(&opening(answer[25] & 0x10 != 0, answer[27] & 0x04 != 0)).context("cannot talk")?;
    Ok(stream)
}

/// Handshake with the bits of the fast and the extension protocol.
fn hello(i: u16, hash: &[u8; 20]) -> Vec<u8> {
    let id = format!("-ID0001-{i:012}");
    [b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".as_slice(), hash, id.as_bytes()].concat()
}

/// Have none and an extension handshake, if the other side knows them; interested.
fn opening(knows_extensions: bool, knows_fast: bool) -> Vec<u8> {
    let extended = b"\x14\0d1:md6:ut_pexi1ee4:reqqi250ee";
    let mut bytes = Vec::new();
    if knows_fast {
        bytes.extend(b"\0\0\0\x01\x0f");
    }
    if knows_extensions {
        bytes.extend(u32::try_from(extended.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(extended);
    }
    bytes.extend(b"\0\0\0\x01\x02");
    bytes
}

/// Reads what has come, and whether that was the end.
fn is_open(stream: &mut TcpStream) -> Result<bool> {
    stream.set_nonblocking(true).context("cannot look at a connection")?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Ok(error.kind() == ErrorKind::WouldBlock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_68_bytes() {
        let hello = hello(7, &[9; 20]);
        assert_eq!(hello.len(), 68);
        assert_eq!(&hello[48..], b"-ID0001-000000000007");
        assert_eq!((hello[25], hello[27]), (0x10, 0x04));
    }

    #[test]
    fn the_opening_is_what_the_other_side_knows() {
        for (extensions, fast, expected) in
            [(true, true, &[1, 31, 1][..]), (true, false, &[31, 1]), (false, true, &[1, 1]), (false, false, &[1])]
        {
            let (opening, mut lengths) = (opening(extensions, fast), Vec::new());
            let mut rest = opening.as_slice();
            while let [a, b, c, d, more @ ..] = rest {
                let n = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                lengths.push(n);
                rest = &more[n..];
            }
            assert_eq!(lengths, expected);
        }
    }
}
