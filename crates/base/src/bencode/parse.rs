//! The reader: one pass over the input, one flat list of tokens, no recursion.

use std::fmt;
use std::ops::Range;

/// How much of a stranger's input is read. Beyond a limit parsing ends with [`ErrorKind::Limit`] or [`ErrorKind::Depth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of input. At most `u32::MAX`.
    pub input: usize,
    /// Lists and dictionaries within each other.
    pub depth: usize,
    /// Values, keys counted too. Each costs 16 bytes.
    pub tokens: usize,
}

impl Limits {
    /// For .torrent files: room for 2^21 pieces of a hybrid, depth 100 and 2.5 million tokens as in libtorrent.
    pub const TORRENT: Limits = Limits { input: 160 << 20, depth: 100, tokens: 2_500_000 };
    /// For messages of peers and trackers.
    pub const MESSAGE: Limits = Limits { input: 1 << 20, depth: 20, tokens: 50_000 };
    /// For datagrams.
    pub const DATAGRAM: Limits = Limits { input: 1 << 16, depth: 10, tokens: 1_000 };

    /// Integers and string lengths with more digits than this are refused, as in libtorrent.
    pub const DIGITS: usize = 20;
}

/// Something that the specification forbids and real clients let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// The keys of a dictionary are not in order. Equal keys are then looked for no further.
    UnsortedKeys,
    /// A key follows itself. [`Value::find`] answers the first.
    DuplicateKey,
    /// An integer or a string length starts with a needless zero.
    LeadingZero,
    /// An integer is written `-0`.
    NegativeZero,
    /// An integer does not fit 64 bits: [`Value::as_int`] answers None.
    LongInteger,
    /// Bytes follow the value.
    TrailingBytes,
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quirk::UnsortedKeys => "dictionary keys out of order",
            Quirk::DuplicateKey => "a dictionary key twice",
            Quirk::LeadingZero => "a number with leading zeros",
            Quirk::NegativeZero => "an integer written -0",
            Quirk::LongInteger => "an integer beyond 64 bits",
            Quirk::TrailingBytes => "bytes behind the end",
        })
    }
}

/// Why the input is not bencode, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid bencode: {kind} at byte {at}")]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Bytes from the beginning of the input.
    pub at: usize,
}

/// What is wrong with the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The input ends within a value.
    #[error("unexpected end")]
    End,
    /// A digit was expected.
    #[error("expected a digit")]
    Digit,
    /// A value was expected.
    #[error("expected a value")]
    Value,
    /// A dictionary key that is no string.
    #[error("expected a string as key")]
    Key,
    /// A number with more than [`Limits::DIGITS`] digits.
    #[error("number too long")]
    Number,
    /// Nested deeper than [`Limits::depth`].
    #[error("nested too deep")]
    Depth,
    /// More bytes or tokens than [`Limits`] allow.
    #[error("larger than the limit")]
    Limit,
}

/// The four kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An integer.
    Int,
    /// A byte string.
    Bytes,
    /// A list.
    List,
    /// A dictionary.
    Dict,
}

/// One value: where it is, and where its next sibling is in the list of tokens.
#[derive(Clone, Copy, Debug)]
struct Token {
    start: u32,
    end: u32,
    next: u32,
    /// Bytes before the content of a string; at most [`Limits::DIGITS`] and a colon.
    header: u8,
    kind: Kind,
}

/// A parsed input. Its values are read through [`Doc::root`].
#[derive(Clone, Debug)]
pub struct Doc<'a> {
    input: &'a [u8],
    tokens: Vec<Token>,
    /// At most one of each kind, with the offset where it was first seen.
    quirks: Vec<(Quirk, usize)>,
}

impl<'a> Doc<'a> {
    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value { input: self.input, tokens: &self.tokens, index: 0 }
    }

    /// What was let pass: each kind once, with the offset of its first appearance.
    pub fn quirks(&self) -> &[(Quirk, usize)] {
        &self.quirks
    }

    /// Bytes that the outermost value takes.
    pub fn consumed(&self) -> usize {
        self.tokens[0].end as usize
    }

    /// Bytes behind the outermost value.
    pub fn rest(&self) -> &'a [u8] {
        &self.input[self.consumed()..]
    }
}

/// A value within a [`Doc`]. Spans and bytes are those of the input as it was received.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    input: &'d [u8],
    tokens: &'d [Token],
    index: u32,
}

impl<'d> Value<'d> {
    fn token(&self) -> Token {
        self.tokens[self.index as usize]
    }

    /// What kind of value this is.
    pub fn kind(&self) -> Kind {
        self.token().kind
    }

    /// Where the value is in the input.
    pub fn span(&self) -> Range<usize> {
        let t = self.token();
        t.start as usize..t.end as usize
    }

