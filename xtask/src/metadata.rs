//! What `cargo metadata` says, cut down to what the checks need.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// One package of the workspace or of its dependencies.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression, where the author gave one.
    pub(crate) licence: Option<String>,
    /// Where its Cargo.toml is.
    pub(crate) manifest: String,
    /// From a registry (true) or ours (false).
    pub(crate) foreign: bool,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a `[dependencies]` or `[dev-dependencies]` table.
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) dev: bool,
}

/// The packages of the workspace alone, or with all that they depend on.
pub(crate) fn packages(with_foreign: bool) -> Result<Vec<Package>> {
    let mut args = vec!["metadata", "--format-version", "1", "--locked"];
    if !with_foreign {
        args.push("--no-deps");
    }
    let text = run::output(&mut run::cargo(&args))?;
    let value: Value = serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let packages = value["packages"].as_array().context("cargo metadata names no packages")?;
    packages.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let dependency = |d: &Value| {
        let name = text(&d["name"]).context("a dependency without name")?;
        Ok(Dependency { name, dev: d["kind"] == "dev" })
    };
    Ok(Package {
        name: text(&value["name"]).context("a package without name")?,
        version: text(&value["version"]).context("a package without version")?,
        licence: text(&value["license"]),
        manifest: text(&value["manifest_path"]).context("a package without manifest")?,
        foreign: !value["source"].is_null(),
        dependencies: value["dependencies"].as_array().into_iter().flatten().map(dependency).collect::<Result<_>>()?,
    })
}
