//! The site with three tiers, `examples/course`: both languages with each database, as its README says, in two real browsers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use interop::place::{self, Place};
use interop::process::{self, Process, run, until};
use libtest_mimic::Trial;

use crate::browser::{Browser, Driver, drive};
use crate::databases::{mariadb, postgres};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let pairs = ["php", "python"].into_iter().flat_map(|l| ["sqlite", "postgres", "mariadb"].map(|d| (l, d)));
    let mut trials: Vec<Trial> = pairs.map(|(l, d)| trial(&format!("course/{l}-{d}"), move || course(l, d))).collect();
    trials.push(trial("course/databases-that-run-already", already));
    trials.push(trial("course/says-what-is-missing", missing));
    trials.push(trial("course/is-nothing-for-root", root));
    trials
}

/// A database is made, a server and the programs are started.
const UP: Duration = Duration::from_secs(60);

/// Names that break what is careless: HTML, SQL in three dialects, formats, letters beyond ASCII and beyond 16 bits.
const NAMES: [&str; 6] = [
    "<script>document.title='x'</script>",
    "O'Hara \"x\" & <b>bold</b>",
    "'); DROP TABLE members; --",
    "\\' OR 1=1 # ? %s :name $1 {}",
    "Jürgen Müßig, 你好 😀",
    "jürgen müßig, 你好 😀",
];

/// The site in a folder that an unprivileged user can read and root's tests can remove.
struct Site {
    folder: tempfile::TempDir,
    language: &'static str,
    database: &'static str,
    address: String,
    /// Further arguments of each start.
    more: Vec<String>,
    process: Option<Process>,
}

impl Site {
    fn new(place: &Place, language: &'static str, database: &'static str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        run(Command::new("cp").arg("-r").arg(place::source("../examples/course")).arg(folder.path()))?;
        fs::copy(place::shoal()?, folder.path().join("shoal"))?;
        let address = format!("{}:8080", place.address(1));
        Ok(Self { folder, language, database, address, more: Vec::new(), process: None })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("course").join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(self.file("run"));
        command.env("SHOAL", self.folder.path().join("shoal"));
        command.args([self.language, self.database, "--listen", &self.address]).args(&self.more).args(more);
        command
    }

    fn start(&mut self, place: &Place) -> Result<()> {
        let process = self.process.insert(Process::start("course", &place.folder, &mut self.command(&[]))?);
        until(UP, "the site to listen", || {
            process.alive()?;
            Ok(std::net::TcpStream::connect(&self.address).is_ok())
        })
    }

