//! How a command ends: the exit codes, and errors in one line.

use crate::say::printable;
use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue};
use std::process::ExitCode;

/// Why a command did not end well.
#[derive(Debug)]
pub enum Failure {
    /// It failed: exit code 1.
    Failed(anyhow::Error),
    /// It failed, and all that is to be said has been said: exit code 1.
    Said,
    /// It was asked wrongly: exit code 2.
    Usage(String),
    /// The user stopped it before it was done: exit code 130.
    Interrupted,
}

impl Failure {
    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::Usage(message.into())
    }

    /// A command or flag of a part that is not built yet.
    pub fn unbuilt(what: &str) -> Self {
        Failure::Usage(format!("{what} is not built yet; `shoal --help` lists what is"))
    }

    /// The exit code.
    pub fn code(&self) -> ExitCode {
        match self {
            Failure::Failed(_) | Failure::Said => ExitCode::from(1),
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Interrupted => ExitCode::from(130),
        }
    }

    /// What to tell the user, in one line; None if nothing is left to be told.
    pub fn line(&self) -> Option<String> {
        match self {
            Failure::Failed(error) => Some(printable(&chain(error))),
            Failure::Usage(message) => Some(printable(message)),
            Failure::Said | Failure::Interrupted => None,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.into())
    }
}

/// An error and its causes, without those that the one above already tells.
fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// What clap says of a wrong command line, in one line.
pub fn usage_line(mut error: clap::Error) -> String {
    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand) {
        // What is not built yet is no help.
        let command = crate::args::Cli::command();
        let built = |name: &&String| command.find_subcommand(name).is_none_or(|sub| !sub.is_hide_set());
        let names: Vec<String> = names.iter().filter(built).cloned().collect();
        error.remove(ContextKind::SuggestedSubcommand);
        if !names.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
        }
    }
    let text = error.to_string();
    let told: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let line =
        told.join(" ").replace(" tip: ", "; ").replace("number would be zero for non-zero type", "write 1 or more");
    let line = line.strip_prefix("error: ").unwrap_or(&line).trim_end_matches('.').to_owned();
    format!("{}; see --help", printable(&line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use anyhow::Context;
    use clap::Parser;

    #[test]
    fn an_error_is_one_line() {
        let inner = std::io::Error::other("no\nroom");
        let error = Err::<(), _>(inner).context("can't write a.txt").unwrap_err();
        assert_eq!(Failure::from(error).line().as_deref(), Some("can't write a.txt: no\\nroom"));
    }

    #[test]
    fn wrong_usage_is_one_line() {
        let line = |args: &str| usage_line(Cli::try_parse_from(args.split(' ')).unwrap_err());
        assert_eq!(
            line("shoal get x --limit-down 20Mb"),
            "invalid value '20Mb' for '--limit-down <RATE>': \"Mb\" may mean bits or bytes; write MB for bytes or Mbit for bits; see --help"
        );
        let said = line("shoal serv");
        assert!(said.contains("'serve'") && !said.contains("'search'"), "{said}");
        for args in
            ["shoal", "shoal gte", "shoal get", "shoal get x --sed", "shoal seed x", "shoal get x --encryption y"]
        {
            let line = line(args);
            assert!(!line.contains('\n') && line.len() > 20, "{args}: {line}");
        }
    }
}
