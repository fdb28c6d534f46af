//! The mirrors of a site: who may be one, who says so, and what came of looking.
//!
//! Others are told of a mirror only after it has given the right bytes, and only as long as it goes on doing so. It counts for an
//! item only while it has the same content: what changed here is not at any mirror until that says so.

use crate::catalogue::{ITEMS_MAX, REGISTER_EVERY, Registered, Registration};
use crate::mirrors::{Mirror, Mirrors};
use crate::network::Network;
use axum::http::Uri;
use base::Scope;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Mirrors at once.
const MIRRORS_MAX: usize = 64;
/// Mirrors that one address may have.
const OF_ONE_MAX: usize = 8;
/// Time without a word after which a mirror is forgotten.
const SILENCE: Duration = Duration::from_secs(90);
/// Time between two looks at a mirror.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Time for which nobody is told of a mirror that gave other bytes.
const PENALTY: Duration = Duration::from_secs(600);
/// Bytes of an address.
const URL_MAX: usize = 512;

/// Who may be a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Nobody.
    #[default]
    Nobody,
    /// Whoever is on this machine or a network of its own.
    Near,
    /// Anybody.
    Anybody,
    /// Whoever is in one of these networks.
    Networks(Vec<Network>),
}

impl Allowed {
    fn permits(&self, ip: IpAddr) -> bool {
        match self {
            Allowed::Nobody => false,
            Allowed::Near => Scope::of(ip).is_some_and(Scope::is_local),
            Allowed::Anybody => true,
            Allowed::Networks(all) => all.iter().any(|network| network.contains(ip)),
        }
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "any" => Allowed::Anybody,
            "none" => Allowed::Nobody,
            "near" => Allowed::Near,
            _ => Allowed::Networks(
                text.split(',')
                    .map(|one| one.trim().parse())
                    .collect::<Result<_, _>>()
                    .map_err(|e: String| format!("{e}; or any, near or none"))?,
            ),
        })
    }
}

/// What a site does about mirrors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorRules {
    /// Who may be one.
    pub allowed: Allowed,
    /// While there are so many downloads at once, others are sent to mirrors.
    pub redirect_above: Option<usize>,
    /// Who comes from this network is sent to this mirror.
    pub redirect_networks: Vec<(Network, String)>,
}

impl MirrorRules {
    /// Whether whoever asks from here may be a mirror.
    ///
    /// # Errors
    /// Why not, in words for people.
    pub(super) fn permit(&self, from: IpAddr) -> Result<(), String> {
        let from = from.to_canonical();
        let refused = || format!("{from} may not be a mirror here; whoever runs this server says who may (--mirrors)");
        if self.allowed.permits(from) { Ok(()) } else { Err(refused()) }
    }
}

/// What is known of a mirror.
#[derive(Debug)]
struct Known {
    from: IpAddr,
    items: BTreeMap<String, String>,
    heard: Instant,
    /// Downloads that it told of, and those that were sent to it since.
    busy: u32,
    state: State,
    look: Instant,
    /// Somebody is looking at it.
    looking: bool,
    wrong: BTreeSet<String>,
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not looked at yet, or not reached.
    New,
    /// It gives what it should.
    Live,
    /// It gave something else.
    Out(Instant),
}

/// A mirror to look at.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) url: String,
    /// How near it may be: as near as who registered it.
    pub(super) scope: Scope,
    pub(super) items: BTreeMap<String, String>,
    /// It was not looked at yet.
    pub(super) new: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Good,
    /// There was nothing to compare.
    Nothing,
    Unreachable(String),
    /// It does not have this item, or another version.
    Stale(String),
    /// It gave other bytes.
    Altered(String),
}

/// All mirrors.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<BTreeMap<String, Known>>);

impl Registry {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a registration that came from `from`.
    ///
    /// # Errors
    /// Why not, in words for people.
    pub(super) fn register(
        &self,
        told: Registration,
        from: IpAddr,
        rules: &MirrorRules,
        now: Instant,
    ) -> Result<Registered, String> {
        let from = from.to_canonical();
        rules.permit(from)?;
        let url = origin(&told.url).ok_or_else(|| {
            format!("{:.100}: a mirror's address is a scheme, a host and perhaps a port: http://host:8080", told.url)
        })?;
        let mut items = told.items;
        while items.len() > ITEMS_MAX {
            items.pop_last();
        }
        let mut known = self.known();
        known.retain(|_, mirror| {
            now < mirror.heard + SILENCE || matches!(mirror.state, State::Out(until) if now < until)
        });
        let of_one = known.iter().filter(|(other, mirror)| mirror.from == from && **other != url).count();
        if !known.contains_key(&url) && known.len() >= MIRRORS_MAX || of_one >= OF_ONE_MAX {
            return Err(format!("there are {MIRRORS_MAX} mirrors, or {OF_ONE_MAX} of {from}; no more are taken"));
        }
        let mirror = known.entry(url).or_insert_with(|| Known {
            from,
            items: BTreeMap::new(),
            heard: now,
            busy: 0,
            state: State::New,
            look: now,
            looking: false,
            wrong: BTreeSet::new(),
            why: None,
        });
        if mirror.from != from && mirror.state == State::Live {
            return Err("somebody else has registered this address".into());
        }
        (mirror.from, mirror.heard, mirror.busy) = (from, now, told.busy);
        match mirror.state {
            State::Out(until) if now >= until => mirror.state = State::New,
            State::New if mirror.items != items => mirror.look = now,
            _ => {}
        }
        mirror.items = items;
        let listed = mirror.state == State::Live;
        let wrong = std::mem::take(&mut mirror.wrong).into_iter().collect();
        Ok(Registered { again: REGISTER_EVERY.as_secs(), listed, wrong, why: mirror.why.clone() })
    }

