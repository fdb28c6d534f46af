//! Names and passwords for servers, in the file that ftp, curl and wget read: `machine HOST login NAME password SECRET`.
//!
//! An entry is for one host, whatever the port, and goes to it alone; where others named the URL only over https, or to who is near. Not read are `default`, which would give a password to whatever
//! server a stranger names, `account` and `macdef`, which are ftp's.

use super::headers::unquote;
use crate::disk::plain;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

/// Bytes of a file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// A name and a password, as basic authentication (RFC 7617) has them.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// Why such a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NetrcError {
    /// It can't be read.
    #[error("can't read {0}: {1}")]
    Read(String, std::io::Error),
    /// It is not what it should be.
    #[error("{0}: {1}; lines should be like: machine HOST login NAME password SECRET")]
    Broken(String, String),
}

/// Who we are for which host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Netrc {
    logins: BTreeMap<String, Login>,
}

impl Netrc {
    /// Reads a file.
    ///
    /// # Errors
    /// If it can't be read, is longer than 1 MiB, or broken. No error tells what is in it but names of hosts.
    pub fn read(path: &Path) -> Result<Self, NetrcError> {
        let shown = || path.display().to_string();
        let failed = |e| NetrcError::Read(shown(), e);
        let Some((file, _)) = plain::open(path).map_err(failed)?.filter(|(_, len)| *len <= BYTES_MAX) else {
            return Err(NetrcError::Broken(shown(), "it is no plain file of at most 1 MiB".into()));
        };
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Netrc::parse(&text).map_err(|why| NetrcError::Broken(shown(), why))
    }

    /// The entries of such a text. The first one for a host counts.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut logins = BTreeMap::new();
        let mut words = Words { rest: text };
        // Of which host the words are that come now; None: of nobody that counts.
        let mut host: Option<String> = None;
        while let Some(word) = words.next()? {
            let mut value = |what: &str| words.next()?.ok_or_else(|| format!("nothing is behind the last {what}"));
            match &*word {
                "machine" => {
                    let name = value("machine")?.to_ascii_lowercase();
                    let is_new = !logins.contains_key(&name);
                    if is_new {
                        logins.insert(name.clone(), Login { name: String::new(), password: None });
                    }
                    host = is_new.then_some(name);
                }
                "default" => host = None,
                "login" => {
                    let name = value("login")?;
                    if let Some(login) = host.as_ref().and_then(|host| logins.get_mut(host)) {
                        login.name = name;
                    }
                }
                "password" => {
                    let password = value("password")?;
                    if let Some(login) = host.as_ref().and_then(|host| logins.get_mut(host)) {
                        login.password = Some(password);
                    }
                }
                "account" => drop(value("account")?),
                "macdef" => words.skip_macro(),
                // It may be a part of a password with a space in it: it is not said what it was.
                _ => {
                    let of = host.map(|host| format!(" of {host}")).unwrap_or_default();
                    return Err(format!(
                        "a word behind an entry{of} is none that is known; quote what has spaces: \"a b\""
                    ));
                }
            }
        }
        logins.retain(|_, login| !login.name.is_empty() || login.password.is_some());
        Ok(Netrc { logins })
    }

    /// Who we are for the host of a URL. Nobody if it names somebody itself.
    pub(crate) fn of(&self, url: &reqwest::Url) -> Option<&Login> {
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let host = url.host_str()?;
        self.logins.get(host).or_else(|| self.logins.get(host.trim_matches(['[', ']'])))
    }
}

/// The words of such a text: between spaces, or in quotation marks.
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                break;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, next)| next);
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Ok(Some(word.to_owned()));
        };
        let (word, rest) = unquote(quoted).ok_or("a quotation mark is never closed")?;
        self.rest = rest;
        Ok(Some(word))
    }

    /// What ftp is to do: up to an empty line.
    fn skip_macro(&mut self) {
        let end = ["\n\n", "\n\r\n"].iter().filter_map(|empty| self.rest.find(empty)).min();
        self.rest = end.map_or("", |at| &self.rest[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(netrc: &Netrc, url: &str) -> Option<(String, Option<String>)> {
        netrc.of(&url.parse().unwrap()).map(|login| (login.name.clone(), login.password.clone()))
    }

    fn login(name: &str, password: &str) -> Option<(String, Option<String>)> {
        Some((name.into(), Some(password.into())))
    }

    #[test]
    fn entries_are_for_their_host_alone() {
        let netrc = Netrc::parse(
            "# mine\nmachine H.example login ada password lovelace account x\nmachine h.example login second password no\n\
             machine ::1\n\tlogin \"a \\\"b\"\r\n\tpassword \"#\\\\c\"\nmacdef init\ncd /\nmachine evil.example\n\n\
             machine 127.0.0.1 login me\nmachine nobody.example\ndefault login anybody password everybody\n",
        )
        .unwrap();
        assert_eq!(of(&netrc, "http://h.example:81/x"), login("ada", "lovelace"), "whatever the port");
        assert_eq!(of(&netrc, "http://[::1]/"), login("a \"b", "#\\c"));
        assert_eq!(of(&netrc, "https://127.0.0.1/"), Some(("me".into(), None)));
        for url in [
            "http://other.example/",
            "http://x.h.example/",
            "http://evil.example/",
            "http://u@h.example/",
            "http://nobody.example/",
        ] {
            assert_eq!(of(&netrc, url), None, "{url}");
        }
        assert!(!format!("{netrc:?}").contains("lovelace"));
    }

    #[test]
    fn broken_ones_are_refused_and_tell_no_secrets() {
        for (text, said) in [
            ("machine", "nothing is behind the last machine"),
            ("machine h login", "nothing is behind the last login"),
            ("machine h login a password sesame street", "behind an entry of h"),
            ("machine h password \"sesame", "never closed"),
            ("<html>sesame</html>", "a word behind an entry is none"),
        ] {
            let error = Netrc::parse(text).unwrap_err();
            assert!(error.contains(said) && !error.contains("sesame") && !error.contains("street"), "{text}: {error}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(Netrc::read(dir.path()).unwrap_err().to_string().contains("no plain file"));
        assert!(Netrc::read(&dir.path().join("none")).unwrap_err().to_string().contains("can't read"));
        let path = dir.path().join("netrc");
        std::fs::write(&path, "machine").unwrap();
        assert!(Netrc::read(&path).unwrap_err().to_string().contains("machine HOST login NAME"));
        assert_eq!(Netrc::parse("").unwrap(), Netrc::default());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(machine|login|password|default|macdef|account|\"|\\\\|#| |\n|h|\u{e9}){0,40}") {
            let _ = Netrc::parse(&text);
        }
    }
}
