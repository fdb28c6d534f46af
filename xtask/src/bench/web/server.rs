//! The servers, started on a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::super::clients::Programs;
use super::super::place;
use super::super::proc::{self, Cpu};
use super::super::process::{PATIENCE, Process, until};
use super::wire::Wire;

/// Where servers listen.
const PORT: u16 = 50_080;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// `shoal serve`.
    Ours,
    /// Another build of it.
    Before,
    /// nginx as it comes, with sendfile.
    Nginx,
    /// nginx that reads into two buffers of 1 MiB.
    NginxBuffers,
    /// nginx with its cache of open files.
    NginxCache,
}

impl Kind {
    /// As tables call it.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Kind::Ours => "ours",
            Kind::Before => "before",
            Kind::Nginx => "nginx",
            Kind::NginxBuffers => "nginx-buffers",
            Kind::NginxCache => "nginx-cache",
        }
    }
}

/// One that runs.
pub(super) struct Server {
    process: Process,
    /// Where it is, without a slash at the end.
    pub(super) url: String,
}

/// What it does besides giving files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extras<'a> {
    /// The socket of a FastCGI server for `.php`.
    pub(super) php: Option<&'a Path>,
    /// Ours gives its files with links and torrents, too.
    pub(super) share: bool,
    /// It sits behind this wire.
    pub(super) wire: Option<&'a Wire>,
}

impl Server {
    /// Starts one on `root`, and waits until it answers.
    pub(super) fn start(kind: Kind, programs: &Programs, root: &Path, extras: Extras<'_>) -> Result<Self> {
        let address = extras.wire.map_or("10.77.0.1".to_owned(), |wire| wire.address.clone());
        let name = extras.wire.map_or(kind.name().to_owned(), |wire| format!("{}-{}", kind.name(), wire.number));
        let folder = programs.place.disk("work").join(name);
        place::fresh(&folder)?;
        let mut command = match kind {
            Kind::Ours => ours(&programs.ours, root, &address, &folder, extras),
            Kind::Before => {
                let before = programs.before.as_deref().context("`before` needs --before BINARY")?;
                ours(before, root, &address, &folder, extras)
            }
            Kind::Nginx | Kind::NginxBuffers | Kind::NginxCache => nginx(kind, root, &address, &folder, extras)?,
        };
        if let Some(wire) = extras.wire {
            command = wire.behind(&command);
        }
        let mut process = Process::start(kind.name(), &folder, &mut command)?;
        until(PATIENCE, "the server to answer", || {
            process.alive()?;
            Ok(std::net::TcpStream::connect((address.as_str(), PORT)).is_ok())
        })?;
        Ok(Server { process, url: format!("http://{address}:{PORT}") })
    }

    /// Host and port.
    pub(super) fn at(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The process that does the work.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The time it has used so far.
    pub(super) fn cpu(&self) -> Result<Cpu> {
        proc::cpu(self.pid())
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        self.process.stop();
    }
}

fn ours(binary: &Path, root: &Path, address: &str, folder: &Path, extras: Extras<'_>) -> Command {
    let mut command = Command::new(binary);
    command.args(["--quiet", "--data-dir"]).arg(folder.join("state")).arg("serve").arg(root);
    command.args(["--threads", "1", "--listen"]).arg(format!("{address}:{PORT}"));
    if let Some(socket) = extras.php {
        command.arg("--fastcgi").arg(format!(".php={}", socket.display()));
    }
    if extras.share {
        command.arg("--share").arg("--peer-listen").arg(format!("{address}:0"));
    }
    command
}

/// One process, no master: what it uses is what the kernel says of it. It makes no log of requests, as ours.
fn nginx(kind: Kind, root: &Path, address: &str, folder: &Path, extras: Extras<'_>) -> Result<Command> {
    let own = match kind {
        Kind::NginxBuffers => "sendfile off; output_buffers 2 1m;",
        Kind::NginxCache => {
            "sendfile on; tcp_nopush on; open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;"
        }
        _ => "sendfile on; tcp_nopush on;",
    };
    let php = extras.php.map_or_else(String::new, |socket| {
        format!(
            "location ~ \\.php$ {{ fastcgi_pass unix:{}; fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; \
             include /etc/nginx/fastcgi_params; }}",
            socket.display()
        )
    });
    let (home, root) = (folder.display(), root.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {home}/{what};\n"))
        .collect();
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log {home}/errors;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; {own} keepalive_requests 100000000; keepalive_timeout 60s; {temporary}\n\
         server {{ listen {address}:{PORT}; root {root}; {php} }} }}\n"
    );
    let path: PathBuf = folder.join("nginx.conf");
    fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(path).arg("-e").arg(folder.join("errors"));
    Ok(command)
}
