//! A folder for each test, and the binary in it.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part, and nothing else can")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// A folder in which commands run, with a data folder of its own.
pub struct Place(tempfile::TempDir);

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A folder with three files, one of them empty.
    pub fn tree(&self, name: &str) {
        let root = self.path(name);
        fs::create_dir_all(root.join("sub")).unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i * 7 % 253) as u8).collect();
        fs::write(root.join("a.bin"), bytes).unwrap();
        fs::write(root.join("empty"), "").unwrap();
        fs::write(root.join("sub/b.txt"), "hi\n").unwrap();
    }

    /// A command that has not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env("XDG_DATA_HOME", self.path("data"));
        for (key, _) in std::env::vars_os().filter(|(k, _)| k.to_string_lossy().starts_with("SHOAL_")) {
            command.env_remove(key);
        }
        command.env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must end well, and gives its last object.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.run(&[&["--json"], args].concat());
        let (text, errors) =
            (String::from_utf8(out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr).into_owned());
        assert!(out.status.success(), "{args:?}: {errors}{text}");
        serde_json::from_str(text.lines().last().unwrap_or_else(|| panic!("{args:?} said nothing"))).unwrap()
    }

    /// Runs a command that must fail in one line that holds these words.
    pub fn fails(&self, code: i32, args: &[&str], words: &[&str]) {
        let out = self.run(args);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
        for word in words {
            assert!(errors.contains(word), "{args:?} does not say {word:?}: {errors}");
        }
    }

    /// Starts a command that goes on.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(&[&["--json"], args].concat());
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }
}

/// Asks for `path` over HTTP: the head of the answer, and its body.
pub fn ask(addr: &str, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
}

/// The status of an answer.
pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A command that goes on.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Waits for an event of this name; the command must not end before.
    pub fn event(&mut self, name: &str) -> Value {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                let mut errors = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("it ended without {name:?}: {seen}{errors}");
            }
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["event"] == name {
                return value;
            }
            seen += &line;
        }
    }

    /// Sends a signal (`INT`, `TERM`).
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end: all that it said beside its events.
    pub fn said(&mut self) -> String {
        let (mut rest, mut said) = (Vec::new(), String::new());
        self.lines.read_to_end(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    /// Waits for the end: the exit code.
    pub fn end(&mut self) -> Option<i32> {
        // What is still being said must not fill the pipe.
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
