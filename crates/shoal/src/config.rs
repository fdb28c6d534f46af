//! Flags from elsewhere: `SHOAL_*` variables, and a TOML file below them.
//!
//! Every long flag has a variable (`--data-dir` is `SHOAL_DATA_DIR`) and a key of the same name in the file: at its top
//! for all commands that know the flag, or in the table of one command (`[get]`, `[torrent.create]`). The command line
//! wins over the environment, and that over the file.

use anyhow::{Context as _, bail};
use clap::builder::{BoolishValueParser, OsStr};
use clap::{Arg, ArgAction, Command};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Keys that can't come from a file: they say where it is, or end the program.
const NOT_IN_FILES: [&str; 3] = ["config", "help", "version"];

/// The command line `root`, with the environment and the file that it names laid below its flags.
pub fn layer(root: Command, args: &[OsString]) -> anyhow::Result<Command> {
    let root = with_environment(root);
    let Some((file, named)) = file(args) else { return Ok(root) };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => return Ok(root),
        Err(e) => return Err(e).with_context(|| format!("can't read the configuration {}", file.display())),
    };
    let wrong = || format!("configuration {}", file.display());
    let table: toml::Table = toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].lines().count().max(1));
        anyhow::anyhow!("{}, line {line}: {}", wrong(), e.message())
    })?;
    with_table(root, &table, &mut Vec::new()).with_context(wrong)
}

/// The file to read, and whether the user named it.
fn file(args: &[OsString]) -> Option<(PathBuf, bool)> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--") => break,
            Some("--config") => return args.next().map(|f| (f.into(), true)),
            Some(text) => {
                if let Some(file) = text.strip_prefix("--config=") {
                    return Some((file.into(), true));
                }
            }
            None => {}
        }
    }
    if let Some(file) = std::env::var_os("SHOAL_CONFIG") {
        return Some((file.into(), true));
    }
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".config")))?;
    Some((Path::new(&folder).join("shoal/config.toml"), false))
}

/// Every long flag gets its variable.
fn with_environment(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_long() {
        Some(long) if long != "help" && long != "version" => {
            let variable = format!("SHOAL_{}", long.to_ascii_uppercase().replace('-', "_"));
            // `SHOAL_JSON=1` is what people write.
            let boolish = matches!(arg.get_action(), ArgAction::SetTrue);
            let arg = arg.env(OsStr::from(variable)).hide_env(true);
            if boolish { arg.value_parser(BoolishValueParser::new()) } else { arg }
        }
        _ => arg,
    });
    command.mut_subcommands(with_environment)
}

/// Lays a table of the file below the flags of a command and, at the top, of all commands under it.
fn with_table(mut command: Command, table: &toml::Table, path: &mut Vec<String>) -> anyhow::Result<Command> {
    for (key, value) in table {
        let sub = command.find_subcommand(key).is_some();
        match value {
            toml::Value::Table(inner) if sub => {
                path.push(key.clone());
                let mut result = Ok(());
                command = command.mut_subcommand(key.clone(), |sub| {
                    let back = sub.clone();
                    with_table(sub, inner, path).unwrap_or_else(|e| {
                        result = Err(e);
                        back
                    })
                });
                result?;
                path.pop();
            }
            _ => {
                let mut full = path.join(".");
                full.push_str(if full.is_empty() { "" } else { "." });
                full.push_str(key);
                if NOT_IN_FILES.contains(&&**key) || !knows(&command, key) {
                    bail!("unknown key {full:?}: keys are named like flags, as in limit-up = \"1M\"");
                }
                let values = values(value).with_context(|| format!("key {full:?}"))?;
                command = set(command, key, &values);
            }
        }
    }
    Ok(command)
}

fn has(command: &Command, key: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(key))
}

fn knows(command: &Command, key: &str) -> bool {
    has(command, key) || command.get_subcommands().any(|sub| knows(sub, key))
}

