//! The file of names and passwords: a line each, `name:$argon2id$...`. Empty lines and those that begin with `#` mean nothing.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the file.
pub(super) const FILE_MAX: u64 = 4 << 20;
/// Bytes of a name.
pub(super) const NAME_MAX: usize = 128;
/// Bytes of a password.
pub(super) const PASSWORD_MAX: usize = 1024;
/// Memory that one check may take, in KiB, and rounds over it: a line of the file decides.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const ROUNDS_MAX: u32 = 64;
const LANES_MAX: u32 = 16;
/// Pairs that were checked and are known since.
const VERIFIED_MAX: usize = 1024;

/// Why names and passwords can't be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file can't be read.
    #[error("it can't be read: {0}")]
    Read(#[from] io::Error),
    /// It is no such file.
    #[error("it is larger than {FILE_MAX} bytes: that is no file of names and passwords")]
    Large,
    /// A line of it is wrong.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It names nobody.
    #[error("nobody is named in it; `shoal passwd NAME` makes a line for it")]
    Nobody,
    /// A name or a password is none.
    #[error("{0}")]
    Unfit(&'static str),
    /// The system has no chance to draw from, or no memory.
    #[error("the password can't be hashed: {0}")]
    Hash(String),
}

/// What one state of the file says, and which pairs were right.
#[derive(Debug)]
pub(super) struct Users {
    text: Vec<u8>,
    names: BTreeMap<Arc<str>, PasswordHash>,
    verified: Mutex<Verified>,
}

/// A keyed digest of a name and a password. The key dies with the process.
pub(super) type Pair = [u8; 32];

#[derive(Debug, Default)]
struct Verified {
    known: HashSet<Pair>,
    oldest: VecDeque<Pair>,
}

impl Users {
    pub(super) fn parse(text: Vec<u8>) -> Result<Self, AuthError> {
        let mut names = BTreeMap::new();
        for (at, line) in text.split(|b| *b == b'\n').enumerate() {
            let wrong = |why| AuthError::Line { line: at + 1, why };
            let line = std::str::from_utf8(line).map_err(|_| wrong("it is no UTF-8"))?;
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("there is no colon behind a name"))?;
            fit_name(name).map_err(wrong)?;
            if names.insert(name.into(), read_hash(hash.trim_end()).map_err(wrong)?).is_some() {
                return Err(wrong("this name is there already"));
            }
        }
        if names.is_empty() {
            return Err(AuthError::Nobody);
        }
        Ok(Users { text, names, verified: Mutex::default() })
    }

    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.text == text
    }

    /// This pair was right a while ago, and the file says the same since.
    pub(super) fn knows(&self, pair: &Pair) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).known.contains(pair)
    }

    pub(super) fn remember(&self, pair: Pair) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.known.insert(pair) {
            verified.oldest.push_back(pair);
        }
        if verified.oldest.len() > VERIFIED_MAX
            && let Some(oldest) = verified.oldest.pop_front()
        {
            verified.known.remove(&oldest);
        }
    }

    /// Checks a password, which takes a while and some memory. A name that is not there costs what one costs that is: it is
    /// checked against somebody's, always the same one's, and wrong however that ends.
    pub(super) fn check(&self, name: &str, password: &[u8]) -> bool {
        let (hash, there) = match self.names.get(name) {
            Some(hash) => (hash, true),
            None => (self.stand_in(name), false),
        };
        let right = Argon2::default().verify_password(password, hash).is_ok();
        right && there
    }

    fn stand_in(&self, name: &str) -> &PasswordHash {
        let digest = Sha256::new_with_prefix(&self.text).chain_update(name).finalize();
        let draw = digest.iter().take(8).fold(0u64, |n, b| n << 8 | u64::from(*b));
        let at = draw % self.names.len() as u64;
        self.names.values().nth(at as usize).expect("nobody makes Users without names")
    }
}

fn fit_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("there is no name"),
        name if name.len() > NAME_MAX => Err("the name is too long"),
        name if name.contains(':') || name.chars().any(char::is_control) => {
            Err("the name has a colon or a control character in it")
        }
        name if name.trim() != name || name.starts_with('#') => {
            Err("the name begins or ends with a space, or begins with #")
        }
        _ => Ok(()),
    }
}

fn read_hash(text: &str) -> Result<PasswordHash, &'static str> {
    const NONE: &str = "what follows the name is no argon2 hash; `shoal passwd NAME` makes such a line";
    let hash = PasswordHash::new(text).map_err(|_| NONE)?;
    Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| NONE)?;
    let params = Params::try_from(&hash).map_err(|_| NONE)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("the hash is cut off");
    }
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > ROUNDS_MAX || params.p_cost() > LANES_MAX {
        return Err("this hash takes too much memory or time to check");
    }
    Ok(hash)
}

