//! docs/HTTP.md: what the RFCs ask of a server, and which test shows it.
//!
//! The page is made from two sources that have to agree: the list of what is asked (`http/asked.txt`), and the lines above tests that say
//! what they show. A requirement without a test needs a reason in the list; a line that the list does not know is a fault, so that no words
//! are changed on one side alone.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::run;

const ASKED: &str = include_str!("http/asked.txt");
const PAGE: &str = "docs/HTTP.md";
/// Where tests over real sockets are.
const TESTS: [&str; 2] = ["crates/web/tests/*.rs", "interop/tests/*.rs"];
/// What a line above a test begins with.
const MARK: &str = "// RFC ";

/// One thing that is asked.
#[derive(Debug, PartialEq)]
struct Asked<'a> {
    rfc: &'a str,
    section: &'a str,
    level: &'a str,
    words: &'a str,
    /// Why no test shows it.
    reason: Option<&'a str>,
}

impl Asked<'_> {
    /// As tests name it.
    fn mark(&self) -> String {
        format!("{} {}: {}", self.rfc, self.section, self.words)
    }
}

/// Which tests show what: marks, and the files and functions below them.
type Shown = BTreeMap<String, Vec<(String, String)>>;

/// Writes the page.
pub(crate) fn write() -> Result<()> {
    fs::write(run::root().join(PAGE), page()?).with_context(|| format!("cannot write {PAGE}"))
}

/// Checks that the page is what would be written.
pub(crate) fn check() -> Result<()> {
    let there = fs::read_to_string(run::root().join(PAGE)).unwrap_or_default();
    ensure!(there == page()?, "{PAGE} is not what the tests say; `cargo xtask docs` writes it");
    Ok(())
}

fn page() -> Result<String> {
    render(&asked(ASKED)?, &shown()?)
}

/// Reads the list.
fn asked(text: &str) -> Result<Vec<Asked<'_>>> {
    let mut all: Vec<Asked<'_>> = Vec::new();
    let mut rfc = "";
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        if let Some(title) = line.strip_prefix("== ") {
            rfc = title.split(' ').next().unwrap_or_default();
        } else if let Some(reason) = line.strip_prefix("  ") {
            ensure!(reason.starts_with("not here: ") || reason.starts_with("not followed: "), "no reason: {line:?}");
            let last = all.last_mut().filter(|a| a.reason.is_none());
            last.with_context(|| format!("a reason for nothing: {line:?}"))?.reason = Some(reason);
        } else {
            let parts = line.split_once(": ").and_then(|(head, words)| Some((head.split_once(' ')?, words)));
            let Some(((section, level @ ("MUST" | "SHOULD")), words)) = parts else {
                bail!("neither a requirement nor a reason: {line:?}")
            };
            let one = Asked { rfc, section, level, words, reason: None };
            ensure!(all.iter().all(|a| a.mark() != one.mark()), "asked twice: {line:?}");
            all.push(one);
        }
    }
    Ok(all)
}

/// Reads what stands above the tests.
fn shown() -> Result<Shown> {
    let list = run::output(run::command("git", &["ls-files", "-co", "--exclude-standard", "-z"]).args(TESTS))?;
    let mut all = Shown::new();
    for name in list.split('\0').filter(|n| !n.is_empty()) {
        let Ok(text) = fs::read_to_string(run::root().join(name)) else { continue };
        marks(name, &text, &mut all)?;
    }
    Ok(all)
}

/// Finds the marks in a file, each with the test below it.
fn marks(file: &str, text: &str, all: &mut Shown) -> Result<()> {
    let (mut waiting, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(mark) = line.strip_prefix(MARK) {
            waiting.push(mark.to_owned());
        } else if line.starts_with("#[") {
            is_test |= line.ends_with("test]");
        } else if !line.starts_with("//") {
            let name = line.split_once("fn ").and_then(|(_, rest)| rest.split(['(', '<']).next());
            // Where tests are listed rather than found, the list names the function.
            let listed = |name: &str| text.contains(&format!(", {name})"));
            match name.filter(|name| is_test || listed(name)) {
                Some(name) => {
                    for mark in waiting.drain(..) {
                        all.entry(mark).or_default().push((file.to_owned(), name.to_owned()));
                    }
                }
                None => ensure!(waiting.is_empty(), "{file}: {MARK}{} stands above no test", waiting.join(" and ")),
            }
            is_test = false;
        }
    }
    ensure!(waiting.is_empty(), "{file}: {MARK}{} stands above nothing", waiting.join(" and "));
    Ok(())
}

