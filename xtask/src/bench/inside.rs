//! A world of its own for the runs: network, mounts and processes.
//!
//! Only the loopback device is there, with 10.77.0.0/16 on it, since some clients refuse 127.0.0.0/8 as peers. The process
//! namespace makes the kernel end every client when the harness ends, however it ends.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Set for the second life of the harness.
const INSIDE: &str = "SHOAL_BENCH_INSIDE";

/// Clients listen on ports from 50000, which no connection that goes out may hold, nor its remains.
const SCRIPT: &str = "echo 20000 49999 > /proc/sys/net/ipv4/ip_local_port_range; ip link set lo up; ip addr add 10.77.0.1/16 dev lo; ip addr add 10.77.0.11/32 dev lo; ulimit -n 20000; exec \"$@\"";

/// Are we inside already?
pub(super) fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this very program again, inside, with these arguments.
pub(super) fn enter(args: &[String]) -> Result<()> {
    let unshare = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    let possible = Command::new("unshare").args(unshare).arg("true").output().context("cannot start unshare")?;
    ensure!(
        possible.status.success(),
        "the comparison needs a network namespace of its own, which takes root here: {}",
        String::from_utf8_lossy(&possible.stderr).trim()
    );
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let program = std::env::current_exe().context("cannot find this program itself")?;
    let mut command = Command::new("unshare");
    command.args(unshare).args(["sh", "-ec", SCRIPT, "sh"]).arg(program).arg("bench").args(args);
    let status = command.env(INSIDE, "1").env("PATH", path).status().context("cannot start unshare")?;
    if !status.success() {
        bail!("the comparison ended with {status}");
    }
    Ok(())
}
