//! The examples, run as their READMEs say.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::place::{self, Place};
use interop::process::{Process, run, until};
use libtest_mimic::Trial;

use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("examples/chat", chat)]
}

const UP: Duration = Duration::from_secs(20);

/// A copy of an example, since it writes beside itself, without what it wrote when somebody tried it by hand.
fn copy(place: &Place, name: &str) -> Result<PathBuf> {
    let to = place.folder.join(name);
    run(Command::new("cp").arg("-r").arg(place::source(&format!("../examples/{name}"))).arg(&to))?;
    run(Command::new("find").arg(&to).args(["-path", "*/.data/*", "!", "-name", ".gitignore", "-delete"]))?;
    Ok(to)
}

fn start(place: &Place, command: &mut Command, address: &str) -> Result<Process> {
    let process = Process::start("example", &place.folder, command.env("SHOAL", place::shoal()?))?;
    until(UP, "the example to listen", || Ok(std::net::TcpStream::connect(address).is_ok()))?;
    Ok(process)
}

fn curl(args: &[&str]) -> Result<String> {
    run(Command::new("curl").args(["-sS", "--max-time", "30"]).args(args))
}

/// A reader of the chat: it has what it was sent, and asks for what is new.
struct Reader {
    url: String,
    from: u64,
    lines: Vec<String>,
}

impl Reader {
    fn new(address: &str) -> Self {
        Self { url: format!("http://{address}/new.py"), from: 0, lines: Vec::new() }
    }

    /// Asks once; gives how many bytes that took.
    fn ask(&mut self) -> Result<usize> {
        let answer = curl(&["-i", &format!("{}?from={}", self.url, self.from)])?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let next = head.lines().find_map(|l| l.to_lowercase().strip_prefix("x-next: ").map(str::to_owned));
        self.from = next.context("no X-Next")?.trim().parse()?;
        self.lines.extend(body.lines().map(|line| line.split_once('\t').map_or("", |l| l.1).to_owned()));
        Ok(body.len())
    }
}

fn chat() -> Result<()> {
    let place = Place::new("examples/chat")?;
    let folder = copy(&place, "chat")?;
    let address = format!("{}:8080", place.address(1));
    let _chat = start(&place, Command::new(folder.join("run")).arg(&address), &address)?;
    let (mut early, mut late) = (Reader::new(&address), Reader::new(&address));
    let say = |form: &[&str]| curl(&[&["-d"], form, &[&format!("http://{address}/say.py")]].concat());
    ensure!(early.ask()? == 0, "nobody has said anything");
    ensure!(say(&["name=Ada&text=hello&picture=http://p.example/a.png"])? == "said");
    early.ask()?;
    ensure!(early.ask()? == 0, "nothing twice");
    ensure!(say(&["name=Bob%0Aforged&text=one%09two%0Athree&picture=javascript:x"])? == "said");
    // Many at once: every line arrives, whole.
    let speakers: Vec<_> = (0..10)
        .map(|n| {
            let url = format!("http://{address}/say.py");
            std::thread::spawn(move || curl(&["-d", &format!("name=n{n}&text=t{n}"), &url]))
        })
        .collect();
    for speaker in speakers {
        ensure!(speaker.join().map_err(|_| anyhow::anyhow!("a speaker panicked"))?? == "said");
    }
    early.ask()?;
    late.ask()?;
    ensure!(early.lines == late.lines && early.lines.len() == 12, "{:?} and {:?}", early.lines, late.lines);
    ensure!(
        early.lines[..2] == ["Ada\thttp://p.example/a.png\thello", "Bob forged\t\tone two three"],
        "{:?}",
        early.lines
    );
    for n in 0..10 {
        ensure!(late.lines.contains(&format!("n{n}\t\tt{n}")), "n{n} is missing: {:?}", late.lines);
    }
    let status = |path: &str| curl(&["-o", "/dev/null", "-w", "%{http_code}", &format!("http://{address}{path}")]);
    ensure!(status("/")? == "200" && status("/.data/lines")? == "404" && status("/say.py")? == "405");
    let page = curl(&[&format!("http://{address}/")])?;
    ensure!(page.contains("read.html") && page.contains("form.html"), "two frames: {page}");
    let file = fs::read_to_string(folder.join("www/.data/lines")).context("the text file")?;
    ensure!(file.lines().count() == 12, "{file}");
    place.succeeded();
    Ok(())
}
