//! A host of its own behind a wire of a certain speed: a network namespace, a pair of veth devices, and a token bucket.

use std::process::Command;

use anyhow::Result;

use crate::run;

/// A packet of 1,514 bytes carries 1,448 of what is sent: the wire is as fast as that takes, so that the rate is that of the bytes.
const PACKET: f64 = 1514.0 / 1448.0;

/// One wire. The namespaces end with the harness's own.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) number: u8,
    /// The address at its far end.
    pub(super) address: String,
}

impl Wire {
    /// Makes wire `number`, which carries so many bytes of content a second from its far end to here.
    pub(super) fn new(number: u8, bytes_per_second: u64) -> Result<Self> {
        let (space, near) = (format!("far{number}"), format!("near{number}"));
        // One of an earlier run may be there.
        drop(Command::new("ip").args(["netns", "del", &space]).output());
        drop(Command::new("ip").args(["link", "del", &near]).output());
        let wire = Wire { number, address: format!("10.78.{number}.2") };
        let rate = format!("{}bit", (bytes_per_second as f64 * 8.0 * PACKET) as u64);
        // What may leave at once: a hundredth of a second's worth, and no less than a packet as the kernel cuts them last.
        let burst = (bytes_per_second / 100).max(64 << 10).to_string();
        let (here, there) = (format!("10.78.{number}.1/24"), format!("{}/24", wire.address));
        ip(&["netns", "add", &space])?;
        ip(&["link", "add", &near, "type", "veth", "peer", "name", "far", "netns", &space])?;
        ip(&["addr", "add", &here, "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", &space, "addr", "add", &there, "dev", "far"])?;
        ip(&["-n", &space, "link", "set", "far", "up"])?;
        let bucket = ["qdisc", "add", "dev", "far", "root", "tbf", "rate", &rate, "burst", &burst, "latency", "50ms"];
        run::run(Command::new("tc").args(["-n", &space]).args(bucket))?;
        Ok(wire)
    }

    /// The same command, started at the far end.
    pub(super) fn behind(&self, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &format!("far{}", self.number)]).arg(command.get_program());
        there.args(command.get_args());
        there
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &format!("far{}", self.number)]).output());
    }
}

fn ip(args: &[&str]) -> Result<()> {
    run::run(Command::new("ip").args(args))
}