    /// Ends it in order, with all that it started.
    fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the site does not run")?;
        let children = children(process.id())?;
        ensure!(!children.is_empty(), "a site without children");
        process.signal("TERM")?;
        let status = process.finish(UP)?;
        ensure!(status.success(), "ended with {status}: {}", process.log());
        let left: Vec<_> = children.iter().filter(|id| PathBuf::from(format!("/proc/{id}")).exists()).collect();
        ensure!(left.is_empty(), "it left {left:?}");
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        // Both name their programs after their language.
        let extension = if self.language == "php" { "php" } else { "py" };
        format!("http://{}/{}", self.address, path.replace("EXT", extension))
    }

    fn curl(&self, args: &[&str], path: &str) -> Result<String> {
        run(Command::new("curl").args(["-sS", "--max-time", "30"]).args(args).arg(self.url(path)))
    }

    /// The status of an answer.
    fn status(&self, args: &[&str], path: &str) -> Result<String> {
        self.curl(&[args, &["-o", "/dev/null", "-w", "%{http_code}"]].concat(), path)
    }

    /// The logs of the database and PHP, for whoever reads why a test failed.
    fn logs(&self) -> String {
        let files = fs::read_dir(self.file("data")).into_iter().flatten().flatten().map(|e| e.path());
        let logs = files.filter(|p| p.extension().is_some_and(|e| e == "log"));
        let own = self.process.as_ref().map(Process::log).unwrap_or_default();
        logs.map(|p| fs::read_to_string(p).unwrap_or_default()).fold(own, |all, log| format!("{all}\n{log}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // In order, since killing it would leave its children.
        if let Some(process) = &mut self.process {
            drop(process.signal("TERM").and_then(|()| process.finish(UP)));
        }
    }
}

/// The processes that a process started.
fn children(of: u32) -> Result<Vec<String>> {
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).context("no list of children")?;
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

fn course(language: &'static str, database: &'static str) -> Result<()> {
    let place = Place::new(&format!("course/{language}-{database}"))?;
    let mut site = Site::new(&place, language, database)?;
    let result = (|| {
        let driver = Driver::start(&place)?;
        site.start(&place)?;
        drive(async {
            let (one, two) = (driver.browser().await?, driver.browser().await?);
            let result = in_browsers(&site, &one, &two).await;
            // Whatever came of it: a browser that is only dropped takes a minute.
            let closed = (one.close().await, two.close().await);
            result.and(closed.0).and(closed.1)
        })?;
        drop(driver);
        strangers(&site)?;
        let before = members(&site)?;
        site.stop()?;
        site.start(&place)?;
        ensure!(members(&site)? == before, "another start, other members");
        site.stop()
    })();
    result.map_err(|error: Error| error.context(site.logs()))?;
    place.succeeded();
    Ok(())
}

async fn in_browsers(site: &Site, one: &Browser, two: &Browser) -> Result<()> {
    pages(site, one).await?;
    form(site, one).await?;
    session(site, one, two).await?;
    at_once(site, one, two).await
}

/// The list, a page, and a page that is not there.
async fn pages(site: &Site, browser: &Browser) -> Result<()> {
    browser.open(&site.url("")).await?;
    browser.shows("td:first-child", |codes| codes == ["4021", "4022", "4030"]).await?;
    browser.click("a[href$='code=4021']").await?;
    browser.shows_text("h1", "Networks").await?;
    browser.shows_text("li", "Nobody yet").await?;
    // The style is there, so that it is served as one.
    let width = browser.run("return getComputedStyle(document.querySelector('main')).maxWidth", &[]).await?;
    ensure!(width.ends_with("px"), "the style is not applied: {width}");
    browser.open(&site.url("course?code=1")).await?;
    browser.shows_text("h1", "Not found").await?;
    browser.click("a").await?;
    browser.shows_text("h1", "Courses").await
}

/// Names that are none, and names that break what is careless.
async fn form(site: &Site, browser: &Browser) -> Result<()> {
    browser.open(&site.url("course?code=4021")).await?;
    // A browser keeps people from sending these, so that it has to be told not to.
    let long = "ü".repeat(41);
    for wrong in ["", "  \u{2003} ", &long] {
        let script = "const field = document.querySelector('#join [name=name]'); field.form.noValidate = true; \
                      field.removeAttribute('maxlength'); field.value = arguments[0]; field.form.requestSubmit()";
        browser.run("document.body.dataset.old = '1'", &[]).await?;
        browser.run(script, &[wrong]).await?;
        browser.shows("body:not([data-old]) .fault", |texts| texts == ["A name has 1 to 40 characters."]).await?;
        browser.shows_text("li", "Nobody yet").await?;
    }
    for (i, name) in NAMES.iter().enumerate() {
        // The driver types no letters beyond 16 bits.
        browser.run("document.querySelector('#join [name=name]').value = arguments[0]", &[name]).await?;
        browser.click("#join button").await?;
        let members = browser
            .shows("li", |texts| texts.len() == i + 1 && texts != ["Nobody yet"] || i == 0 && texts == [*name])
            .await?;
        ensure!(members.iter().any(|m| m == name), "{name:?} joined, and there are {members:?}");
        browser.shows_text("#who b", name).await?;
        ensure!(browser.title().await? == "Networks", "a name changed the title: {}", browser.title().await?);
    }
    ensure!(browser.texts("li *, li script, #who script").await?.is_empty(), "a name became an element");
    // Who joined twice is told so.
    browser.click("#join button").await?;
    let last = NAMES[NAMES.len() - 1];
    let words = format!("{last} is a member already. If that is not you, add something to your name.");
    browser.shows_text(".fault", &words).await?;
    browser.open(&site.url("")).await?;
    browser.shows("td:last-child", |counts| counts == [NAMES.len().to_string().as_str(), "0", "0"]).await.map(drop)
}

/// A name is remembered, by one browser and for one, until it logs out.
async fn session(site: &Site, one: &Browser, two: &Browser) -> Result<()> {
    one.click("#who button").await?;
    one.shows("#who", |who| who.is_empty()).await?;
    one.shows("[value=in]", |buttons| buttons.len() == 1).await?;
    let anonymous = one.guarded_cookie("visit").await?;
    one.type_into("[name=name]", "Grace").await?;
    one.click("[value=in]").await?;
    one.shows_text("#who b", "Grace").await?;
    let named = one.guarded_cookie("visit").await?;
    ensure!(anonymous != named, "a cookie from before the name is good for the name");
    for page in ["course?code=4022", "course?code=4030", ""] {
        one.open(&site.url(page)).await?;
        one.shows_text("#who b", "Grace").await?;
        two.open(&site.url(page)).await?;
        two.shows("#who", |who| who.is_empty()).await?;
    }
    one.open(&site.url("course?code=4022")).await?;
    let offered = one.run("return document.querySelector('#join [name=name]').value", &[]).await?;
    ensure!(offered == "Grace", "the form offers {offered:?}");
    // The cookie is what counts, and only while it does.
    let cookie = format!("visit={named}");
    ensure!(site.curl(&["-b", &cookie], "")?.contains("Grace"), "the cookie is not the session");
    one.click("#who button").await?;
    one.shows("#who", |who| who.is_empty()).await?;
    ensure!(!site.curl(&["-b", &cookie], "")?.contains("Grace"), "the session goes on after logging out");
    Ok(())
}

/// Two who take the same name in the same moment: one is told so.
async fn at_once(site: &Site, one: &Browser, two: &Browser) -> Result<()> {
    for browser in [one, two] {
        browser.open(&site.url("course?code=4030")).await?;
        browser.type_into("#join [name=name]", "Twin").await?;
    }
    let (first, second) = tokio::join!(one.click("#join button"), two.click("#join button"));
    first.and(second)?;
    let mut told = 0;
    for browser in [one, two] {
        browser.shows_text("li", "Twin").await?;
        let faults = browser.texts(".fault").await?;
        ensure!(faults.iter().all(|f| f.starts_with("Twin is a member already")), "{faults:?}");
        told += faults.len();
    }
    ensure!(told == 1, "{told} of two were told that the name is taken");
    Ok(())
}

/// A session by hand: its cookie and the secret of its forms.
fn begin(site: &Site) -> Result<(String, String)> {
    let answer = site.curl(&["-i"], "course?code=4022")?;
    let cookie = answer.split("visit=").nth(1).and_then(|t| t.split(';').next()).context("no cookie")?;
    let token = answer.split("name=\"token\" value=\"").nth(1).and_then(|t| t.split('"').next()).context("no token")?;
    Ok((format!("visit={cookie}"), format!("token={token}")))
}

/// What no browser would send.
fn strangers(site: &Site) -> Result<()> {
    let page = "course?code=4022";
    // Many who take the same name at once: one gets it, nobody breaks anything.
    let sessions = (0..8).map(|_| begin(site)).collect::<Result<Vec<_>>>()?;
    let joins = sessions.iter().map(|(cookie, token)| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_code}", "-b", cookie, "-d", token]);
        curl.args(["-d", "name=Everybody", &site.url(page)]).stdout(std::process::Stdio::piped());
        curl.spawn()
    });
    let joins = joins.collect::<Result<Vec<_>, _>>()?;
    let answers = joins.into_iter().map(|j| Ok(String::from_utf8(j.wait_with_output()?.stdout)?));
    let mut answers = answers.collect::<Result<Vec<_>>>()?;
    answers.sort();
    ensure!(answers[0] == "303" && answers[1..].iter().all(|a| a == "409"), "of eight at once: {answers:?}");

    // Forms of others.
    let ((cookie, token), (_, other)) = (begin(site)?, begin(site)?);
    let answer = site.curl(&["-i"], page)?.to_lowercase();
    ensure!(answer.contains("httponly") && answer.contains("samesite=lax"), "{answer}");
    for wrong in ["token=", "token=%00%ff", "token[]=x", "x=y", &other] {
        let status = site.status(&["-b", &cookie, "-d", wrong, "-d", "name=Mallory"], page)?;
        ensure!(status == "403", "with {wrong} joining ends with {status}");
        let status = site.status(&["-b", &cookie, "-d", wrong, "-d", "do=in&name=Mallory"], "session.EXT")?;
        ensure!(status == "403", "with {wrong} logging in ends with {status}");
    }
    // Fields that are none, of the right session.
    for wrong in ["name[]=Mallory", "name=%00%0a", "name=", "nome=Mallory"] {
        let status = site.status(&["-b", &cookie, "-d", &token, "-d", wrong], page)?;
        ensure!(status == "422", "{wrong} ends with {status}");
    }
    ensure!(!site.curl(&[], page)?.contains("Mallory"), "Mallory got in");
    for (path, want) in [
        ("course", "404"),
        ("course?code=4021%20OR%201=1", "404"),
        ("course?code=4021%27", "404"),
        ("course?code=%C2%B2", "404"),
        ("course?code[]=4021", "404"),
        ("course?code=99999999999999999999", "404"),
        ("course?code=-1", "404"),
        // The program by its file.
        ("course.EXT?code=4021", "200"),
        (".lib/site_lib.py", "404"),
        (".lib/site.php", "404"),
        ("../data/courses.sqlite", "400"),
        ("style.css", "200"),
        ("session.EXT", "303"),
    ] {
        let status = site.status(&["--path-as-is", "-g"], path)?;
        ensure!(status == want, "{path} ends with {status}");
    }
    Ok(())
}

