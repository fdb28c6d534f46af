//! The writer: a tree of items, always written canonically.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value to write. Dictionaries sort themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An integer.
    Int(i64),
    /// A byte string.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Item<'a>>),
    /// A dictionary.
    Dict(Dict<'a>),
    /// Bytes that are one bencoded value already, such as an info dictionary.
    Raw(Cow<'a, [u8]>),
}

/// A dictionary to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dict<'a>(BTreeMap<Cow<'a, [u8]>, Item<'a>>);

impl<'a> Dict<'a> {
    /// An empty dictionary.
    pub fn new() -> Self {
        Dict::default()
    }

    /// This dictionary and one more entry. The last value of a key counts.
    pub fn with(mut self, key: impl Into<Cow<'a, [u8]>>, value: impl Into<Item<'a>>) -> Self {
        self.insert(key, value);
        self
    }

    /// The same, when there is a value.
    pub fn with_some(self, key: impl Into<Cow<'a, [u8]>>, value: Option<impl Into<Item<'a>>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds an entry. The last value of a key counts.
    pub fn insert(&mut self, key: impl Into<Cow<'a, [u8]>>, value: impl Into<Item<'a>>) {
        self.0.insert(key.into(), value.into());
    }

    /// The value of `key`, put there by `default` if there is none.
    pub fn entry(&mut self, key: Cow<'a, [u8]>, default: impl FnOnce() -> Item<'a>) -> &mut Item<'a> {
        self.0.entry(key).or_insert_with(default)
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Appends the bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        for (key, value) in &self.0 {
            write_bytes(key, out);
            value.write(out);
        }
        out.push(b'e');
    }
}

impl Item<'_> {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Appends the bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Item::Int(n) => out.extend(format!("i{n}e").bytes()),
            Item::Bytes(bytes) => write_bytes(bytes, out),
            Item::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            Item::Dict(dict) => dict.write(out),
            Item::Raw(raw) => out.extend_from_slice(raw),
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{}:", bytes.len()).bytes());
    out.extend_from_slice(bytes);
}

macro_rules! from {
    ($($from:ty => |$name:ident| $item:expr),* $(,)?) => {
        $(impl<'a> From<$from> for Item<'a> {
            fn from($name: $from) -> Self {
                $item
            }
        })*
    };
}

from! {
    i64 => |n| Item::Int(n),
    u8 => |n| Item::Int(n.into()),
    u16 => |n| Item::Int(n.into()),
    u32 => |n| Item::Int(n.into()),
    // Bencode has no bounds, but readers have: nothing above 2^63 - 1 is written.
    u64 => |n| Item::Int(i64::try_from(n).unwrap_or(i64::MAX)),
    &'a [u8] => |bytes| Item::Bytes(bytes.into()),
    &'a str => |text| Item::Bytes(text.as_bytes().into()),
    Vec<u8> => |bytes| Item::Bytes(bytes.into()),
    String => |text| Item::Bytes(text.into_bytes().into()),
    Vec<Item<'a>> => |items| Item::List(items),
    Dict<'a> => |dict| Item::Dict(dict),
}

impl<'a, const N: usize> From<&'a [u8; N]> for Item<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Item::Bytes(bytes.as_slice().into())
    }
}

impl<'a> From<super::Value<'a>> for Item<'a> {
    fn from(value: super::Value<'a>) -> Self {
        Item::Raw(value.raw().into())
    }
}
