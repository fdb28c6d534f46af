//! rtorrent, by XML-RPC over SCGI on a Unix socket.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{PEER_PORT, text};
use crate::client::{Client, HOST_CLIENT};
use crate::place::Place;
use crate::process::{self, PATIENCE, Process};

/// One rtorrent with one torrent.
pub struct Rtorrent {
    process: Process,
    socket: PathBuf,
}

impl Rtorrent {
    /// Starts it as a daemon of ours and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(place: &Place) -> Result<Self> {
        let (folder, address) = (place.sub("client")?, place.address(HOST_CLIENT));
        let socket = folder.join("control");
        let session = place.sub("client/session")?;
        let settings = format!(
            "system.daemon.set = true\nsession.path.set = \"{}\"\nnetwork.bind_address.set = {address}\n\
             network.port_range.set = {PEER_PORT}-{PEER_PORT}\nnetwork.port_random.set = no\ndht.mode.set = disable\n\
             protocol.pex.set = no\nprotocol.encryption.set = allow_incoming,try_outgoing,enable_retry\n\
             network.scgi.open_local = \"{}\"\n\
             log.open_file = \"log\", \"{}\"\nlog.add_output = \"tracker_debug\", \"log\"\n",
            text(&session)?,
            text(&socket)?,
            text(&folder.join("trackers.log"))?
        );
        let file = folder.join("rtorrent.rc");
        fs::write(&file, settings).context("cannot write rtorrent.rc")?;
        let mut command = Command::new("rtorrent");
        command.args(["-n", "-o", &format!("import={}", text(&file)?)]);
        let process = Process::start("rtorrent", &folder, &mut command)?;
        let mut client = Self { process, socket };
        process::until(PATIENCE, "rtorrent to answer", || {
            client.process.alive()?;
            Ok(client.call("system.pid", &[]).is_ok())
        })?;
        Ok(client)
    }

    /// Calls a method with strings; gives the body of the answer.
    fn call(&self, method: &str, arguments: &[&str]) -> Result<String> {
        let mut body = format!("<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName><params>");
        for argument in arguments {
            let escaped = argument.replace('&', "&amp;").replace('<', "&lt;");
            write!(body, "<param><value><string>{escaped}</string></value></param>").context("cannot write")?;
        }
        body.push_str("</params></methodCall>");
        let head = format!("CONTENT_LENGTH\0{}\0SCGI\x001\0", body.len());
        let mut stream = UnixStream::connect(&self.socket).context("cannot reach rtorrent")?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).context("cannot limit the wait")?;
        write!(stream, "{}:{head},{body}", head.len()).context("cannot ask rtorrent")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("cannot hear rtorrent")?;
        ensure!(!answer.contains("<fault>"), "rtorrent, asked to {method}: {answer}");
        Ok(answer)
    }
}

impl Client for Rtorrent {
    fn add(&mut self, torrent: &Path, folder: &Path) -> Result<()> {
        let folder = format!("d.directory.set={}", text(folder)?);
        self.call("load.start_verbose", &["", text(torrent)?, &folder]).map(drop)
    }

    fn complete(&mut self) -> Result<bool> {
        self.process.alive()?;
        // One list of three numbers a torrent: complete, started, checking.
        let list =
            self.call("d.multicall2", &["", "main", "d.complete=", "d.is_active=", "d.hashing=", "d.message="])?;
        let values: Vec<&str> = list.split("<i8>").skip(1).filter_map(|v| v.split('<').next()).collect();
        Ok(values == ["1", "1", "0"])
    }
}