/// All members of all courses, as the pages show them.
fn members(site: &Site) -> Result<String> {
    let mut all = String::new();
    for code in ["4021", "4022", "4030"] {
        let page = site.curl(&[], &format!("course?code={code}"))?;
        all += page.split("<ul>").nth(1).and_then(|p| p.split("</ul>").next()).context("no list of members")?;
    }
    for name in ["&lt;script&gt;", "DROP TABLE members", "你好 😀", "Twin", "Everybody"] {
        ensure!(all.contains(name), "{name} is no member: {all}");
    }
    Ok(all)
}

/// Databases that others started, over the network: both languages on the same one see the same.
fn already() -> Result<()> {
    let place = Place::new("course/already")?;
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    let path = folder.path().display().to_string();
    let (first, url) = postgres(&place, &path, &place.address(2))?;
    let (second, other) = mariadb(&place, &path, &place.address(2))?;
    for (database, mut server, url, port) in [("postgres", first, url, 5432), ("mariadb", second, other, 3306)] {
        until(UP, "the database to listen", || {
            server.alive()?;
            Ok(std::net::TcpStream::connect((place.address(2), port)).is_ok())
        })?;
        let mut before = String::new();
        for language in ["php", "python"] {
            let mut site = Site::new(&place, language, "sqlite")?;
            site.more = vec!["--db".to_owned(), url.clone()];
            let result = (|| {
                site.start(&place)?;
                let (cookie, token) = begin(&site)?;
                let (page, name) = ("course?code=4022", format!("name=by {language}"));
                ensure!(site.curl(&[], page)?.contains(&before), "what was joined before is not there");
                let status = site.status(&["-b", &cookie, "-d", &token, "-d", &name], page)?;
                ensure!(status == "303", "{name} on {database} ends with {status}");
                before = format!("<li>by {language}</li>");
                ensure!(site.curl(&[], page)?.contains(&before), "{name} is not there");
                site.stop()
            })();
            result.map_err(|error: Error| error.context(site.logs()))?;
        }
        server.kill();
    }
    place.succeeded();
    Ok(())
}