    /// Those that have this version of an item, the least busy first.
    pub(super) fn of(&self, name: &str, tag: &str, now: Instant) -> Mirrors {
        let known = self.known();
        let has = |mirror: &Known| mirror.items.get(name).is_some_and(|has| has == tag);
        let live = |mirror: &Known| mirror.state == State::Live && now < mirror.heard + SILENCE;
        let mut all: Vec<_> = known.iter().filter(|(_, m)| live(m) && has(m)).map(|(url, m)| (m.busy, url)).collect();
        all.sort();
        let mirror = |(place, (_, url)): (usize, (u32, &String))| Mirror {
            base: url.clone(),
            priority: u32::try_from(place + 1).ok(),
            location: None,
        };
        Mirrors(all.into_iter().enumerate().map(mirror).collect())
    }

    /// Somebody was sent there.
    pub(super) fn sent(&self, url: &str) {
        if let Some(mirror) = self.known().get_mut(url) {
            mirror.busy = mirror.busy.saturating_add(1);
        }
    }

    /// Those that have to be looked at now. They are not due again before somebody has [`Registry::looked`].
    pub(super) fn due(&self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        for (url, mirror) in &mut *self.known() {
            let out = matches!(mirror.state, State::Out(_));
            if out || mirror.looking || mirror.look > now || now >= mirror.heard + SILENCE || mirror.items.is_empty() {
                continue;
            }
            (mirror.look, mirror.looking) = (now + CHECK_EVERY, true);
            let (items, new) = (mirror.items.clone(), mirror.state == State::New);
            due.push(Due { url: url.clone(), scope: Scope::of(mirror.from).unwrap_or(Scope::Global), items, new });
        }
        due
    }

    /// Notes what came of looking.
    pub(super) fn looked(&self, url: &str, seen: Seen, now: Instant) {
        let mut known = self.known();
        let Some(mirror) = known.get_mut(url) else { return };
        mirror.looking = false;
        match seen {
            Seen::Good => (mirror.state, mirror.why) = (State::Live, None),
            Seen::Nothing => {}
            Seen::Unreachable(why) => (mirror.state, mirror.why) = (State::New, Some(why)),
            Seen::Stale(name) => {
                mirror.why = Some(format!("it did not have {name} as it is here"));
                mirror.items.remove(&name);
                mirror.wrong.insert(name);
            }
            Seen::Altered(name) => {
                tracing::warn!("the mirror {url} gave other bytes of {name}; nobody is told of it for a while");
                mirror.why = Some(format!("it gave other bytes of {name}"));
                mirror.state = State::Out(now + PENALTY);
                mirror.items.remove(&name);
                mirror.wrong.insert(name);
            }
        }
    }
}

