//! The doors of the web server, with clients and servers that others wrote: names and passwords.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use interop::place::Place;
use interop::shoal;
use libtest_mimic::Trial;

use crate::trial;
use crate::web::{curl, serve};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("web/names-and-passwords", passwords)]
}

/// What `shoal passwd` makes of a password that is piped in.
pub(crate) fn line(place: &Place, name: &str, password: &str) -> Result<String> {
    let mut command = shoal::command(place, "state-passwd")?;
    let mut child = command.args(["passwd", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input")?.write_all(format!("{password}\n").as_bytes())?;
    let out = child.wait_with_output()?;
    let made: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    Ok(format!("{}\n", made["line"].as_str().context("no line")?))
}

// RFC 9110 11.4: who has not said who they are is asked
// RFC 9110 11.6.1: 401 has a challenge
fn passwords() -> Result<()> {
    let place = Place::new("web/passwords")?;
    let www = place.sub("www")?;
    fs::write(www.join("a.txt"), "hello")?;
    fs::write(www.join("who.sh"), "printf 'Content-Type: text/plain\\n\\n%s' \"$REMOTE_USER\"")?;
    let file = place.folder.join("users");
    let address = format!("{}:8080", place.address(1));
    fs::write(&file, line(&place, "ada", "se:same \u{e9}")?)?;
    let path = file.display().to_string();
    let _serve = serve(&place, &www, &address, &["--auth", &path, "--cgi", "sh=sh"])?;
    let status = |path: &str, who: &str| Ok::<_, anyhow::Error>(curl(&address, path, &["-u", who])?.status);
    for who in ["ada:wrong", "bob:se:same \u{e9}", "ada:", ":"] {
        ensure!(status("/a.txt", who)? == "401", "{who}");
    }
    let refused = curl(&address, "/a.txt", &[])?;
    let challenge = refused.header("www-authenticate");
    ensure!(refused.status == "401" && challenge.contains("charset=\"UTF-8\""), "{refused:?}");
    ensure!(curl(&address, "/a.txt", &["-u", "ada:se:same \u{e9}"])?.body == b"hello");
    // Asks without first, as browsers do: what curl has seen begins with the refusal.
    ensure!(curl(&address, "/a.txt", &["--anyauth", "-u", "ada:se:same \u{e9}"])?.body.ends_with(b"\r\n\r\nhello"));
    ensure!(curl(&address, "/who.sh", &["-u", "ada:se:same \u{e9}"])?.body == b"ada");
    // Another password, another person, and a file that is cut off while it is written.
    fs::write(&file, [line(&place, "ada", "other")?, line(&place, "bob", "builder")?].concat())?;
    for (who, wanted) in [("ada:se:same \u{e9}", "401"), ("ada:other", "200"), ("bob:builder", "200")] {
        ensure!(status("/a.txt", who)? == wanted, "{who}");
    }
    fs::write(&file, "ada:$argon2id$v=19$m=1")?;
    for (who, wanted) in [("ada:other", "200"), ("bob:builder", "200"), ("ada:wrong", "401")] {
        ensure!(status("/a.txt", who)? == wanted, "{who}");
    }
    place.succeeded();
    Ok(())
}
