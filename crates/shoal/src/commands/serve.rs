//! `shoal serve`: the web server.

mod shared;

use super::Listening;
use super::server::NO_THREADS;
use super::share::own;
use crate::args::{Global, ServeArgs};
use crate::failure::Failure;
use crate::say::{Voice, printable};
use crate::signals;
use anyhow::Context as _;
use shared::Shared;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use web::{
    AccessLog, Auth, Folder, FolderOptions, Guarded, Limits, ProgramLimits, Programs, Proxied, Serving, Website,
    WithSite,
};

/// Threads that answer; more than there are cores never help.
const THREADS_MAX: usize = 1024;

/// Does what the command line says.
pub async fn run(args: ServeArgs, global: &Global, voice: Voice) -> Result<(), Failure> {
    args.check()?;
    if voice.json && args.access_log.as_deref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(Failure::usage(
            "--access-log - can't go with --json: name a file, so that programs read JSON alone",
        ));
    }
    let options = FolderOptions {
        listing: !args.no_listing,
        follow: args.follow_links,
        write: args.write.then_some(args.max_file.0),
    };
    let folder = Folder::new(&args.dir, options).with_context(|| format!("can't serve {}", args.dir.display()))?;
    let mut programs = Programs::new(
        &args.dir,
        ProgramLimits { running: args.max_programs.get(), patience: args.program_timeout.0, body: args.max_body.0 },
    )
    .with_context(|| format!("can't serve {}", args.dir.display()))?;
    args.cgi.iter().for_each(|runner| programs.cgi(&runner.extension, runner.by.clone()));
    args.fastcgi.iter().for_each(|runner| programs.fastcgi(&runner.extension, runner.by.clone()));
    args.env.iter().for_each(|(name, value)| programs.variable(name, value));
    programs.look().await.map_err(anyhow::Error::msg)?.iter().for_each(|warning| voice.warn(warning));
    let auth = args.auth.as_deref().map(|file| auth(file, &args.dir)).transpose()?;
    let listeners = super::listen(args.listen).await?;
    let bound = listeners.first().context("no listener")?.local_addr()?;
    let shared = match args.share {
        true => Some(Shared::open(&args, global, bound, voice).await?),
        false => None,
    };
    let log = args.access_log.as_deref().map(|path| log(path, args.log_addresses)).transpose()?;
    programs.listens_on(bound.port());
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let limits =
        Limits { threads: threads.min(THREADS_MAX), connections: args.max_connections.get(), ..Limits::default() };
    let (patience, body) = (args.program_timeout.0, args.max_body.0);
    let site_behind = Proxied::new(Website { folder, programs }, args.proxy, patience, body);
    let site = shared.as_ref().map(|shared| shared.sharer.site.clone());
    let handler = WithSite { site, handler: Guarded { handler: site_behind, auth } };
    let serving = Serving { handler, limits, log };
    voice.object(&match &shared {
        Some(shared) => shared.listening(),
        None => Listening { http: Some(bound), ..Listening::default() },
    });
    let at = if bound.ip().is_unspecified() { SocketAddr::new(own(), bound.port()) } else { bound };
    voice.result(&format!("{} is at http://{at}/", printable(&args.dir.display().to_string())));
    match shared {
        Some(shared) => shared.serve(serving, listeners).await,
        None => web::serve(serving, listeners, signals::stop()).await.context(NO_THREADS).map_err(Into::into),
    }
}

/// Who may come in. The file must not be where it would be served.
fn auth(file: &Path, dir: &Path) -> anyhow::Result<Auth> {
    let auth = Auth::open(file).with_context(|| format!("can't take names from {}", file.display()))?;
    if let (Ok(file), Ok(dir)) = (file.canonicalize(), dir.canonicalize())
        && let Ok(inside) = file.strip_prefix(dir)
    {
        let hidden = inside.iter().any(|name| name.as_encoded_bytes().first() == Some(&b'.'));
        anyhow::ensure!(
            hidden,
            "{} lies in the folder that is served; put it elsewhere, or give it a name with a dot in front",
            file.display()
        );
    }
    Ok(auth)
}

/// The access log, which goes on where it ended.
fn log(path: &Path, whole_addresses: bool) -> anyhow::Result<Arc<AccessLog>> {
    let failed = || format!("can't write the access log {}", path.display());
    let log = match path.to_str() {
        Some("-") => AccessLog::new(std::io::stdout(), whole_addresses),
        _ => {
            let file = std::fs::File::options().create(true).append(true).open(path).with_context(failed)?;
            AccessLog::new(file, whole_addresses)
        }
    };
    Ok(Arc::new(log.with_context(failed)?))
}
