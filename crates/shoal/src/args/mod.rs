//! The command line as clap sees it: each command and flag is declared once, here.
//!
//! Commands of parts that are not built yet are known by name, so that they end with a clear sentence. Flags can also
//! come from the environment and from a file: see [`crate::config`].

mod address;
mod logins;
mod mirror;
mod network;
mod serve;
mod split;
mod torrent;
mod transfer;

pub use logins::LoginArgs;
pub use mirror::{MirrorArgs, MirrorsArgs};
pub use network::NetworkArgs;
pub use serve::{PasswdArgs, ServeArgs};
pub use split::{CutArgs, RepairArgs, SplitArgs, SplitCommand};
pub use torrent::{CreateArgs, MagnetArgs, ShowArgs, TorrentCommand, VerifyArgs};
pub use transfer::{Format, GetArgs, LabCommand, LabRunArgs, SeedArgs, ShareArgs, TrackerArgs};

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Share files and messages over every model of the Internet, from one binary.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Print one JSON object a line, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more on standard error; twice: much more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Print results and errors, no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Where this node keeps its state and identity [default: the platform's data folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Read flags from this TOML file [default: shoal/config.toml in the platform's configuration folder, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, show and check .torrent files
    #[command(subcommand)]
    Torrent(TorrentCommand),
    /// Share files and folders: a link for browsers, a magnet and a .torrent for everybody else
    Share(ShareArgs),
    /// Seed data that a .torrent describes
    Seed(SeedArgs),
    /// Fetch from any link: of a page, a file, a magnet, a .torrent, a Metalink, a split manifest
    Get(GetArgs),
    /// Run a tracker by itself
    Tracker(TrackerArgs),
    /// Serve a folder to browsers: a web server
    Serve(ServeArgs),
    /// Mirror what another server shares, piece by piece checked, and follow its changes
    Mirror(MirrorArgs),
    /// Make a line for the file of `serve --auth`; the password is asked for, or read from standard input
    Passwd(PasswdArgs),
    /// Cut a file into parts, and place them on several servers or folders
    Split(SplitArgs),
    /// Experiments in virtual time
    #[command(subcommand)]
    Lab(LabCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        dir: PathBuf,
    },
    /// The DHT by hand
    #[command(hide = true, disable_help_flag = true)]
    Dht(Later),
    /// The hub
    #[command(hide = true, disable_help_flag = true)]
    Hub(Later),
    /// Search a hub
    #[command(hide = true, disable_help_flag = true)]
    Search(Later),
    /// The people of a hub
    #[command(hide = true, disable_help_flag = true)]
    Who(Later),
    /// The files of one person
    #[command(hide = true, disable_help_flag = true)]
    Browse(Later),
    /// A private message
    #[command(hide = true, disable_help_flag = true)]
    Tell(Later),
    /// A room
    #[command(hide = true, disable_help_flag = true)]
    Chat(Later),
    /// The rooms of this node
    #[command(hide = true, disable_help_flag = true)]
    Room(Later),
    /// A node that stays
    #[command(hide = true, disable_help_flag = true)]
    Daemon(Later),
    /// Drives the daemon
    #[command(hide = true, disable_help_flag = true)]
    Ctl(Later),
}

/// The command line of a part that is not built yet.
#[derive(Args, Debug)]
pub struct Later {
    /// Anything
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<OsString>,
}

impl Command {
    /// The name of the command if its part is not built yet.
    pub fn unbuilt(&self) -> Option<&'static str> {
        Some(match self {
            Command::Dht(_) => "dht",
            Command::Hub(_) => "hub",
            Command::Search(_) => "search",
            Command::Who(_) => "who",
            Command::Browse(_) => "browse",
            Command::Tell(_) => "tell",
            Command::Chat(_) => "chat",
            Command::Room(_) => "room",
            Command::Daemon(_) => "daemon",
            Command::Ctl(_) => "ctl",
            Command::Lab(lab) => return lab.unbuilt(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declarations_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_contract_is_known() {
        for line in [
            "torrent create P -o F --format auto --piece-length 1M --tracker http://a/announce --tracker udp://b:1 \
             --web-seed http://w/ --private --comment C --name N --threads 2",
            "torrent show F",
            "torrent verify F D",
            "torrent magnet F",
            "share A B --http 127.0.0.1:0 --public http://h --tracker udp://t:1 --format v1 --no-dht --no-lsd --no-pex --no-utp --no-nat",
            "share A --mirrors none --redirect-above 5 --redirect 10.0.0.0/8=http://m:1 --redirect ::1=http://n",
            "serve . --share --mirrors 10.0.0.0/8,::1 --redirect-above 0",
            "seed T D --tracker http://t/announce --listen 127.0.0.1:0 --encryption off",
            "get A B -o D --in-place --select *.txt --select b --sequential --seed --seed-ratio 1.5 --seed-time 1h --peer 127.0.0.1:1 \
             --limit-down 20M --limit-up 500KiB/s --explain --encryption allowed",
            "get A --hub http://h",
            "tracker --http 127.0.0.1:0 --udp 127.0.0.1:0 --workers 2 --allow A --deny D",
            "lab list",
            "lab compare --size 1G --peers 3",
            "serve . --cgi php=php-cgi --auth F",
            "mirror http://h:8080 --cache D --listen 127.0.0.1:0 --max-size 1G --public http://m",
            "passwd ada",
            "dht lookup x",
            "split F --across a http://h/ -o M --piece-length 1M --replicas 2",
            "split repair M",
            "split repair M --across a b --deep --from F --replicas 2",
            "split --json repair M",
            "room list",
            "--json -v --data-dir D get X --config F",
            "get X --json -q",
            "completions bash",
        ] {
            let line = std::iter::once("shoal").chain(line.split_whitespace());
            if let Err(e) = Cli::try_parse_from(line.clone()) {
                panic!("{:?}: {e}", line.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_not_built_has_a_name() {
        let cli = Cli::try_parse_from(["shoal", "hub", "--help", "-x", "y"]).unwrap();
        assert_eq!(cli.command.unbuilt(), Some("hub"));
        let cli = Cli::try_parse_from(["shoal", "lab", "compare", "--size", "1G"]).unwrap();
        assert_eq!(cli.command.unbuilt(), Some("lab compare"));
        let cli = Cli::try_parse_from(["shoal", "get", "x"]).unwrap();
        assert_eq!(cli.command.unbuilt(), None);
    }
}
