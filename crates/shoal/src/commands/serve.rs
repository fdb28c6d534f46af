//! `shoal serve`: the web server.

use super::Listening;
use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::say::{Voice, printable};
use crate::signals;
use anyhow::Context as _;
use std::path::Path;
use std::sync::Arc;
use web::{AccessLog, Folder, FolderOptions, Limits, ProgramLimits, Programs, Serving, Website};

/// Does what the command line says.
pub async fn run(args: ServeArgs, voice: Voice) -> Result<(), Failure> {
    args.check()?;
    let options = FolderOptions {
        listing: !args.no_listing,
        follow: args.follow_links,
        write: args.write.then_some(args.max_file.0),
    };
    let folder = Folder::new(&args.dir, options).with_context(|| format!("can't serve {}", args.dir.display()))?;
    let listeners = super::listen(args.listen).await?;
    let bound = listeners.first().context("no listener")?.local_addr()?;
    voice.object(&Listening { http: Some(bound), ..Listening::default() });
    voice.result(&format!("{} is at http://{bound}/", printable(&args.dir.display().to_string())));
    let log = args.access_log.as_deref().map(|path| log(path, args.log_addresses)).transpose()?;
    let mut programs = Programs::new(
        &args.dir,
        ProgramLimits { running: args.max_programs, patience: args.program_timeout.0, body: args.max_body.0 },
    )
    .with_context(|| format!("can't serve {}", args.dir.display()))?;
    args.cgi.into_iter().for_each(|runner| programs.cgi(&runner.extension, runner.by));
    args.fastcgi.into_iter().for_each(|runner| programs.fastcgi(&runner.extension, runner.by));
    args.env.iter().for_each(|(name, value)| programs.variable(name, value));
    let limits = Limits { connections: args.max_connections, ..Limits::default() };
    web::serve(Serving { handler: Website { folder, programs }, limits, log }, listeners, signals::stop()).await;
    Ok(())
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