/// Puts both together. The error lists every fault, a line each.
fn render(asked: &[Asked<'_>], shown: &Shown) -> Result<String> {
    let mut faults = Vec::new();
    for mark in shown.keys().filter(|mark| !asked.iter().any(|a| a.mark() == **mark)) {
        faults.push(format!("a test shows what nobody asks: {MARK}{mark}"));
    }
    let (mut tables, mut counts, mut rfc) = (String::new(), [0_usize; 3], "");
    for one in asked {
        let by = match (shown.get(&one.mark()), one.reason) {
            (Some(tests), None) => {
                counts[0] += 1;
                let tests = tests.iter().map(|(file, name)| format!("[`{name}`](../{file})"));
                tests.collect::<Vec<_>>().join(", ")
            }
            (None, Some(reason)) => {
                counts[if reason.starts_with("not here") { 1 } else { 2 }] += 1;
                reason.to_owned()
            }
            (None, None) => {
                faults.push(format!("no test shows, and no reason excuses: {MARK}{}", one.mark()));
                continue;
            }
            (Some(_), Some(reason)) => {
                faults.push(format!("a test shows it, and yet it is {reason}: {MARK}{}", one.mark()));
                continue;
            }
        };
        if one.rfc != rfc {
            rfc = one.rfc;
            tables += &format!("\n## RFC {rfc}\n\n| section | | asked | shown by |\n|---|---|---|---|\n");
        }
        let section = format!("[{0}](https://www.rfc-editor.org/rfc/rfc{rfc}.html#section-{0})", one.section);
        tables += &format!("| {section} | {} | {} | {by} |\n", one.level, one.words);
    }
    ensure!(faults.is_empty(), "{} and the tests disagree:\n  {}", "xtask/src/http/asked.txt", faults.join("\n  "));
    let [tested, elsewhere, otherwise] = counts;
    Ok(format!(
        "# HTTP: what is asked, and which test shows it\n\n\
         What RFC 9110, 9111 and 9112 ask of an origin server with MUST and SHOULD (and their negations), in short words of our own, as far as it concerns \
         `shoal serve`; what they ask of a gateway, which `--proxy` makes of it; and what RFC 3875 asks of a server that runs programs, by CGI or FastCGI. \
         What they ask of clients, proxies and caches is not listed. {tested} requirements are shown by tests over real \
         sockets, {elsewhere} do not apply here, {otherwise} are not followed, each with the reason.\n\n\
         Made by `cargo xtask docs` from `xtask/src/http/asked.txt` and the lines above the tests; `cargo xtask ci` compares it.\n{tables}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_tests_say() {
        check().unwrap();
    }

    const LIST: &str = "# x\n== 9110 Semantics\n3.3 MUST: a is b\n4 SHOULD: c\n  not here: d\n";

    fn show(marks: &[&str]) -> Result<String> {
        let shown = marks.iter().map(|m| ((*m).to_owned(), vec![("t/a.rs".to_owned(), "name".to_owned())]));
        render(&asked(LIST).unwrap(), &shown.collect())
    }

    #[test]
    fn requirements_meet_their_tests() {
        let page = show(&["9110 3.3: a is b"]).unwrap();
        assert!(
            page.contains("| MUST | a is b | [`name`](../t/a.rs) |") && page.contains("| SHOULD | c | not here: d |")
        );
        assert!(page.contains("1 requirements are shown") && page.contains("\n## RFC 9110\n"), "{page}");
    }

    #[test]
    fn what_disagrees_is_a_fault() {
        for (marks, fault) in [
            (&[][..], "no test shows, and no reason excuses: // RFC 9110 3.3: a is b"),
            (&["9110 3.3: a is b", "9110 3.3: a is c"], "nobody asks: // RFC 9110 3.3: a is c"),
            (&["9110 3.3: a is b", "9110 4: c"], "and yet it is not here: d"),
        ] {
            let error = show(marks).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
        for wrong in ["3.3 MAY: x", "3.3 MUST x", "  not here: x", "4 MUST: x\n  because", "4 MUST: x\n4 MUST: x"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn marks_stand_above_tests() {
        let found = |text: &str| {
            let mut all = Shown::new();
            marks("a.rs", text, &mut all)
                .map(|()| all.into_iter().map(|(m, t)| format!("{m}={}", t[0].1)).collect::<Vec<_>>())
        };
        let two = "// RFC 1 2: a\n// RFC 1 3: b\n#[tokio::test]\nasync fn one() {\n}\nfn two() {}\n";
        assert_eq!(found(two).unwrap(), ["1 2: a=one", "1 3: b=one"]);
        assert_eq!(found("trial(\"x\", two)\n// RFC 1 2: a\nfn two() -> Result<()> {").unwrap(), ["1 2: a=two"]);
        for wrong in ["// RFC 1 2: a\nfn helper() {}", "// RFC 1 2: a\nlet x;", "// RFC 1 2: a"] {
            assert!(found(wrong).is_err(), "{wrong}");
        }
    }
}
