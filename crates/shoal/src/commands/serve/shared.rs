//! `shoal serve --share`: what lies in the folder, under links as well.
//!
//! A name is hashed when somebody asks for it first, and the others one after the other when there is nothing else to do.
//! What was hashed is remembered: a restart hashes only what changed. Hidden files are no part of it, as in the folder.

use crate::args::{Format, Global, NetworkArgs, ServeArgs};
use crate::commands::seed::Seeds;
use crate::commands::server::Server;
use crate::commands::share::{House, Keeper, Sharer, public};
use crate::commands::{Listening, session};
use crate::failure::Failure;
use crate::progress::Line;
use crate::say::Voice;
use crate::signals;
use anyhow::Context as _;
use node::{Listen, Node};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use web::{Finder, Handler, Serving};

/// A folder that is shared.
pub struct Shared {
    /// Who shares it.
    pub sharer: Sharer,
    node: Arc<Node>,
    http: SocketAddr,
    udp: crate::commands::share::Udp,
    folder: PathBuf,
    finder: Finder,
}

impl Shared {
    /// Starts all that sharing takes.
    pub async fn open(args: &ServeArgs, global: &Global, http: SocketAddr, voice: Voice) -> Result<Self, Failure> {
        let public = args.public.as_deref().map(public).transpose()?;
        let failed = || format!("can't share {}", args.dir.display());
        let folder = args.dir.canonicalize().with_context(failed)?;
        let finder = finder(folder.clone(), args.follow_links);
        // Who serves this machine alone has peers there alone.
        let near = http.ip().is_loopback().then(|| SocketAddr::new(http.ip(), 0));
        let network = NetworkArgs::usual(args.peer_listen.or(near));
        let node = session::start(&network, global, Listen::Usual, None, None).await?;
        let format = Format::default();
        let house = House {
            node: &node,
            http,
            public,
            trackers: &[],
            format,
            finder: Some(finder.clone()),
            fence: (!args.follow_links).then(|| folder.clone()),
            mirrors: args.mirrors.rules(),
        };
        let (sharer, udp) = house.open(voice).await?;
        Ok(Shared { sharer, node, http, udp, folder, finder })
    }

    /// What was bound.
    pub fn listening(&self) -> Listening {
        Listening { http: Some(self.http), udp: self.udp.bound, ..session::listening(&self.node) }
    }

    /// Serves and shares until the user wants an end.
    pub async fn serve<H: Handler>(self, serving: Serving<H>, listeners: Vec<TcpListener>) -> Result<(), Failure> {
        let Shared { sharer, node, folder, finder, .. } = &self;
        let mut server = Server::start(serving, listeners);
        let watching = sharer.watch_mirrors();
        let mut events = node.events();
        let failed = Arc::new(Notify::new());
        let mut seeds = Seeds::kept(sharer.names.clone(), failed.clone());
        let line = Line::new(sharer.voice);
        let mut keeper = Keeper::new(sharer, &line, failed, Some((folder.clone(), finder.clone())));
        let result = tokio::select! {
            ended = seeds.watch(node, &mut events, sharer.voice, &line) => ended,
            ended = keeper.run() => ended,
            () = signals::stop() => Ok(()),
            ended = server.ended() => Err(ended),
        };
        // The node first: it tells the tracker here that it goes.
        session::end(node, sharer.voice).await;
        watching.abort();
        sharer.site.close();
        server.close().await;
        result
    }
}

/// Finds what lies in `folder` under a name: nothing hidden, and no link that leads out of it unless `follow`.
fn finder(folder: PathBuf, follow: bool) -> Finder {
    Arc::new(move |name| {
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        let path = folder.join(Path::new(name));
        let metadata = std::fs::metadata(&path).ok().filter(|_| plain)?;
        let inside = follow || path.canonicalize().is_ok_and(|real| real.starts_with(&folder));
        (inside && (metadata.is_file() || metadata.is_dir())).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_folder_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        for file in ["a", ".hidden", "sub/b"] {
            std::fs::write(folder.join(file), "x").unwrap();
        }
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("out")).unwrap();
        std::os::unix::fs::symlink("sub/b", folder.join("in")).unwrap();
        let find = finder(folder.clone(), false);
        for (name, found) in [
            ("a", true),
            ("sub", true),
            ("in", true),
            ("out", false),
            (".hidden", false),
            ("sub/b", false),
            ("..", false),
            ("", false),
            ("../secret", false),
            ("none", false),
        ] {
            assert_eq!(find(name).is_some(), found, "{name}");
        }
        assert!(finder(folder, true)("out").is_some());
    }
}
