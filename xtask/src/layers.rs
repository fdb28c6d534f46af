//! Who may use whom: the floors of the house, checked against `cargo metadata`.
//!
//! The table is the one of ARCHITECTURE.md. A room may use only rooms on floors below it, the pure rooms may use only the few foreign
//! crates that are listed here, and each of them has to carry the lints that keep clocks, chance and sockets out. Rooms of
//! later rounds are listed already, so that making one needs no change here.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::metadata::{self, Package};

const NOUNS: &[&str] = &["hash", "base"];
const SENTENCES: &[&str] = &["hash", "base", "wire"];
const VERBS: &[&str] = &["hash", "base", "wire", "swarm", "dht", "utp", "tracker", "chat"];
const PURE: &[&str] = &["hash", "base", "wire", "swarm", "dht", "utp", "tracker", "chat", "engine"];
const NODE: &[&str] = &["hash", "base", "wire", "swarm", "dht", "utp", "tracker", "chat", "engine", "node"];
const WEB: &[&str] = &["hash", "base", "wire", "swarm", "dht", "utp", "tracker", "chat", "engine", "node", "web"];
const ALL: &[&str] = &[
    "hash", "base", "wire", "swarm", "dht", "utp", "tracker", "chat", "engine", "node", "web", "hub", "console", "lab",
];

/// Each room, and the rooms that it may use, in tests as well.
const ROOMS: &[(&str, &[&str])] = &[
    ("hash", &[]),
    ("base", &["hash"]),
    ("wire", NOUNS),
    ("swarm", SENTENCES),
    ("dht", SENTENCES),
    ("utp", SENTENCES),
    ("tracker", SENTENCES),
    ("chat", SENTENCES),
    ("engine", VERBS),
    ("node", PURE),
    ("web", NODE),
    ("hub", WEB),
    ("console", WEB),
    ("lab", PURE),
    ("shoal", ALL),
];

/// Rooms without sockets, files, threads, async, clocks and ambient chance.
const LAWFUL: &[&str] = &["hash", "base", "wire", "swarm", "dht", "utp", "tracker", "chat", "engine", "lab"];

/// Rooms in which a function may be unsafe if it says why.
const UNSAFE: &[&str] = &["hash"];

/// Foreign crates that compute and nothing else. Whatever joins this list must not open, spawn, wait or look at a clock.
const PURE_FOREIGN: &[&str] = &[
    "bytes",
    "ed25519-dalek",
    "flate2",
    "hashbrown",
    "quick-xml",
    "rand_chacha",
    "rc4",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "siphasher",
    "slab",
    "thiserror",
];

/// What tests of the pure rooms may use besides.
const PURE_FOREIGN_DEV: &[&str] = &["proptest", "insta", "dhat", "cap", "stats_alloc", "peak_alloc"];

/// Packages that are no rooms: they may use any room, and no room may use them.
const OUTSIDE: &[&str] = &["xtask", "interop", "fuzz"];

/// Checks the whole house; the error lists every fault, a line each.
pub(crate) fn check() -> Result<()> {
    let packages = metadata::packages(false)?;
    let mut faults = Vec::new();
    for package in &packages {
        check_room(package, &mut faults);
        check_lints(package, &mut faults);
    }
    ensure!(faults.is_empty(), "the layers are broken:\n  {}", faults.join("\n  "));
    Ok(())
}

fn check_room(package: &Package, faults: &mut Vec<String>) {
    let name = package.name.as_str();
    if OUTSIDE.contains(&name) {
        return;
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == name) else {
        faults.push(format!("{name} is no room of the house: see the table of ARCHITECTURE.md"));
        return;
    };
    if !Path::new(&package.manifest).ends_with(format!("crates/{name}/Cargo.toml")) {
        faults.push(format!("{name} does not lie in crates/{name}: {}", package.manifest));
    }
    for dependency in &package.dependencies {
        let other = dependency.name.as_str();
        let ours = OUTSIDE.contains(&other) || ROOMS.iter().any(|(room, _)| *room == other);
        let itself = dependency.dev && other == name; // a room may turn on its own features for its tests
        if ours && !itself && !allowed.contains(&other) {
            faults.push(format!("{name} uses {other}, which is not below it"));
        }
        let known = PURE_FOREIGN.contains(&other) || (dependency.dev && PURE_FOREIGN_DEV.contains(&other));
        if !ours && LAWFUL.contains(&name) && !known {
            faults.push(format!("{name} is a pure room and uses {other}, which is not on the list of pure crates"));
        }
    }
}

fn check_lints(package: &Package, faults: &mut Vec<String>) {
    let name = package.name.as_str();
    let folder = Path::new(&package.manifest).parent().unwrap_or(Path::new("."));
    let manifest = fs::read_to_string(&package.manifest).unwrap_or_default();
    // Where unsafe code may be, one function at a time, the room repeats the table: a lint that is forbidden can't be allowed.
    let own = UNSAFE.contains(&name) && manifest.contains("unsafe_code = \"deny\"");
    if !own && !manifest.contains("[lints]\nworkspace = true") {
        faults.push(format!("{name} does not inherit the lints of the workspace"));
    }
    if LAWFUL.contains(&name) {
        let link = fs::read_link(folder.join("clippy.toml")).unwrap_or_default();
        if link != Path::new("../../clippy.pure.toml") {
            faults.push(format!("crates/{name}/clippy.toml is no link to ../../clippy.pure.toml"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    #[test]
    fn the_house_stands() {
        check().unwrap();
    }

    fn faults(room: &str, other: &str, dev: bool) -> Vec<String> {
        let package = Package {
            name: room.into(),
            version: "0.1.0".into(),
            licence: None,
            manifest: format!("/x/crates/{room}/Cargo.toml"),
            foreign: false,
            dependencies: vec![Dependency { name: other.into(), dev }],
        };
        let mut faults = Vec::new();
        check_room(&package, &mut faults);
        faults
    }

    #[test]
    fn what_is_not_below_is_a_fault() {
        for (room, other, dev) in [
            ("base", "wire", false),
            ("swarm", "tracker", false),
            ("swarm", "engine", true),
            ("lab", "node", false),
            ("web", "hub", false),
            ("engine", "tokio", false),
            ("wire", "rustix", true),
            ("swarm", "proptest", false),
            ("node", "interop", true),
            ("attic", "base", false),
        ] {
            assert_eq!(faults(room, other, dev).len(), 1, "{room} -> {other}");
        }
    }

    #[test]
    fn what_is_below_is_fine() {
        for (room, other, dev) in [
            ("wire", "base", false),
            ("engine", "tracker", false),
            ("node", "engine", false),
            ("node", "tokio", false),
            ("swarm", "proptest", true),
            ("swarm", "swarm", true),
            ("shoal", "lab", false),
            ("interop", "base", false),
        ] {
            assert_eq!(faults(room, other, dev), Vec::<String>::new(), "{room} -> {other}");
        }
    }
}