/// Runs it where something is hidden by an empty folder; gives what it says.
fn without(site: &Site, folders: &[&str]) -> Result<(Option<i32>, String)> {
    let mounts: String = folders.iter().map(|f| format!("for f in {f}; do mount -t tmpfs none $f; done; ")).collect();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-ec", &format!("{mounts} exec \"$@\""), "sh"]);
    command.arg(site.file("run")).args([site.language, site.database]).env("SHOAL", site.folder.path().join("shoal"));
    let out = process::output(&mut command)?;
    Ok((out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned()))
}

fn missing() -> Result<()> {
    let place = Place::new("course/missing")?;
    let modules = "/usr/lib/python3/dist-packages";
    for (language, database, hidden, names, packages) in [
        ("php", "postgres", [modules, "/usr/lib/php/20*"], ["psycopg2", "pdo_pgsql"], "python3-psycopg2 php-pgsql"),
        ("python", "mariadb", [modules, modules], ["pymysql", "pymysql"], "python3-pymysql"),
    ] {
        let site = Site::new(&place, language, database)?;
        let (code, said) = without(&site, &hidden)?;
        ensure!(code == Some(1) && names.iter().all(|n| said.contains(n)), "{code:?}: {said}");
        ensure!(said.contains(&format!("apt-get install --no-install-recommends {packages}\n")), "{said}");
    }
    let site = Site::new(&place, "php", "sqlite")?;
    let fails = |more: &[&str], shoal: &str, code: i32, words: &str| {
        let out = process::output(site.command(more).env("SHOAL", shoal))?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(out.status.code() == Some(code) && said.contains(words), "{more:?}: {}: {said}", out.status);
        Ok(())
    };
    let shoal = site.folder.path().join("shoal").display().to_string();
    fails(&[], "/nowhere/shoal", 1, "SHOAL=target/release/shoal")?;
    fails(&["--db", "oracle://x/y"], &shoal, 2, "--db oracle://x/y: begin with")?;
    fails(&["--db", "mysql://ada@127.0.0.1:1/course"], &shoal, 1, "can't reach the database")?;
    place.succeeded();
    Ok(())
}

