//! The flags of `share`, `seed`, `get`, `tracker` and `lab`.

use super::{LoginArgs, MirrorsArgs, NetworkArgs, address};
use crate::failure::Failure;
use crate::units::{Rate, Span};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Which version of BitTorrent a torrent is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A hybrid, or v1 for a folder that a hybrid would pad by 5% or more.
    #[default]
    Auto,
    /// BEP 3: for every client.
    V1,
    /// BEP 52: for newer clients.
    V2,
    /// Both in one.
    Hybrid,
}

/// `shoal share`.
#[derive(Args, Debug)]
pub struct ShareArgs {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Serve pages, bytes and the tracker here [default: the first free port from 8080, on all interfaces]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::listen)]
    pub http: Option<SocketAddr>,
    /// The address to put into links, if others reach this machine by another one than its own
    #[arg(long, value_name = "URL")]
    pub public: Option<String>,
    /// One more tracker
    #[arg(long, value_name = "URL")]
    pub tracker: Vec<String>,
    /// Which version of the format; auto: a hybrid where that costs little
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Most to upload, over all peers
    #[arg(long, value_name = "RATE")]
    pub limit_up: Option<Rate>,
    /// A hub to publish on
    #[arg(long, value_name = "URL", hide = true)]
    pub hub: Option<String>,
    /// One's name there
    #[arg(long, value_name = "NAME", hide = true)]
    pub nick: Option<String>,
    /// Mirrors.
    #[command(flatten)]
    pub mirrors: MirrorsArgs,
    /// How to talk to peers.
    #[command(flatten)]
    pub network: NetworkArgs,
}

impl ShareArgs {
    /// Refuses the flags of parts that are not built yet.
    pub fn check(&self) -> Result<(), Failure> {
        unbuilt_flag("--hub", &self.hub)?;
        unbuilt_flag("--nick", &self.nick)?;
        self.network.check()
    }
}

/// `shoal seed`.
#[derive(Args, Debug)]
pub struct SeedArgs {
    /// A .torrent, or a folder of them
    pub torrent: PathBuf,
    /// The content itself, file or folder; for a folder of .torrents the folder that holds their contents
    pub data: PathBuf,
    /// One more tracker
    #[arg(long, value_name = "URL")]
    pub tracker: Vec<String>,
    /// A peer to connect to
    #[arg(long, value_name = "ADDR")]
    pub peer: Vec<String>,
    /// Most to upload, over all peers
    #[arg(long, value_name = "RATE")]
    pub limit_up: Option<Rate>,
    /// How to talk to peers.
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// `shoal get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// What to fetch: the URL of any file, a link to what is shared, a magnet; or a .torrent, a Metalink or a split
    /// manifest, each as a file or by its URL. Sources of the same content are fetched from together
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Where to put it [default: the current folder]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Write to the final name at once, not to NAME.part
    #[arg(long)]
    pub in_place: bool,
    /// Fetch only the files that match; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub select: Vec<String>,
    /// Fetch from the beginning to the end
    #[arg(long)]
    pub sequential: bool,
    /// Go on seeding when it is complete
    #[arg(long)]
    pub seed: bool,
    /// Seed until this many times the size is given; implies --seed
    #[arg(long, value_name = "R")]
    pub seed_ratio: Option<f64>,
    /// Seed for this long; implies --seed
    #[arg(long, value_name = "TIME")]
    pub seed_time: Option<Span>,
    /// A peer to connect to; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub peer: Vec<String>,
    /// Most to download
    #[arg(long, value_name = "RATE")]
    pub limit_down: Option<Rate>,
    /// Most to upload
    #[arg(long, value_name = "RATE")]
    pub limit_up: Option<Rate>,
    /// Say what limits the speed now
    #[arg(long)]
    pub explain: bool,
    /// Servers that ask for a password.
    #[command(flatten)]
    pub logins: LoginArgs,
    /// A hub to look on
    #[arg(long, value_name = "URL", hide = true)]
    pub hub: Option<String>,
    /// How to talk to peers.
    #[command(flatten)]
    pub network: NetworkArgs,
}

