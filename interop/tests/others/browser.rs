//! Headless Chromium, driven through its own driver as a person would use it.
//!
//! The driver is started by path on a free port, with its folder for each browser's profile in the place of the test. Many browsers at
//! once only make each other slow, so that a few tests at a time have theirs.

use std::future::Future;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::place::Place;
use interop::process::{Process, until};
use thirtyfour::prelude::*;

/// How long a page may take to show what it should.
const SHOWN: Duration = Duration::from_secs(20);
/// Between two looks at a page.
const LOOK: Duration = Duration::from_millis(50);
/// Tests that have browsers at the same time.
const AT_ONCE: usize = 3;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// The driver, from which browsers come.
pub(crate) struct Driver {
    process: Process,
    address: String,
    folder: std::path::PathBuf,
    started: std::cell::Cell<u32>,
    _turn: Turn,
}

/// One of the few.
struct Turn;

impl Turn {
    fn wait() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = ENDED.wait_while(running, |n| *n >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

impl Driver {
    /// Starts it, when it is this test's turn.
    pub(crate) fn start(place: &Place) -> Result<Self> {
        let turn = Turn::wait();
        // Of what is used here, only the version that came with the workspace is there, and none is taken by itself.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut command = Command::new("chromedriver");
        let process = Process::start("chromedriver", &place.folder, command.args(["--port=0", "--log-level=WARNING"]))?;
        let mut address = None;
        until(SHOWN, "chromedriver to listen", || {
            let log = process.log();
            let port = log.split("started successfully on port ").nth(1).and_then(|t| t.split_once('.'));
            address = port.map(|(port, _)| format!("http://127.0.0.1:{port}"));
            Ok(address.is_some())
        })?;
        let address = address.context("chromedriver named no port")?;
        Ok(Self { process, address, folder: place.folder.clone(), started: 0.into(), _turn: turn })
    }

    /// A browser with a profile of its own.
    pub(crate) async fn browser(&self) -> Result<Browser> {
        self.started.set(self.started.get() + 1);
        let profile = self.folder.join(format!("profile-{}", self.started.get()));
        let mut wanted = DesiredCapabilities::chrome();
        for argument in [
            "--headless=new",
            "--no-sandbox", // Chromium refuses its sandbox to root, which is who may make the network that the tests run in
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--no-proxy-server",
            &format!("--user-data-dir={}", profile.display()),
        ] {
            wanted.add_arg(argument)?;
        }
        let driver = WebDriver::new(&self.address, wanted).await;
        Ok(Browser(driver.with_context(|| format!("no browser; chromedriver says: {}", self.process.log()))?))
    }
}

/// One browser with one window.
pub(crate) struct Browser(WebDriver);

impl Browser {
    /// Goes to a page.
    pub(crate) async fn open(&self, url: &str) -> Result<()> {
        self.0.goto(url).await.with_context(|| format!("cannot open {url}"))
    }

    /// The texts of all that a selector finds, as they are shown.
    pub(crate) async fn texts(&self, css: &str) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for element in self.0.find_all(By::Css(css)).await? {
            texts.push(element.text().await?);
        }
        Ok(texts)
    }

    /// Waits until the texts that a selector finds are as wanted.
    pub(crate) async fn shows(&self, css: &str, wanted: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        let end = std::time::Instant::now() + SHOWN;
        loop {
            // A page that is just being replaced has no elements, or stale ones.
            let texts = self.texts(css).await;
            match texts {
                Ok(texts) if wanted(&texts) => return Ok(texts),
                _ if std::time::Instant::now() < end => tokio::time::sleep(LOOK).await,
                other => {
                    let page = self.0.source().await.unwrap_or_default();
                    let url = self.0.current_url().await.map(String::from).unwrap_or_default();
                    anyhow::bail!("{css} shows {other:?} at {url}, in {page}");
                }
            }
        }
    }

    /// Waits until exactly one element shows this text.
    pub(crate) async fn shows_text(&self, css: &str, text: &str) -> Result<()> {
        self.shows(css, |texts| texts == [text]).await.map(drop).with_context(|| format!("waiting for {text:?}"))
    }

    /// Puts a text into a field, key by key.
    pub(crate) async fn type_into(&self, css: &str, text: &str) -> Result<()> {
        let field = self.0.find(By::Css(css)).await.with_context(|| format!("no field {css}"))?;
        field.clear().await?;
        Ok(field.send_keys(text).await?)
    }

    /// Clicks on what a selector finds.
    pub(crate) async fn click(&self, css: &str) -> Result<()> {
        Ok(self.0.find(By::Css(css)).await.with_context(|| format!("nothing to click: {css}"))?.click().await?)
    }

    /// Runs a script in the page, with texts as its arguments; gives the text that it returns.
    pub(crate) async fn run(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let arguments = arguments.iter().map(|a| serde_json::Value::from(*a)).collect::<Vec<_>>();
        Ok(self.0.execute(script, arguments).await?.convert().unwrap_or_default())
    }

    /// The title of the page.
    pub(crate) async fn title(&self) -> Result<String> {
        Ok(self.0.title().await?)
    }

    /// A cookie, which has to be one that scripts don't see and that other sites' forms don't send.
    pub(crate) async fn guarded_cookie(&self, name: &str) -> Result<String> {
        let cookie = self.0.get_named_cookie(name).await.with_context(|| format!("no cookie {name}"))?;
        ensure!(cookie.http_only == Some(true), "scripts may read {cookie:?}");
        ensure!(matches!(cookie.same_site, Some(SameSite::Lax | SameSite::Strict)), "other sites send {cookie:?}");
        ensure!(self.run("return document.cookie", &[]).await?.is_empty(), "a script sees a cookie");
        Ok(cookie.value)
    }

    /// Closes it.
    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.0.quit().await?)
    }
}

/// Runs what waits for browsers.
pub(crate) fn drive<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?.block_on(work)
}
