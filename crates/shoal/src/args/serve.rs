//! The flags of the web server.

use super::{MirrorsArgs, address};
use crate::failure::Failure;
use crate::units::{Size, Span};
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use web::{Address, ProgramLimits, Route};

/// Where the web server listens unless it is told otherwise: for this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Connections that a web server has unless it is told otherwise.
const CONNECTIONS: usize = 4_096;

/// `shoal serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The folder
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Listen here
    #[arg(long, value_name = "ADDR:PORT", default_value_t = LISTEN, value_parser = address::listen)]
    pub listen: SocketAddr,
    /// Don't show what is in folders without an index page
    #[arg(long)]
    pub no_listing: bool,
    /// Follow symbolic links that lead out of the folder
    #[arg(long)]
    pub follow_links: bool,
    /// Write requests down in this file, in the common format; - is standard output
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// Write whole addresses there: usually the last part is left out
    #[arg(long, requires = "access_log")]
    pub log_addresses: bool,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(CONNECTIONS).unwrap_or(NonZeroUsize::MIN))]
    pub max_connections: NonZeroUsize,
    /// Threads that answer [default: one for each core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Files with this extension are programs (CGI): run by PROGRAM, or where it is empty by themselves; may be repeated
    #[arg(long, value_name = "EXT=PROGRAM", value_parser = cgi, help_heading = "Programs")]
    pub cgi: Vec<Runner<Option<PathBuf>>>,
    /// Files with this extension are programs of the FastCGI server at ADDR (a path, or host:port); may be repeated
    #[arg(long, value_name = "EXT=ADDR", value_parser = fastcgi, help_heading = "Programs")]
    pub fastcgi: Vec<Runner<Address>>,
    /// Tell programs a variable more, or one of this environment; may be repeated
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable, help_heading = "Programs")]
    pub env: Vec<(String, String)>,
    /// Programs at once; further requests wait
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(ProgramLimits::default().running).unwrap_or(NonZeroUsize::MIN), help_heading = "Programs")]
    pub max_programs: NonZeroUsize,
    /// Longest silence of a program before it is ended
    #[arg(long, value_name = "TIME", default_value = "60s", help_heading = "Programs")]
    pub program_timeout: Span,
    /// Largest body of a request
    #[arg(long, value_name = "SIZE", default_value = "64MiB", help_heading = "Programs")]
    pub max_body: Size,
    /// Hand requests for paths that begin with PREFIX to the application server at URL; a path in the URL takes the place of the prefix; may be repeated
    #[arg(long, value_name = "PREFIX=URL", help_heading = "Programs")]
    pub proxy: Vec<Route>,
    /// Let in only names and passwords that are in this file: lines that `shoal passwd NAME` makes
    #[arg(long, value_name = "FILE")]
    pub auth: Option<PathBuf>,
    /// Accept files (PUT), whole or not at all
    #[arg(long)]
    pub write: bool,
    /// Largest file to accept
    #[arg(long, value_name = "SIZE", default_value = "16GiB")]
    pub max_file: Size,
    /// Share each file and folder under /f/, too: with page, torrent, Metalink, tracker and seed
    #[arg(long, help_heading = "Sharing")]
    pub share: bool,
    /// The address to put into links, if others reach this machine by another one than where it listens
    #[arg(long, value_name = "URL", requires = "share", help_heading = "Sharing")]
    pub public: Option<String>,
    /// Listen for peers here [default: the first free port from 6881 on all interfaces; any port of this machine alone where --listen is
    /// for this machine alone]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::listen, requires = "share", help_heading = "Sharing")]
    pub peer_listen: Option<SocketAddr>,
    /// Mirrors of what is shared.
    #[command(flatten)]
    pub mirrors: MirrorsArgs,
}

impl ServeArgs {
    /// Refuses what can't go together.
    pub fn check(&self) -> Result<(), Failure> {
        if self.write && !(self.cgi.is_empty() && self.fastcgi.is_empty()) {
            return Err(Failure::usage(
                "--write can't go with --cgi or --fastcgi: who may write files beside programs can change what they do",
            ));
        }
        if self.share && !(self.cgi.is_empty() && self.fastcgi.is_empty()) {
            return Err(Failure::usage(
                "--share can't go with --cgi or --fastcgi: programs would be given away as files",
            ));
        }
        if !self.share && !self.mirrors.is_usual() {
            return Err(Failure::usage("--mirrors, --redirect-above and --redirect are for what --share shares"));
        }
        if self.program_timeout.0.is_zero() {
            return Err(Failure::usage("--program-timeout 0 would give no program time to answer; write 1s or more"));
        }
        if self.share && self.auth.is_some() {
            return Err(Failure::usage("--share can't go with --auth: peers ask nobody for a password"));
        }
        Ok(())
    }
}

/// `shoal passwd`.
#[derive(Args, Debug)]
pub struct PasswdArgs {
    /// Whose password it is
    pub name: String,
}

/// Who runs the files of one extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner<T> {
    /// Without its dot.
    pub extension: String,
    /// Who.
    pub by: T,
}

fn runner<T>(text: &str, by: impl FnOnce(&str) -> Result<T, String>) -> Result<Runner<T>, String> {
    let (extension, rest) = text.split_once('=').ok_or("write the extension, a = and who runs such files")?;
    let extension = extension.strip_prefix('.').unwrap_or(extension);
    if extension.is_empty() || extension.contains(['/', '.']) {
        return Err(format!("{extension:?} is no extension"));
    }
    Ok(Runner { extension: extension.to_owned(), by: by(rest)? })
}

fn cgi(text: &str) -> Result<Runner<Option<PathBuf>>, String> {
    runner(text, |program| {
        let path = PathBuf::from(program);
        match program {
            "" => Ok(None),
            // Programs run in the folder of their file.
            _ if program.contains('/') => std::path::absolute(path).map(Some).map_err(|e| e.to_string()),
            _ => Ok(Some(path)),
        }
    })
}

fn fastcgi(text: &str) -> Result<Runner<Address>, String> {
    runner(text, |address| match address.parse()? {
        Address::Unix(path) => std::path::absolute(path).map(Address::Unix).map_err(|e| e.to_string()),
        tcp => Ok(tcp),
    })
}

fn variable(text: &str) -> Result<(String, String), String> {
    let inherited =
        || std::env::var(text).map_err(|_| format!("{text} is no variable here; write a name, a = and its value"));
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (text, inherited()?),
    };
    let sound = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if sound { Ok((name.to_owned(), value)) } else { Err(format!("{name:?} is no name of a variable")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_what() {
        assert_eq!(cgi("sh="), Ok(Runner { extension: "sh".into(), by: None }));
        assert_eq!(cgi(".py=python3").unwrap().by, Some("python3".into()));
        assert!(cgi("py=./x").unwrap().by.unwrap().is_absolute());
        assert_eq!(fastcgi("php=/run/php.sock").unwrap().by, Address::Unix("/run/php.sock".into()));
        assert_eq!(fastcgi("php=127.0.0.1:9000").unwrap().by, Address::Tcp("127.0.0.1:9000".into()));
        for wrong in ["php", "=x", "a/b=x", ".=x", "a.b=x"] {
            assert!(cgi(wrong).is_err(), "{wrong}");
        }
        assert!(fastcgi("php=9000").is_err());
    }
}