/// The line of a file for `--auth` that lets `name` in with this password. Takes a while.
///
/// # Errors
/// If either is none.
pub fn password_line(name: &str, password: &str) -> Result<String, AuthError> {
    fit_name(name).map_err(AuthError::Unfit)?;
    if password.is_empty() || password.len() > PASSWORD_MAX {
        return Err(AuthError::Unfit("a password has at least one character, and not more than 1,024 bytes"));
    }
    let hash: PasswordHash =
        Argon2::default().hash_password(password.as_bytes()).map_err(|error| AuthError::Hash(error.to_string()))?;
    Ok(format!("{name}:{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As little work as the function allows.
    pub(super) fn line(name: &str, password: &str) -> String {
        let cheap = Argon2::from(Params::new(8, 1, 1, None).unwrap());
        let hash: PasswordHash = cheap.hash_password(password.as_bytes()).unwrap();
        format!("{name}:{hash}\n")
    }

    #[test]
    fn a_line_that_is_made_is_read() {
        let line = password_line("ada", "pass word \u{e9}").unwrap();
        assert!(line.starts_with("ada:$argon2id$v=19$m=19456,t=2,p=1$"), "{line}");
        let users = Users::parse(format!("# people\r\n\r\n{line}\r\n").into_bytes()).unwrap();
        assert!(users.check("ada", "pass word \u{e9}".as_bytes()));
        assert!(!users.check("ada", b"pass word") && !users.check("Ada", "pass word \u{e9}".as_bytes()));
        for (name, password) in [("", "x"), ("a:b", "x"), ("a\n", "x"), (" a", "x"), ("#a", "x"), ("a", "")] {
            assert!(password_line(name, password).is_err(), "{name:?} {password:?}");
        }
        assert!(password_line("a", &"x".repeat(PASSWORD_MAX + 1)).is_err());
        assert!(password_line(&"x".repeat(NAME_MAX + 1), "x").is_err());
    }

    #[test]
    fn who_is_not_there_is_wrong_also_with_the_password_of_another() {
        let users = Users::parse((line("ada", "same") + &line("bob", "same")).into_bytes()).unwrap();
        for n in 0..20 {
            let name = format!("nobody{n}");
            assert!(!users.check(&name, b"same"));
            let stand_in = users.stand_in(&name);
            assert!(Argon2::default().verify_password(b"same", stand_in).is_ok(), "the work was done");
        }
        assert!(users.check("bob", b"same"));
    }

    #[test]
    fn wrong_lines_are_named() {
        let good = line("ada", "x");
        let hash = good.trim_end().split_once(':').unwrap().1.to_owned();
        let costly = hash.replace("m=8,", "m=99999999,");
        let cut = hash.rsplit_once('$').unwrap().0.to_owned();
        for (second, words) in [
            ("no colon", "colon"),
            (":x", "no name"),
            ("bob:", "no argon2"),
            ("bob:secret", "no argon2"),
            ("bob:$apr1$abc$def", "no argon2"),
            ("bob:$2y$05$abcdefghijklmnopqrstuu5Lk", "no argon2"),
            ("bob:$argon2id$v=19$m=8", "cut off"),
            (&format!("bob:{cut}"), "cut off"),
            (&format!("bob:{costly}"), "too much"),
            (&format!("ada:{hash}"), "already"),
            (&format!("{}:{hash}", "x".repeat(NAME_MAX + 1)), "too long"),
        ] {
            let error = Users::parse(format!("{good}{second}\n").into_bytes()).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("line 2: ") && text.contains(words), "{second}: {text}");
            assert!(!text.contains(&hash), "no hash in what is said");
        }
        assert!(matches!(Users::parse(b"# nobody\n".to_vec()), Err(AuthError::Nobody)));
        assert!(matches!(Users::parse(b"\xff:x".to_vec()), Err(AuthError::Line { line: 1, .. })));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let users = Users::parse(line("ada", "x").into_bytes()).unwrap();
        let pair = |n: usize| {
            let mut pair = [0; 32];
            pair[..8].copy_from_slice(&n.to_be_bytes());
            pair
        };
        (0..VERIFIED_MAX + 5).for_each(|n| users.remember(pair(n)));
        users.remember(pair(VERIFIED_MAX));
        let verified = users.verified.lock().unwrap();
        assert_eq!((verified.known.len(), verified.oldest.len()), (VERIFIED_MAX, VERIFIED_MAX));
        drop(verified);
        assert!(!users.knows(&pair(4)) && users.knows(&pair(5)) && users.knows(&pair(VERIFIED_MAX + 4)));
    }
}