    /// The value as it was received.
    pub fn raw(&self) -> &'d [u8] {
        &self.input[self.span()]
    }

    /// The integer; None for another kind, and beyond 64 bits.
    pub fn as_int(&self) -> Option<i64> {
        match self.raw() {
            [b'i', digits @ .., b'e'] if self.kind() == Kind::Int => std::str::from_utf8(digits).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The integer, if it is not negative and below 2^63.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_int()?.try_into().ok()
    }

    /// Where the content of a string is in the input.
    pub fn bytes_span(&self) -> Option<Range<usize>> {
        let t = self.token();
        (t.kind == Kind::Bytes).then(|| t.start as usize + usize::from(t.header)..t.end as usize)
    }

    /// The content of a string.
    pub fn as_bytes(&self) -> Option<&'d [u8]> {
        self.bytes_span().map(|span| &self.input[span])
    }

    /// The content of a string that is UTF-8.
    pub fn as_str(&self) -> Option<&'d str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The content of a string of exactly `N` bytes.
    pub fn as_array<const N: usize>(&self) -> Option<[u8; N]> {
        self.as_bytes()?.try_into().ok()
    }

    /// The entries of a list; None for another kind.
    pub fn items(&self) -> Option<impl Iterator<Item = Value<'d>> + use<'d>> {
        (self.kind() == Kind::List).then(|| self.children())
    }

    /// The entries of a dictionary in the order of the input; None for another kind.
    pub fn entries(&self) -> Option<impl Iterator<Item = (&'d [u8], Value<'d>)> + use<'d>> {
        let mut children = (self.kind() == Kind::Dict).then(|| self.children())?;
        Some(std::iter::from_fn(move || {
            let key = children.next()?;
            Some((key.as_bytes().unwrap_or_default(), children.next()?))
        }))
    }

    /// The value of `key`; None without it, and for what is no dictionary. The first of several counts.
    pub fn find(&self, key: &[u8]) -> Option<Value<'d>> {
        self.entries()?.find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// The integer at `key`.
    pub fn find_int(&self, key: &[u8]) -> Option<i64> {
        self.find(key)?.as_int()
    }

    /// The integer at `key`, if it is not negative.
    pub fn find_u64(&self, key: &[u8]) -> Option<u64> {
        self.find(key)?.as_u64()
    }

    /// The string at `key`.
    pub fn find_bytes(&self, key: &[u8]) -> Option<&'d [u8]> {
        self.find(key)?.as_bytes()
    }

    /// The string at `key`, if it is UTF-8.
    pub fn find_str(&self, key: &[u8]) -> Option<&'d str> {
        self.find(key)?.as_str()
    }

    /// The dictionary at `key`.
    pub fn find_dict(&self, key: &[u8]) -> Option<Value<'d>> {
        self.find(key).filter(|v| v.kind() == Kind::Dict)
    }

    /// The list at `key`.
    pub fn find_list(&self, key: &[u8]) -> Option<Value<'d>> {
        self.find(key).filter(|v| v.kind() == Kind::List)
    }

    fn children(&self) -> impl Iterator<Item = Value<'d>> + use<'d> {
        let (this, end) = (*self, self.token().next);
        let mut at = self.index + 1;
        std::iter::from_fn(move || {
            let child = (at < end).then_some(Value { index: at, ..this })?;
            at = child.token().next;
            Some(child)
        })
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raw().escape_ascii())
    }
}

/// Parses one value. Bytes behind it are let pass, as [`Quirk::TrailingBytes`].
pub fn parse<'a>(input: &'a [u8], limits: &Limits) -> Result<Doc<'a>, Error> {
    let mut doc = parse_prefix(input, limits)?;
    let end = doc.consumed();
    if end < input.len() {
        doc.quirks.push((Quirk::TrailingBytes, end));
    }
    Ok(doc)
}

/// Parses one value at the beginning of the input; what follows is [`Doc::rest`].
pub fn parse_prefix<'a>(input: &'a [u8], limits: &Limits) -> Result<Doc<'a>, Error> {
    if input.len() > limits.input || u32::try_from(input.len()).is_err() {
        return Err(Error { kind: ErrorKind::Limit, at: 0 });
    }
    let mut parser = Parser { input, at: 0, limits, tokens: Vec::new(), open: Vec::new(), quirks: Vec::new() };
    parser.run()?;
    Ok(Doc { input, tokens: parser.tokens, quirks: parser.quirks })
}

/// A list or dictionary whose end was not seen yet.
struct Frame {
    token: usize,
    dict: bool,
    /// In a dictionary: the last key, and whether its value is still to come.
    key: Option<Range<usize>>,
    value_due: bool,
}

struct Parser<'a, 'l> {
    input: &'a [u8],
    at: usize,
    limits: &'l Limits,
    tokens: Vec<Token>,
    open: Vec<Frame>,
    quirks: Vec<(Quirk, usize)>,
}