fn root() -> Result<()> {
    let place = Place::new("course/root")?;
    let mut site = Site::new(&place, "php", "sqlite")?;
    for (user, words) in [("root", "that is root again"), ("no-such-user", "there is no such user")] {
        let out = process::output(&mut site.command(&["--user", user]))?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(out.status.code() == Some(1) && said.contains(words), "--user {user}: {}: {said}", out.status);
    }
    site.start(&place)?;
    let own = site.process.as_ref().context("it runs")?.id().to_string();
    for id in [children(own.parse()?)?, vec![own]].concat() {
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let users = status.lines().find(|l| l.starts_with("Uid:")).context("no user")?;
        ensure!(users.split_whitespace().skip(1).all(|u| u != "0"), "process {id} is root's: {users}");
    }
    site.stop()?;
    // Nobody else may look into it.
    for closed in ["data", "data/sessions"] {
        let mode = fs::metadata(site.file(closed))?.permissions().mode() & 0o777;
        ensure!(mode == 0o700, "{closed} has mode {mode:o}");
    }
    // Where that user can't read, it is said rather than tried.
    fs::set_permissions(site.folder.path(), fs::Permissions::from_mode(0o700))?;
    let out = process::output(&mut site.command(&[]))?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.code() == Some(1) && said.contains("nobody can't get at"), "{}: {said}", out.status);
    place.succeeded();
    Ok(())
}
