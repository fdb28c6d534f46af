//! A world of its own for the whole run: network, mounts and processes.
//!
//! Clients refuse 127.0.0.0/8 as peers (Transmission does), so the loopback device carries 10.77.0.0/16 as well. The process namespace
//! makes the kernel end every client when the run ends, however it ends.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Set for the second life of the test binary.
const INSIDE: &str = "SHOAL_INTEROP_INSIDE";

const SCRIPT: &str = "ip link set lo up; ip addr add 10.77.0.1/16 dev lo; ulimit -n 4096; exec \"$@\"";

/// Are we inside already?
#[must_use]
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this very program again with the same arguments, inside; gives its exit code.
///
/// # Errors
/// When the kernel does not let us: that takes root.
pub fn run_inside() -> Result<i32> {
    let unshare = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    let possible = Command::new("unshare").args(unshare).arg("true").output().context("cannot start unshare")?;
    ensure!(
        possible.status.success(),
        "these tests need a network namespace of their own, which takes root here: {}",
        String::from_utf8_lossy(&possible.stderr).trim()
    );
    let program = std::env::current_exe().context("cannot find the test binary itself")?;
    let status = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-ec", SCRIPT, "sh"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .env("PATH", path_with_sbin())
        .status()
        .context("cannot start unshare")?;
    Ok(status.code().unwrap_or(1))
}

fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