impl Parser<'_, '_> {
    fn run(&mut self) -> Result<(), Error> {
        loop {
            let start = self.at;
            match (self.peek()?, self.open.last()) {
                (b'e', Some(frame)) if frame.dict && frame.value_due => return self.fail(ErrorKind::Value),
                (b'e', Some(_)) => self.close(),
                (b'0'..=b'9', _) => self.string()?,
                (_, Some(frame)) if frame.dict && !frame.value_due => return self.fail(ErrorKind::Key),
                (b'i', _) => self.integer()?,
                (b'l', _) => self.open(false)?,
                (b'd', _) => self.open(true)?,
                _ => return self.fail(ErrorKind::Value),
            }
            if self.open.is_empty() {
                return Ok(());
            }
            debug_assert!(self.at > start, "every step takes at least a byte");
        }
    }

    fn fail<T>(&self, kind: ErrorKind) -> Result<T, Error> {
        Err(Error { kind, at: self.at })
    }

    fn peek(&self) -> Result<u8, Error> {
        match self.input.get(self.at) {
            Some(byte) => Ok(*byte),
            None => self.fail(ErrorKind::End),
        }
    }

    fn quirk(&mut self, quirk: Quirk, at: usize) {
        if !self.quirks.iter().any(|(q, _)| *q == quirk) {
            self.quirks.push((quirk, at));
        }
    }

    /// Adds the token that starts at `start` and ends here. Ends of lists and dictionaries are filled in later.
    fn push(&mut self, kind: Kind, start: usize, header: usize) -> Result<(), Error> {
        if self.tokens.len() >= self.limits.tokens {
            return self.fail(ErrorKind::Limit);
        }
        let next = self.tokens.len() as u32 + 1;
        // The casts hold: the input is at most u32::MAX long, and a header at most DIGITS + 1 bytes.
        self.tokens.push(Token { start: start as u32, end: self.at as u32, next, header: header as u8, kind });
        Ok(())
    }

    fn open(&mut self, dict: bool) -> Result<(), Error> {
        if self.open.len() >= self.limits.depth {
            return self.fail(ErrorKind::Depth);
        }
        self.value_seen();
        let start = self.at;
        self.at += 1;
        self.open.push(Frame { token: self.tokens.len(), dict, key: None, value_due: false });
        self.push(if dict { Kind::Dict } else { Kind::List }, start, 0)
    }

    fn close(&mut self) {
        self.at += 1;
        let next = self.tokens.len() as u32;
        if let Some(frame) = self.open.pop() {
            let token = &mut self.tokens[frame.token];
            token.end = self.at as u32;
            token.next = next;
        }
    }

    /// In a dictionary, the value of the last key starts here.
    fn value_seen(&mut self) {
        if let Some(frame) = self.open.last_mut() {
            frame.value_due = false;
        }
    }

    fn integer(&mut self) -> Result<(), Error> {
        self.value_seen();
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let digits = self.digits(b'e')?;
        if digits.len() > 1 && self.input[digits.start] == b'0' {
            self.quirk(Quirk::LeadingZero, start);
        }
        if negative && self.input[digits.clone()].iter().all(|d| *d == b'0') {
            self.quirk(Quirk::NegativeZero, start);
        }
        self.at = digits.end + 1;
        self.push(Kind::Int, start, 0)?;
        let last = Value { input: self.input, tokens: &self.tokens, index: self.tokens.len() as u32 - 1 };
        if last.as_int().is_none() {
            self.quirk(Quirk::LongInteger, start);
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        let start = self.at;
        let digits = self.digits(b':')?;
        if digits.len() > 1 && self.input[digits.start] == b'0' {
            self.quirk(Quirk::LeadingZero, start);
        }
        let len = self.input[digits.clone()]
            .iter()
            .try_fold(0usize, |n, d| n.checked_mul(10)?.checked_add(usize::from(d - b'0')));
        let content = digits.end + 1;
        let end = len.and_then(|len| content.checked_add(len)).filter(|end| *end <= self.input.len());
        let Some(end) = end else { return self.fail(ErrorKind::End) };
        self.at = end;
        self.push(Kind::Bytes, start, content - start)?;
        self.string_seen(content..end);
        Ok(())
    }

    /// In a dictionary every other string is a key; checks its order.
    fn string_seen(&mut self, span: Range<usize>) {
        let input = self.input;
        let Some(frame) = self.open.last_mut().filter(|f| f.dict) else { return };
        if frame.value_due {
            frame.value_due = false;
            return;
        }
        frame.value_due = true;
        let at = span.start;
        let before = frame.key.replace(span.clone());
        match before.map(|b| input[b].cmp(&input[span])) {
            Some(std::cmp::Ordering::Greater) => self.quirk(Quirk::UnsortedKeys, at),
            Some(std::cmp::Ordering::Equal) => self.quirk(Quirk::DuplicateKey, at),
            _ => {}
        }
    }

    /// The digits here, at least one, up to `end`, which must follow.
    fn digits(&mut self, end: u8) -> Result<Range<usize>, Error> {
        let start = self.at;
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
            if self.at - start > Limits::DIGITS {
                return self.fail(ErrorKind::Number);
            }
        }
        if self.at == start || self.peek()? != end {
            return self.fail(ErrorKind::Digit);
        }
        let digits = start..self.at;
        self.at = start;
        Ok(digits)
    }
}
