use super::*;
use proptest::prelude::*;

fn check(input: &[u8]) -> Result<Vec<Quirk>, ErrorKind> {
    match parse(input, &Limits::TORRENT) {
        Ok(doc) => Ok(doc.quirks().iter().map(|(q, _)| *q).collect()),
        Err(e) => Err(e.kind),
    }
}

#[test]
fn values_know_their_spans() {
    let input = b"d4:infod6:lengthi42ee1:llee";
    let doc = parse(input, &Limits::TORRENT).unwrap();
    let info = doc.root().find_dict(b"info").unwrap();
    assert_eq!(info.raw(), b"d6:lengthi42ee");
    assert_eq!(info.find_int(b"length"), Some(42));
    assert_eq!(info.find(b"none").map(|v| v.kind()), None);
    assert_eq!(doc.root().find_list(b"l").unwrap().items().unwrap().count(), 0);
    assert_eq!(doc.root().find(b"info").unwrap().as_int(), None);
    assert_eq!(doc.root().find_bytes(b"info"), None);
    assert_eq!(doc.root().entries().unwrap().map(|(k, _)| k).collect::<Vec<_>>(), [b"info".as_slice(), b"l"]);
    assert_eq!(doc.quirks(), []);
    assert_eq!(doc.consumed(), input.len());
}

#[test]
fn what_real_clients_let_pass() {
    for (input, quirks) in [
        (b"i0e".as_slice(), vec![]),
        (b"i-1e", vec![]),
        (b"i007e", vec![Quirk::LeadingZero]),
        (b"i-0e", vec![Quirk::NegativeZero]),
        (b"03:abc", vec![Quirk::LeadingZero]),
        (b"0:", vec![]),
        (b"d1:bi1e1:ai2ee", vec![Quirk::UnsortedKeys]),
        (b"d1:ai1e1:ai2ee", vec![Quirk::DuplicateKey]),
        (b"d0:0:e", vec![]),
        (b"dex", vec![Quirk::TrailingBytes]),
        (b"i9223372036854775807e", vec![]),
        (b"i9223372036854775808e", vec![Quirk::LongInteger]),
        (b"i-9223372036854775808e", vec![]),
    ] {
        assert_eq!(check(input), Ok(quirks), "{}", input.escape_ascii());
    }
    let doc = parse(b"d1:ai1e1:ai2ee", &Limits::MESSAGE).unwrap();
    assert_eq!(doc.root().find_int(b"a"), Some(1), "the first counts");
}

#[test]
fn what_is_refused() {
    for (input, kind) in [
        (b"".as_slice(), ErrorKind::End),
        (b"e", ErrorKind::Value),
        (b"x", ErrorKind::Value),
        (b"ie", ErrorKind::Digit),
        (b"i-e", ErrorKind::Digit),
        (b"i--1e", ErrorKind::Digit),
        (b"i1", ErrorKind::End),
        (b"i1x", ErrorKind::Digit),
        (b"i123456789012345678901e", ErrorKind::Number),
        (b"3:ab", ErrorKind::End),
        (b"3", ErrorKind::End),
        (b"3x", ErrorKind::Digit),
        (b"99999999999999999999:a", ErrorKind::End),
        (b"-1:a", ErrorKind::Value),
        (b"l", ErrorKind::End),
        (b"d", ErrorKind::End),
        (b"di1e1:ae", ErrorKind::Key),
        (b"d1:ae", ErrorKind::Value),
        (b"d1:a", ErrorKind::End),
    ] {
        assert_eq!(check(input), Err(kind), "{}", input.escape_ascii());
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { input: 1000, depth: 3, tokens: 10 };
    assert!(parse(b"lllleeee", &limits).is_err_and(|e| e.kind == ErrorKind::Depth));
    assert!(parse(b"llleee", &limits).is_ok());
    let flood = |n: usize| [b"l".as_slice(), &b"i1e".repeat(n), b"e"].concat();
    assert!(parse(&flood(9), &limits).is_ok());
    assert!(parse(&flood(10), &limits).is_err_and(|e| e.kind == ErrorKind::Limit));
    assert!(parse(&[b'l'; 1001], &limits).is_err_and(|e| e.kind == ErrorKind::Limit));
    assert!(parse(&vec![b'l'; 1 << 20], &Limits::TORRENT).is_err_and(|e| e.kind == ErrorKind::Depth));
}

#[test]
fn a_prefix_leaves_the_rest() {
    let doc = parse_prefix(b"d5:piecei0eeraw bytes", &Limits::MESSAGE).unwrap();
    assert_eq!(doc.rest(), b"raw bytes");
    assert_eq!(doc.consumed(), 12);
    assert_eq!(doc.quirks(), []);
}

#[test]
fn dictionaries_are_written_sorted() {
    let dict = Dict::new()
        .with(b"b", 1u32)
        .with(b"a", vec![Item::from("x"), Item::Int(-3)])
        .with(b"aa", Dict::new())
        .with_some(b"n", None::<i64>)
        .with(b"raw", Item::Raw(b"i5e".into()));
    assert_eq!(dict.encode().escape_ascii().to_string(), "d1:al1:xi-3ee2:aade1:bi1e3:rawi5ee");
}

fn item() -> impl Strategy<Value = Item<'static>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..12);
    let leaf = prop_oneof![any::<i64>().prop_map(Item::Int), bytes().prop_map(Item::from)];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Item::List),
            proptest::collection::vec((bytes(), inner), 0..6).prop_map(|entries| {
                Item::Dict(entries.into_iter().fold(Dict::new(), |dict, (k, v)| dict.with(k, v)))
            }),
        ]
    })
}

/// Reads a parsed value back into an item.
fn read(value: Value<'_>) -> Item<'static> {
    match value.kind() {
        Kind::Int => Item::Int(value.as_int().unwrap()),
        Kind::Bytes => Item::from(value.as_bytes().unwrap().to_vec()),
        Kind::List => Item::List(value.items().unwrap().map(read).collect()),
        Kind::Dict => Item::Dict(value.entries().unwrap().fold(Dict::new(), |d, (k, v)| d.with(k.to_vec(), read(v)))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read(item in item()) {
        let bytes = item.encode();
        let doc = parse(&bytes, &Limits::TORRENT).unwrap();
        prop_assert_eq!(doc.quirks(), []);
        prop_assert_eq!(doc.root().raw(), &bytes[..]);
        prop_assert_eq!(read(doc.root()), item);
    }

    #[test]
    fn strangers_never_panic_it(bytes in proptest::collection::vec(prop_oneof![
        3 => proptest::sample::select(b"dlie0123456789:-".to_vec()),
        1 => any::<u8>(),
    ], 0..200)) {
        if let Ok(doc) = parse(&bytes, &Limits::TORRENT) {
            walk(doc.root());
        }
    }

    #[test]
    fn mutations_never_panic_it(item in item(), at in any::<proptest::sample::Index>(), byte: u8, cut in any::<proptest::sample::Index>()) {
        let mut bytes = item.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(doc) = parse_prefix(&bytes, &Limits::TORRENT) {
            prop_assert!(doc.consumed() <= bytes.len());
            walk(doc.root());
        }
    }
}

/// Touches every accessor of every value.
fn walk(value: Value<'_>) {
    let _ = (value.raw(), value.as_int(), value.as_u64(), value.as_bytes(), value.as_str(), value.find(b"a"));
    value.items().into_iter().flatten().for_each(walk);
    value.entries().into_iter().flatten().for_each(|(_, v)| walk(v));
}