impl GetArgs {
    /// Refuses the flags of parts that are not built yet, and values that mean nothing.
    pub fn check(&self) -> Result<(), Failure> {
        unbuilt_flag("--hub", &self.hub)?;
        if let Some(ratio) = self.seed_ratio.filter(|r| !r.is_finite() || *r < 0.0) {
            return Err(Failure::usage(format!("--seed-ratio {ratio}: write a number from 0 on, as in 1.5")));
        }
        self.network.check()
    }

    /// Whether to go on after the last byte.
    pub fn seeds(&self) -> bool {
        self.seed || self.seed_ratio.is_some() || self.seed_time.is_some()
    }
}

/// `shoal tracker`.
#[derive(Args, Debug)]
pub struct TrackerArgs {
    /// Answer HTTP announces here [default: port 6969 of all interfaces]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::listen)]
    pub http: Option<SocketAddr>,
    /// Answer UDP announces here [default: the same port as HTTP]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::listen)]
    pub udp: Option<SocketAddr>,
    /// Threads that answer
    #[arg(long, value_name = "N")]
    pub workers: Option<std::num::NonZeroUsize>,
    /// Serve only the torrents in this file: one info-hash a line, in hexadecimal
    #[arg(long, value_name = "FILE")]
    pub allow: Option<PathBuf>,
    /// Don't serve the torrents in this file
    #[arg(long, value_name = "FILE")]
    pub deny: Option<PathBuf>,
}

/// `shoal lab`.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Run one scenario
    Run(LabRunArgs),
    /// The scenarios
    List,
    /// The models side by side
    #[command(hide = true, disable_help_flag = true)]
    Compare(super::Later),
    /// How long would it take?
    #[command(hide = true, disable_help_flag = true)]
    Plan(super::Later),
    /// A real run beside a plan
    #[command(hide = true, disable_help_flag = true)]
    Check(super::Later),
    /// The experiments of a paper
    #[command(hide = true, disable_help_flag = true)]
    Paper(super::Later),
}

impl LabCommand {
    /// The name of the command if its part is not built yet.
    pub fn unbuilt(&self) -> Option<&'static str> {
        Some(match self {
            LabCommand::Run(_) | LabCommand::List => return None,
            LabCommand::Compare(_) => "lab compare",
            LabCommand::Plan(_) => "lab plan",
            LabCommand::Check(_) => "lab check",
            LabCommand::Paper(_) => "lab paper",
        })
    }
}

/// `shoal lab run`.
#[derive(Args, Debug)]
pub struct LabRunArgs {
    /// Which: see `shoal lab list`
    pub scenario: String,
    /// Decides every chance in it
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Its size.
    #[command(flatten)]
    pub parameters: LabParameters,
}

/// The parameters of a scenario that were given, by name. Which there are, the lab says.
#[derive(Clone, Debug, Default)]
pub struct LabParameters(pub Vec<(&'static str, String)>);

impl Args for LabParameters {
    fn augment_args(command: Command) -> Command {
        let arg = |(name, min, max, about): &(&'static str, u64, u64, &'static str)| {
            let help = format!("{} [{min} to {max}]", about.trim());
            Arg::new(*name).long(*name).value_name("N").help(help).help_heading("Parameters")
        };
        command.args(lab_parameters().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LabParameters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &'static str| matches.get_one::<String>(name).map(|value| (name, value.clone()));
        Ok(LabParameters(lab_parameters().filter_map(|(name, ..)| given(name)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Those of swarms, then those of the DHT. No name is in both.
fn lab_parameters() -> impl Iterator<Item = &'static (&'static str, u64, u64, &'static str)> {
    lab::Params::ALL.iter().chain(lab::DhtParams::ALL)
}

fn unbuilt_flag(flag: &str, value: &Option<String>) -> Result<(), Failure> {
    match value {
        Some(_) => Err(Failure::unbuilt(flag)),
        None => Ok(()),
    }
}
