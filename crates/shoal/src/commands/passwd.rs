//! `shoal passwd`: a line for `serve --auth`, from a password that nobody sees.

use crate::args::PasswdArgs;
use crate::failure::Failure;
use crate::say::Voice;
use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Read, Write as _};

/// Bytes of a password that are read.
const TYPED_MAX: usize = 4096;

#[derive(Serialize)]
struct Made<'a> {
    name: &'a str,
    line: &'a str,
}

/// Does what the command line says.
pub fn run(args: &PasswdArgs, voice: Voice) -> Result<(), Failure> {
    let password = match io::stdin().is_terminal() {
        true => ask()?,
        false => line(io::stdin().lock())?,
    };
    let line = web::password_line(&args.name, &password).with_context(|| format!("no line for {:?}", args.name))?;
    voice.object(&Made { name: &args.name, line: &line });
    voice.result(&line);
    Ok(())
}

/// The first line of what is piped in.
fn line(from: impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(TYPED_MAX as u64).read_to_end(&mut bytes).context("can't read the password from standard input")?;
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(String::from_utf8(line.to_vec()).context("the password is no UTF-8")?)
}

/// From whoever sits at the terminal, twice.
fn ask() -> Result<String, Failure> {
    let _quiet = Quiet::new().context("can't keep the terminal from showing the password; pipe it in instead")?;
    let first = typed("password: ")?;
    match typed("and again: ")? == first {
        true => Ok(first),
        false => Err(anyhow::anyhow!("these were two different passwords; nothing was made").into()),
    }
}

fn typed(prompt: &str) -> Result<String, Failure> {
    let mut errors = io::stderr().lock();
    let _ = write!(errors, "{prompt}").and_then(|()| errors.flush());
    let keys = io::stdin().lock().bytes().map_while(Result::ok);
    let word = read_keys(keys);
    let _ = writeln!(errors);
    let bytes = word.ok_or(Failure::Interrupted)?;
    Ok(String::from_utf8(bytes).context("the password is no UTF-8")?)
}

/// What keys make, up to the end of the line: the terminal does not edit. None: whoever types wants to stop.
fn read_keys(keys: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const KILL: u8 = 0x15;
    let mut word = Vec::new();
    for key in keys {
        match key {
            INTERRUPT => return None,
            b'\n' | b'\r' | END => break,
            KILL => word.clear(),
            // A character may be several bytes.
            8 | 0x7f => while word.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            key if word.len() < TYPED_MAX => word.push(key),
            _ => {}
        }
    }
    Some(word)
}

/// A terminal that shows nothing and stops nobody, until this is dropped: who presses Ctrl-C must not be left with a silent one.
struct Quiet(Termios);

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_word() {
        let word = |keys: &str| read_keys(keys.bytes()).map(|word| String::from_utf8(word).unwrap());
        assert_eq!(word("secret\nmore").as_deref(), Some("secret"));
        assert_eq!(word("s\u{e9}x\u{7f}\u{7f}\u{8}\u{8}ab\r").as_deref(), Some("ab"));
        assert_eq!(word("wrong\u{15}right").as_deref(), Some("right"));
        assert_eq!(word("secret\u{3}\n"), None);
        assert_eq!(word("\u{4}").as_deref(), Some(""));
    }

    #[test]
    fn one_line_is_read() {
        assert_eq!(line(&b"se cret\r\nmore"[..]).unwrap(), "se cret");
        assert_eq!(line(&b""[..]).unwrap(), "");
        assert!(line(&b"\xff\n"[..]).is_err());
    }
}
