//! Ways to damage bytes. They know what formats are made of: lengths in digits, big-endian numbers, nesting.

use base::Rng;

/// The longest input that damage makes.
const LEN_MAX: usize = 64 * 1024;

/// What parsers trip over.
const TOKENS: &[&[u8]] = &[
    b"d",
    b"l",
    b"i",
    b"e",
    b"0:",
    b"1:",
    b"i-0e",
    b"i0e",
    b"i-1e",
    b"i9223372036854775807e",
    b"i-9223372036854775808e",
    b"i99999999999999999999e",
    b"99999999999:",
    b"de",
    b"le",
    b"4:info",
    b"6:pieces",
    b"12:piece length",
    b"6:length",
    b"2:..",
    b"1:/",
    b"9:file tree",
    b"0:d",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"\x7f\xff\xff\xff",
    b"%",
    b"%00",
    b"&",
    b"=",
    b"info_hash=",
    b"-1",
    b"\0\0\0\x01",
];

/// Numbers on the edges.
const EDGES: &[u64] =
    &[0, 1, 2, 13, 14, 16, 0x7f, 0x80, 0xff, 0x3fff, 0x4000, 0x4001, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/// Damages `input` in one way. `other` is another example, to be spliced in.
pub(crate) fn damage(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = rng.index(input.len() + 1);
    let end = (at + rng.index(64)).min(input.len());
    match rng.below(11) {
        0 => change(input, rng, |byte, rng| byte ^ (1 << rng.below(8))),
        1 => change(input, rng, |_, rng| rng.next_u32() as u8),
        2 => change(input, rng, |byte, rng| byte.wrapping_add(if rng.one_in(2) { 1 } else { 0xff })),
        3 => drop(input.drain(at..end)),
        4 => input.truncate(at),
        5 => insert(input, at, TOKENS[rng.index(TOKENS.len())]),
        6 => {
            let run = input[at..end].to_vec();
            insert(input, rng.index(input.len() + 1), &run);
        }
        7 => {
            let from = rng.index(other.len() + 1);
            let to = (from + rng.index(256)).min(other.len());
            insert(input, at, &other[from..to]);
        }
        8 => edge(input, at, rng),
        9 => digits(input, rng),
        _ => {
            let token = TOKENS[rng.index(TOKENS.len())];
            let times = 1 + rng.index(200);
            insert(input, at, &token.repeat(times));
        }
    }
    input.truncate(LEN_MAX);
}

fn change(input: &mut [u8], rng: &mut Rng, how: impl Fn(u8, &mut Rng) -> u8) {
    if !input.is_empty() {
        let at = rng.index(input.len());
        input[at] = how(input[at], rng);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// Overwrites a big-endian number of 1, 2, 4 or 8 bytes.
fn edge(input: &mut [u8], at: usize, rng: &mut Rng) {
    let number = EDGES[rng.index(EDGES.len())].to_be_bytes();
    let width = 1 << rng.below(4);
    for (slot, byte) in input.iter_mut().skip(at).take(width).zip(&number[8 - width..]) {
        *slot = *byte;
    }
}

/// Replaces a number that is written in digits.
fn digits(input: &mut Vec<u8>, rng: &mut Rng) {
    let runs: Vec<usize> =
        (0..input.len()).filter(|&i| input[i].is_ascii_digit() && (i == 0 || !input[i - 1].is_ascii_digit())).collect();
    if runs.is_empty() {
        return;
    }
    let from = runs[rng.index(runs.len())];
    let to = input[from..].iter().position(|b| !b.is_ascii_digit()).map_or(input.len(), |n| from + n);
    let number = if rng.one_in(2) { EDGES[rng.index(EDGES.len())] } else { rng.below(300) };
    input.splice(from..to, number.to_string().into_bytes());
}
