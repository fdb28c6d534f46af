//! The flags that have to do with mirrors, on both sides.

use super::address;
use crate::failure::Failure;
use crate::units::Size;
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use web::{Allowed, MirrorRules, Network};

/// Where a mirror listens unless it is told otherwise: for this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// `shoal mirror`.
#[derive(Args, Debug)]
pub struct MirrorArgs {
    /// The server to mirror, a `shoal share` or `shoal serve --share`: http://host:8080
    #[arg(value_name = "ORIGIN")]
    pub origin: String,
    /// Keep copies in this folder [default: in the data folder]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Listen here
    #[arg(long, value_name = "ADDR:PORT", default_value_t = LISTEN, value_parser = address::listen)]
    pub listen: SocketAddr,
    /// Keep copies of so much at most; what nobody asked for longest makes room [default: what the disk holds]
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,
    /// The address to tell the origin, if others reach this machine by another one than where it listens
    #[arg(long, value_name = "URL")]
    pub public: Option<String>,
}

impl MirrorArgs {
    /// The address of the server, without a slash at the end.
    pub fn origin(&self) -> Result<String, Failure> {
        let text = &self.origin;
        let whole = if text.contains("://") { text.clone() } else { format!("http://{text}") };
        web::server_address(&whole).ok_or_else(|| {
            Failure::usage(format!("{text}: name a server by its address alone, as in http://host:8080"))
        })
    }
}

/// What a server that shares does about mirrors.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mirrors")]
pub struct MirrorsArgs {
    /// Who may be a mirror: any, near (this machine and networks of its own), none, or networks as in 192.0.2.0/24,2001:db8::/32
    #[arg(long, value_name = "WHO", default_value = "near")]
    pub mirrors: Allowed,
    /// With N downloads at once, send further ones to mirrors
    #[arg(long, value_name = "N")]
    pub redirect_above: Option<usize>,
    /// Send who comes from this network to this mirror, while that lives; may be repeated
    #[arg(long, value_name = "NETWORK=URL", value_parser = redirect)]
    pub redirect: Vec<(Network, String)>,
}

impl MirrorsArgs {
    /// The same, as the site takes it.
    pub fn rules(&self) -> MirrorRules {
        let MirrorsArgs { mirrors, redirect_above, redirect } = self.clone();
        MirrorRules { allowed: mirrors, redirect_above, redirect_networks: redirect }
    }

    /// Nothing was said.
    pub fn is_usual(&self) -> bool {
        self.mirrors == Allowed::Near && self.redirect_above.is_none() && self.redirect.is_empty()
    }
}

fn redirect(text: &str) -> Result<(Network, String), String> {
    let (network, url) = text.split_once('=').ok_or("write a network, a = and the address of a mirror")?;
    let url = web::server_address(url)
        .ok_or_else(|| format!("{url:?} is no address of a server; write it as in http://host:8080"))?;
    Ok((network.parse()?, url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_and_a_mirror() {
        let (network, url) = redirect("192.0.2.0/24=http://M.example:8080/").unwrap();
        assert!(network.contains("192.0.2.7".parse().unwrap()) && url == "http://m.example:8080");
        for wrong in ["", "192.0.2.0/24", "x=http://m", "192.0.2.0/24=m", "192.0.2.0/24=http://m/x"] {
            assert!(redirect(wrong).is_err(), "{wrong}");
        }
    }
}
