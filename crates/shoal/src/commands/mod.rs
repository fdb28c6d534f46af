//! What each command does.

mod get;
mod lab;
mod mirror;
mod passwd;
mod seed;
mod serve;
mod server;
mod session;
mod share;
mod split;
mod torrent;
mod tracker;

use crate::args::{Cli, Command, Global, LabCommand};
use crate::failure::Failure;
use crate::say::Voice;
use crate::signals;
use anyhow::Context as _;
use clap::CommandFactory as _;
use serde::Serialize;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::Path;

/// What a long-running command has really bound.
#[derive(Debug, Default, Serialize)]
#[serde(tag = "event", rename = "listening")]
pub struct Listening {
    /// For peers: IPv4 where there is one.
    pub peer: Option<SocketAddr>,
    /// The same over IPv6, where both are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer6: Option<SocketAddr>,
    /// For HTTP.
    pub http: Option<SocketAddr>,
    /// For datagrams of trackers' clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<SocketAddr>,
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<(), Failure> {
    if let Some(name) = cli.command.unbuilt() {
        return Err(Failure::unbuilt(&format!("`shoal {name}`")));
    }
    log(&cli);
    let voice = Voice { json: cli.global.json, quiet: cli.global.quiet };
    match cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "shoal", &mut io::stdout().lock());
            Ok(())
        }
        Command::Man { dir } => Ok(man(&dir)?),
        Command::Passwd(args) => passwd::run(&args, voice),
        Command::Lab(LabCommand::List) => lab::list(voice),
        Command::Lab(LabCommand::Run(args)) => lab::run(&args, voice),
        command => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.context("can't start: the system gives no threads")?;
            let result = runtime.block_on(async {
                signals::listen().context("can't listen for signals")?;
                asynchronous(command, cli.global, voice).await
            });
            // What still hashes or looks up names has nobody left to tell.
            runtime.shutdown_background();
            result
        }
    }
}

async fn asynchronous(command: Command, global: Global, voice: Voice) -> Result<(), Failure> {
    match command {
        Command::Share(args) => share::run(args, &global, voice).await,
        Command::Seed(args) => seed::run(args, &global, voice).await,
        Command::Get(args) => get::run(args, &global, voice).await,
        Command::Torrent(command) => torrent::run(command, voice).await,
        Command::Serve(args) => serve::run(args, &global, voice).await,
        Command::Mirror(args) => mirror::run(args, &global, voice).await,
        Command::Split(args) => split::run(args, voice).await,
        Command::Tracker(args) => tracker::run(args, voice).await,
        other => Err(Failure::unbuilt(other.unbuilt().unwrap_or("this command"))),
    }
}

/// What goes to standard error beside errors: what the web server warns of, and more if it is asked for. `SHOAL_LOG` says it in detail.
fn log(cli: &Cli) {
    use tracing_subscriber::EnvFilter;
    let level = match cli.global.verbose {
        0 => "error,web=warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("SHOAL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
}

/// Listens on `addr`; on both families where it is 0.0.0.0.
async fn listen(addr: SocketAddr) -> anyhow::Result<Vec<tokio::net::TcpListener>> {
    let bind = tokio::net::TcpListener::bind(addr).await;
    let first = bind.map_err(|e| anyhow::anyhow!("can't listen on {addr}: {e}{}", hint(&e)))?;
    let mut all = vec![];
    if addr.ip() == std::net::Ipv4Addr::UNSPECIFIED {
        let port = first.local_addr()?.port();
        // A machine without IPv6 does without.
        all.extend(tcp_v6_only(port));
    }
    all.insert(0, first);
    Ok(all)
}

/// What to do about an address that can't be listened at.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program uses the port: try another, or port 0 for any",
        io::ErrorKind::AddrNotAvailable => {
            "; it is no address of this machine: try 127.0.0.1, or 0.0.0.0 for all it has"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for the administrator: try another",
        _ => "; try another address or port",
    }
}

fn tcp_v6_only(port: u16) -> io::Result<tokio::net::TcpListener> {
    let socket = v6_only(socket2::Type::STREAM, port)?;
    socket.listen(1024)?;
    tokio::net::TcpListener::from_std(socket.into())
}

fn udp_v6_only(port: u16) -> io::Result<tokio::net::UdpSocket> {
    tokio::net::UdpSocket::from_std(v6_only(socket2::Type::DGRAM, port)?.into())
}

fn v6_only(kind: socket2::Type, port: u16) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, kind, None)?;
    socket.set_only_v6(true)?;
    if kind == socket2::Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)).into())?;
    Ok(socket)
}

/// Writes the manual pages, one a command.
fn man(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .with_context(|| format!("can't write manual pages to {}; name a folder that can be written", dir.display()))
}