/// Sets a default wherever the flag is known.
fn set(command: Command, key: &str, values: &[String]) -> Command {
    let default = |arg: Arg| match arg.get_action() {
        ArgAction::SetTrue | ArgAction::Set | ArgAction::Count => match values.last() {
            Some(last) => arg.default_value(OsStr::from(last.clone())),
            None => arg,
        },
        _ => arg.default_values(values.iter().map(|v| OsStr::from(v.clone()))),
    };
    let command = command.mut_args(|arg| if arg.get_long() == Some(key) { default(arg) } else { arg });
    command.mut_subcommands(|sub| set(sub, key, values))
}

fn values(value: &toml::Value) -> anyhow::Result<Vec<String>> {
    Ok(match value {
        toml::Value::String(s) => vec![s.clone()],
        toml::Value::Integer(i) => vec![i.to_string()],
        toml::Value::Float(f) => vec![f.to_string()],
        toml::Value::Boolean(b) => vec![b.to_string()],
        toml::Value::Array(list) => {
            let each: BTreeSet<bool> = list.iter().map(|v| v.is_array() || v.is_table()).collect();
            if each.contains(&true) {
                bail!("a list of texts and numbers is wanted");
            }
            list.iter().map(values).collect::<anyhow::Result<Vec<_>>>()?.concat()
        }
        _ => bail!("a text, a number, true, false or a list of them is wanted"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Cli};
    use clap::{CommandFactory, FromArgMatches};

    fn parse(toml: &str, line: &str) -> Result<Cli, String> {
        let table = toml::from_str(toml).map_err(|e: toml::de::Error| e.to_string())?;
        let command = with_table(Cli::command(), &table, &mut Vec::new()).map_err(|e| e.to_string())?;
        let matches = command.try_get_matches_from(line.split(' ')).map_err(|e| e.to_string())?;
        Cli::from_arg_matches(&matches).map_err(|e| e.to_string())
    }

    fn get(cli: Cli) -> args::GetArgs {
        match cli.command {
            args::Command::Get(get) => get,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_lies_below_the_flags() {
        let toml = "limit-up = \"1M\"\njson = true\nno-dht = true\n[get]\nlimit-down = 5\nselect = [\"a\", \"b\"]\n[torrent.create]\nprivate = true\n";
        let cli = parse(toml, "shoal get x --limit-up 3").unwrap();
        assert!(cli.global.json);
        let get = get(cli);
        assert_eq!(get.limit_up.map(|r| r.0), Some(3));
        assert_eq!(get.limit_down.map(|r| r.0), Some(5));
        assert_eq!(get.select, ["a", "b"]);
        assert!(get.network.no_dht && !get.seed);
        match parse(toml, "shoal torrent create x").unwrap().command {
            args::Command::Torrent(args::TorrentCommand::Create(create)) => assert!(create.private),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_file_is_told() {
        assert!(parse("limit-upp = 1", "shoal get x").unwrap_err().contains("unknown key \"limit-upp\""));
        assert!(parse("[get]\nprivate = true", "shoal get x").unwrap_err().contains("\"get.private\""));
        assert!(parse("limit-up = [[1]]", "shoal get x").unwrap_err().contains("limit-up"));
        assert!(parse("[get]\nlimit-up = \"x\"", "shoal get x").unwrap_err().contains("--limit-up"));
        assert!(parse("config = \"x\"", "shoal get x").is_err());
    }

    #[test]
    fn every_flag_has_a_variable() {
        let command = with_environment(Cli::command());
        command.clone().debug_assert();
        let get = command.find_subcommand("get").unwrap();
        let arg = get.get_arguments().find(|a| a.get_long() == Some("limit-up")).unwrap();
        assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some("SHOAL_LIMIT_UP"));
    }

    #[test]
    fn the_file_is_found_on_the_command_line() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(file(&args("shoal get x --config f")), Some(("f".into(), true)));
        assert_eq!(file(&args("shoal --config=f get")), Some(("f".into(), true)));
        assert_ne!(file(&args("shoal get -- --config f")), Some(("f".into(), true)));
    }
}