/// The address of a server: scheme, host and port, written in one way. None: it is something else.
pub fn origin(text: &str) -> Option<String> {
    if text.len() > URL_MAX {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|s| matches!(*s, "http" | "https"))?;
    let authority = uri.authority().filter(|a| !a.as_str().contains('@') && !a.host().is_empty())?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains('#');
    let usual = if scheme == "http" { 80 } else { 443 };
    let port = authority.port_u16().filter(|port| *port != usual).map(|port| format!(":{port}")).unwrap_or_default();
    let ends = authority.as_str().ends_with(':') || authority.port().is_some() && authority.port_u16().is_none();
    (plain && !ends).then(|| format!("{scheme}://{}{port}", authority.host().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str, items: &[(&str, &str)]) -> Registration {
        let items = items.iter().map(|(name, tag)| ((*name).into(), (*tag).into())).collect();
        Registration { url: url.into(), items, busy: 0 }
    }

    fn rules(allowed: Allowed) -> MirrorRules {
        MirrorRules { allowed, ..MirrorRules::default() }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn who_may_be_a_mirror() {
        let may = |allowed: &str, ip: &str| allowed.parse::<Allowed>().unwrap().permits(ip.parse().unwrap());
        assert!(may("any", "9.9.9.9") && !may("none", "127.0.0.1"));
        assert!(may("near", "10.1.1.1") && may("near", "::1") && !may("near", "9.9.9.9"));
        assert!(may("9.9.0.0/16, ::1", "9.9.1.1") && may("9.9.0.0/16,::1", "::1") && !may("9.9.0.0/16", "10.0.0.1"));
        assert!("some".parse::<Allowed>().is_err() && "".parse::<Allowed>().is_err());
        let (registry, now) = (Registry::default(), Instant::now());
        let refused = registry.register(told("http://h", &[]), HERE, &MirrorRules::default(), now).unwrap_err();
        assert!(refused.contains("127.0.0.1") && refused.contains("--mirrors"), "{refused}");
    }

    #[test]
    fn addresses_of_servers() {
        assert_eq!(origin("http://H.example:80/").as_deref(), Some("http://h.example"));
        assert_eq!(origin("https://[2001:db8::1]:8443").as_deref(), Some("https://[2001:db8::1]:8443"));
        for wrong in
            ["", "h", "ftp://h", "http://", "http://u@h", "http://h/x", "http://h?x", "http://h/#x", "http://h:", "/"]
        {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
        assert_eq!(origin(&format!("http://{}", "h".repeat(600))), None);
    }

    #[test]
    fn a_mirror_counts_while_it_lives_and_for_what_it_has() {
        let (registry, now, rules) = (Registry::default(), Instant::now(), rules(Allowed::Near));
        let register = |url: &str, at| registry.register(told(url, &[("a", "1"), ("b", "2")]), HERE, &rules, at);
        assert!(!register("http://m:1", now).unwrap().listed);
        let named = |name: &str, tag: &str, at| registry.of(name, tag, at).0.len();
        assert_eq!(named("a", "1", now), 0, "nobody looked at it yet");
        let due = registry.due(now);
        assert_eq!((due.len(), due[0].scope, due[0].new), (1, Scope::Loopback, true));
        register("http://m:1", now + CHECK_EVERY).unwrap();
        assert!(registry.due(now + CHECK_EVERY).is_empty(), "somebody is looking at it, however long that takes");
        registry.looked("http://m:1", Seen::Good, now);
        assert_eq!([named("a", "1", now), named("a", "2", now), named("c", "1", now)], [1, 0, 0]);
        assert!(register("http://m:1", now).unwrap().listed);
        assert_eq!(named("a", "1", now + SILENCE), 0, "it went without a word");
        registry.looked("http://m:1", Seen::Stale("a".into()), now);
        assert_eq!([named("a", "1", now), named("b", "2", now)], [0, 1]);
        let again = register("http://m:1", now).unwrap();
        assert_eq!((again.listed, again.wrong), (true, vec!["a".to_owned()]));
        registry.looked("http://m:1", Seen::Altered("b".into()), now);
        let again = register("http://m:1", now).unwrap();
        assert_eq!((again.listed, again.wrong, named("a", "1", now)), (false, vec!["b".to_owned()], 0));
        assert!(registry.due(now + CHECK_EVERY).is_empty());
        register("http://m:1", now + PENALTY).unwrap();
        assert_eq!(registry.due(now + PENALTY).len(), 1, "it may prove itself again");
        registry.looked("http://m:1", Seen::Good, now + PENALTY);
        registry.looked("http://m:1", Seen::Unreachable("gone".into()), now + PENALTY);
        assert_eq!(named("a", "1", now + PENALTY), 0);
    }

    #[test]
    fn the_least_busy_comes_first_and_there_are_limits() {
        let (registry, now, rules) = (Registry::default(), Instant::now(), rules(Allowed::Anybody));
        for url in ["http://m:1", "http://m:2"] {
            registry.register(told(url, &[("a", "1")]), HERE, &rules, now).unwrap();
            registry.looked(url, Seen::Good, now);
        }
        let first = || registry.of("a", "1", now).0[0].base.clone();
        assert_eq!(first(), "http://m:1");
        registry.sent("http://m:1");
        assert_eq!(first(), "http://m:2");
        let taken = registry.register(told("http://m:1", &[]), "9.9.9.9".parse().unwrap(), &rules, now);
        assert!(taken.unwrap_err().contains("somebody else"));
        let from = |n: usize| IpAddr::from([10, 0, (n / OF_ONE_MAX) as u8, 1]);
        let all = (0..MIRRORS_MAX + 9)
            .map(|n| registry.register(told(&format!("http://x:{}", n + 1), &[]), from(n), &rules, now).is_ok());
        assert_eq!(all.filter(|ok| *ok).count(), MIRRORS_MAX - 2);
        let one = (0..20)
            .map(|n| Registry::default().register(told(&format!("http://y:{n}"), &[]), HERE, &rules, now).is_ok());
        assert_eq!(one.filter(|ok| *ok).count(), 20);
        let fresh = Registry::default();
        let of_one = (1..20).map(|n| fresh.register(told(&format!("http://y:{n}"), &[]), HERE, &rules, now).is_ok());
        assert_eq!(of_one.filter(|ok| *ok).count(), OF_ONE_MAX);
    }
}
