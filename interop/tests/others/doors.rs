//! The doors of the web server, with clients and servers that others wrote: names and passwords in front, an application server behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::place::Place;
use interop::process::Process;
use interop::shoal;
use libtest_mimic::Trial;

use crate::trial;
use crate::web::{curl, serve, up};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("web/names-and-passwords", passwords), trial("web/proxy-to-python", proxy)]
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

const APP: &str = include_str!("app.py");

fn proxy() -> Result<()> {
    let place = Place::new("web/proxy")?;
    let www = place.sub("www")?;
    fs::write(www.join("a.txt"), "a file")?;
    fs::write(place.folder.join("app.py"), APP)?;
    fs::write(place.folder.join("users"), line(&place, "ada", "sesame")?)?;
    let (ours, app, none) =
        (format!("{}:8080", place.address(1)), format!("{}:9000", place.address(2)), format!("{}:9", place.address(2)));
    let _app = Process::start("app", &place.folder, Command::new("python3").args(["app.py", &app]))?;
    up(&app)?;
    let routes = [format!("/app=http://{app}"), format!("/moved=http://{app}/base"), format!("/none=http://{none}")];
    let users = place.folder.join("users").display().to_string();
    let mut flags = vec!["--max-body", "100000", "--program-timeout", "2s", "--auth", &users];
    routes.iter().for_each(|route| flags.extend(["--proxy", route]));
    let serve = serve(&place, &www, &ours, &flags)?;
    let ask = |path: &str, more: &[&str]| curl(&ours, path, &[&["-u", "ada:sesame"], more].concat());

    let seen = ask(
        "/app/x%2Fy?a=%20",
        &[
            "-H",
            "Cookie: c=1",
            "-H",
            "X-Forwarded-For: 10.9.9.9",
            "-H",
            "Remote-User: root",
            "-H",
            "Connection: X-Mine, Host",
            "-H",
            "X-Mine: 1",
        ],
    )?;
    let said: serde_json::Value = serde_json::from_slice(&seen.body)?;
    let header = |name: &str| {
        let all: Vec<_> = said["headers"].as_array().into_iter().flatten().filter(|h| h[0] == name).collect();
        all.iter().map(|h| h[1].as_str().unwrap_or_default()).collect::<Vec<_>>().join("|")
    };
    ensure!(said["path"] == "/app/x%2Fy?a=%20" && said["method"] == "GET", "{said}");
    for (name, value) in [
        ("host", "site.example"),
        ("cookie", "c=1"),
        ("x-forwarded-for", &*place.address(1).to_string()),
        ("x-forwarded-host", "site.example"),
        ("x-forwarded-proto", "http"),
        ("remote-user", "ada"),
        ("x-mine", ""),
        ("authorization", ""),
    ] {
        let said_of_it = header(name);
        // Who asks has some address of this machine.
        let fine = if name == "x-forwarded-for" {
            !said_of_it.contains("10.9.9.9") && !said_of_it.is_empty()
        } else {
            said_of_it == value
        };
        ensure!(fine, "{name}: {said_of_it:?}");
    }
    ensure!(
        seen.headers.iter().filter(|(n, _)| n == "set-cookie").count() == 2 && seen.header("x-hop").is_empty(),
        "{seen:?}"
    );
    ensure!(String::from_utf8_lossy(&ask("/moved/x", &[])?.body).contains("\"/base/x\""));
    ensure!(ask("/a.txt", &[])?.body == b"a file" && curl(&ours, "/app/x", &[])?.status == "401");
    let away = ask("/app/away", &[])?;
    ensure!(away.status == "302" && away.header("location") == "/app/there", "{away:?}");
    ensure!(ask("/app/stream", &[])?.body == b"firstsecond");

    // Bodies, with a length and without, up to the limit.
    let data = place.folder.join("data");
    fs::write(&data, vec![b'x'; 100_000])?;
    let body = format!("@{}", data.display());
    for more in [&["--data-binary", &*body][..], &["--data-binary", &body, "-H", "Transfer-Encoding: chunked"]] {
        let text = String::from_utf8_lossy(&ask("/app/x", more)?.body).into_owned();
        ensure!(text.contains("\"bytes\": 100000"), "{more:?}: {text}");
    }
    fs::write(&data, vec![b'x'; 100_001])?;
    for more in [&["--data-binary", &*body][..], &["--data-binary", &body, "-H", "Transfer-Encoding: chunked"]] {
        ensure!(ask("/app/x", more)?.status == "413", "{more:?}");
    }

    // What goes wrong behind.
    for (path, status) in [("/app/hang", "504"), ("/app/rubbish", "502"), ("/none/x", "502"), ("/app/%2e%2e/x", "400")]
    {
        let seen = ask(path, &[])?;
        ensure!(seen.status == status, "{path}: {seen:?}");
        ensure!(!String::from_utf8_lossy(&seen.body).contains("9000"), "strangers learn nothing of what is behind");
    }
    let log = serve.process.log();
    ensure!(
        log.contains("/none/x: the server can't be reached") && log.contains("/app/hang: the server said nothing"),
        "{log}"
    );

    // A web socket: whatever both say after they agreed.
    let mut socket = TcpStream::connect(&ours)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.write_all(
        b"GET /app/socket HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRhOnNlc2FtZQ==\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        ensure!(socket.read(&mut one)? == 1, "{}", String::from_utf8_lossy(&head));
        head.extend(one);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    ensure!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    for word in ["hello", "again"] {
        socket.write_all(word.as_bytes())?;
        let mut back = [0; 5];
        socket.read_exact(&mut back)?;
        ensure!(back == *word.to_uppercase().as_bytes());
    }
    place.succeeded();
    Ok(())
}
