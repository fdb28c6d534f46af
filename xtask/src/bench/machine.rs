//! What a figure was measured on, and with which versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use sha1::{Digest, Sha1};

use super::clients::Programs;
use crate::run;

/// All of it, by name.
pub(super) fn about(programs: &Programs) -> Result<BTreeMap<String, String>> {
    let mut about = BTreeMap::new();
    let mut say = |name: &str, value: String| drop(about.insert(name.to_owned(), value));
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    say("processor", field(&cpu, "model name").unwrap_or("unknown").to_owned());
    say("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = field(&memory, "MemTotal").and_then(|t| t.split(' ').next()?.parse().ok()).unwrap_or(0);
    say("memory", format!("{:.0} GiB", kib as f64 / (1 << 20) as f64));
    say("kernel", first_line("uname", &["-sr"]));
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let os = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").trim_matches('"');
    say("system", os.to_owned());
    let control = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    say("congestion control", control.trim().to_owned());
    say("rustc", first_line("rustc", &["--version"]));
    say("sources", commit());
    say("ours", build(&programs.ours)?);
    if let Some(before) = &programs.before {
        say("before", build(before)?);
    }
    let python = programs.python.to_string_lossy().into_owned();
    say("libtorrent", first_line(&python, &["-c", "import libtorrent; print(libtorrent.version)"]));
    say("python", first_line(&python, &["--version"]));
    say("rqbit", first_line(&programs.rqbit.to_string_lossy(), &["--version"]));
    say("aria2", first_line("aria2c", &["--version"]));
    say("mktorrent", first_line("mktorrent", &["-h"]));
    say("nginx", first_line("sh", &["-c", "nginx -v 2>&1"]));
    say("php-fpm", first_line("php-fpm8.2", &["--version"]));
    say("wrk", first_line("sh", &["-c", "wrk -v 2>&1"]));
    say("curl", first_line("curl", &["--version"]));
    Ok(about)
}

/// The version and the first digits of the binary's SHA-1: two builds of the same version are not the same.
fn build(binary: &Path) -> Result<String> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let digest: String = Sha1::digest(&bytes).iter().take(5).map(|b| format!("{b:02x}")).collect();
    let version = first_line(&binary.to_string_lossy(), &["--version"]);
    Ok(format!("{version}, binary {digest}"))
}

fn commit() -> String {
    let id = run::output(&mut run::command("git", &["rev-parse", "--short=10", "HEAD"])).unwrap_or_default();
    // The page that this writes is in docs.
    let tracked = ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"];
    let dirty = run::output(&mut run::command("git", &tracked));
    let changed = if dirty.is_ok_and(|d| d.trim().is_empty()) { "" } else { " with changes" };
    format!("commit {}{changed}", id.trim())
}

fn first_line(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    let text = out.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("not found").trim().to_owned()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(name)?.trim_start().strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_found() {
        assert_eq!(field("a : 1\nmodel name\t: Fast One\n", "model name"), Some("Fast One"));
        assert_eq!(field("MemTotal:       24 kB\n", "MemTotal"), Some("24 kB"));
        assert_eq!(field("MemFree: 1\n", "MemTotal"), None);
    }
}
