//! The flags that have to do with mirrors, on both sides.

use super::address;
use crate::failure::Failure;
use crate::units::{self, Size, UnitError};
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use web::{Allowed, MirrorRules, Network};

/// A smaller limit on all copies together is a unit that was left away.
const CACHE_MIN: u64 = 1 << 20;

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
    #[arg(long, value_name = "SIZE", value_parser = cache_size)]
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

fn cache_size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse().map_err(|e: UnitError| e.to_string())?;
    if size.0 >= CACHE_MIN {
        return Ok(size);
    }
    let bytes = units::count(size.0, "byte");
    Err(match text.trim().bytes().all(|b| b.is_ascii_digit()) && size.0 > 0 {
        true => format!("{} is {bytes}; did you mean {}G?", text.trim(), size.0),
        false => format!("{} is {bytes}; a mirror needs 1M at least", text.trim()),
    })
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
    fn a_cache_of_some_bytes_is_a_mistake() {
        assert_eq!(cache_size("1M"), Ok(Size(1 << 20)));
        assert_eq!(cache_size("2500000"), Ok(Size(2_500_000)));
        let why = |text| cache_size(text).unwrap_err();
        assert_eq!(why("5"), "5 is 5 bytes; did you mean 5G?");
        assert_eq!(why("1"), "1 is 1 byte; did you mean 1G?");
        assert!(why("0").contains("1M at least") && why("10K").starts_with("10K is 10240 bytes"), "{}", why("10K"));
        assert!(why("x").contains("number"));
    }

    #[test]
    fn a_network_and_a_mirror() {
        let (network, url) = redirect("192.0.2.0/24=http://M.example:8080/").unwrap();
        assert!(network.contains("192.0.2.7".parse().unwrap()) && url == "http://m.example:8080");
        for wrong in ["", "192.0.2.0/24", "x=http://m", "192.0.2.0/24=m", "192.0.2.0/24=http://m/x"] {
            assert!(redirect(wrong).is_err(), "{wrong}");
        }
    }
}
