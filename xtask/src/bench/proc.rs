//! What the kernel says of a process: time on the cores, and memory. All of it is of the whole process, with its threads.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// Time on the cores, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    /// In the program.
    pub(super) user: f64,
    /// In the kernel, on its behalf.
    pub(super) system: f64,
}

impl Cpu {
    /// Both.
    pub(super) fn total(self) -> f64 {
        self.user + self.system
    }

    /// What was used since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }

    /// Spread over a number of anything.
    pub(super) fn per(self, number: f64) -> Self {
        Self { user: self.user / number, system: self.system / number }
    }
}

/// Memory, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// The most that was resident at once (`VmHWM`).
    pub(super) peak: u64,
    /// Resident now.
    pub(super) resident: u64,
    /// Of that, the program's own: heap and stacks.
    pub(super) anonymous: u64,
    /// Of that, pages of files, the program's own text among them.
    pub(super) file: u64,
    /// Of that, pages of tmpfs that are mapped.
    pub(super) shmem: u64,
}

/// The time that a process has used so far; one that has ended and was not waited for still has it.
pub(super) fn cpu(pid: u32) -> Result<Cpu> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_stat(&text, ticks_per_second()).with_context(|| format!("{path} says {text:?}"))
}

/// The memory of a process that runs.
pub(super) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_status(&text).with_context(|| format!("{path} names no memory: the process has ended"))
}

fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let out = Command::new("getconf").arg("CLK_TCK").output().ok();
        out.and_then(|o| String::from_utf8_lossy(&o.stdout).trim().parse().ok()).unwrap_or(100.0)
    })
}

/// The name in brackets may hold spaces and brackets, so the fields are counted from the last one.
fn parse_stat(text: &str, ticks: f64) -> Option<Cpu> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11).map(|f| f.parse::<f64>().ok());
    Some(Cpu { user: fields.next()?? / ticks, system: fields.next()?? / ticks })
}

fn parse_status(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Memory {
        peak: field("VmHWM")?,
        resident: field("VmRSS")?,
        anonymous: field("RssAnon")?,
        file: field("RssFile")?,
        shmem: field("RssShmem")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let text = "42 (a ) (b) S 1 42 42 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 3 0 100 1 2";
        let cpu = parse_stat(text, 100.0).unwrap();
        assert_eq!(cpu, Cpu { user: 2.5, system: 0.75 });
        assert_eq!(cpu.since(Cpu { user: 0.5, system: 0.25 }).per(2.0), Cpu { user: 1.0, system: 0.25 });
        assert_eq!(parse_stat("42 (a) S 1", 100.0), None);
    }

    #[test]
    fn memory_is_read_by_name() {
        let text = "Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\nRssAnon:\t 512 kB\nRssFile:\t 500 kB\nRssShmem:\t 12 kB\n";
        let expected = Memory { peak: 2048, resident: 1024, anonymous: 512, file: 500, shmem: 12 };
        assert_eq!(parse_status(text), Some(expected));
        assert_eq!(parse_status("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn this_process_has_both() {
        let me = std::process::id();
        assert!(memory(me).unwrap().resident > 0);
        assert!(cpu(me).unwrap().total() >= 0.0);
    }
}
