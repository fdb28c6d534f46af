//! FastCGI 1.0: what a web server says to a program that stays, and what it answers. Records of up to 65,535 bytes, of one
//! request at a time on a connection, in the role of a responder.

use thiserror::Error;

/// Most bytes in a record.
pub const CONTENT_MAX: usize = 65_535;
/// The number of the only request on a connection.
const REQUEST: u16 = 1;
const VERSION: u8 = 1;
const HEADER: usize = 8;

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

const RESPONDER: u16 = 1;

/// What a program answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A part of its output.
    Output(Vec<u8>),
    /// A part of its complaints.
    Complaint(Vec<u8>),
    /// It is done.
    End {
        /// What it would have exited with.
        status: u32,
        /// Why it did not do it: 0 means that it did.
        refused: u8,
    },
}

/// Why an answer can't be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FastCgiError {
    /// It speaks another version.
    #[error("a FastCGI record of version {0}, where 1 is spoken")]
    Version(u8),
    /// It answers a request that was not made.
    #[error("a FastCGI record of request {0}, which was not made")]
    Request(u16),
    /// The end of a request is cut off.
    #[error("a FastCGI end of request of {0} bytes, where 8 belong")]
    End(usize),
}

/// Begins a request, after which the program closes the connection.
pub fn begin(out: &mut Vec<u8>) {
    let [high, low] = RESPONDER.to_be_bytes();
    record(BEGIN_REQUEST, &[high, low, 0, 0, 0, 0, 0, 0], out);
}

/// Says all variables of the request.
pub fn params<'a>(variables: impl IntoIterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
    let mut pairs = Vec::with_capacity(1024);
    for (name, value) in variables {
        length(name.len(), &mut pairs);
        length(value.len(), &mut pairs);
        pairs.extend_from_slice(name);
        pairs.extend_from_slice(value);
    }
    pairs.chunks(CONTENT_MAX).for_each(|chunk| record(PARAMS, chunk, out));
    record(PARAMS, &[], out);
}

/// Says a part of the request's body, in as many records as it takes. The end is [`end_of_input`].
pub fn input(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.chunks(CONTENT_MAX).for_each(|chunk| record(STDIN, chunk, out));
}

/// The request's body is over.
pub fn end_of_input(out: &mut Vec<u8>) {
    record(STDIN, &[], out);
}

fn record(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    let [id_high, id_low] = REQUEST.to_be_bytes();
    let [len_high, len_low] = (content.len() as u16).to_be_bytes();
    out.extend_from_slice(&[VERSION, kind, id_high, id_low, len_high, len_low, 0, 0]);
    out.extend_from_slice(content);
}

fn length(len: usize, out: &mut Vec<u8>) {
    match u8::try_from(len) {
        Ok(short) if short < 128 => out.push(short),
        _ => out.extend_from_slice(&(len as u32 | 1 << 31).to_be_bytes()),
    }
}

/// Takes an answer apart, however it is cut by the connection.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    at: usize,
}

impl Decoder {
    /// Takes bytes. What one record needs is kept at most, beyond what was not asked for with [`Decoder::poll`] yet.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..std::mem::take(&mut self.at));
        self.buffer.extend_from_slice(bytes);
    }

    /// The next part of the answer, once it is there.
    ///
    /// # Errors
    /// If it can't be understood. Nothing that follows can.
    pub fn poll(&mut self) -> Result<Option<Reply>, FastCgiError> {
        loop {
            let rest = &self.buffer[self.at..];
            let Some(&[version, kind, id_high, id_low, len_high, len_low, padding, _]) = rest.first_chunk::<HEADER>()
            else {
                return Ok(None);
            };
            if version != VERSION {
                return Err(FastCgiError::Version(version));
            }
            let (request, len) =
                (u16::from_be_bytes([id_high, id_low]), usize::from(u16::from_be_bytes([len_high, len_low])));
            let Some(content) = rest.get(HEADER..HEADER + len) else { return Ok(None) };
            if rest.len() < HEADER + len + usize::from(padding) {
                return Ok(None);
            }
            self.at += HEADER + len + usize::from(padding);
            // Answers about the program itself have no request.
            if request == 0 {
                continue;
            }
            if request != REQUEST {
                return Err(FastCgiError::Request(request));
            }
            return match kind {
                // The end of a stream; the end of the request follows.
                STDOUT | STDERR if len == 0 => continue,
                STDOUT => Ok(Some(Reply::Output(content.to_vec()))),
                STDERR => Ok(Some(Reply::Complaint(content.to_vec()))),
                END_REQUEST => {
                    let Some(&[a, b, c, d, refused, ..]) = content.first_chunk::<8>() else {
                        return Err(FastCgiError::End(len));
                    };
                    Ok(Some(Reply::End { status: u32::from_be_bytes([a, b, c, d]), refused }))
                }
                _ => continue,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_byte_by_byte() {
        let mut out = Vec::new();
        begin(&mut out);
        params([(&b"A"[..], &b"bc"[..])], &mut out);
        input(b"xyz", &mut out);
        end_of_input(&mut out);
        let want = [
            &[1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            &[1, 4, 0, 1, 0, 5, 0, 0, 1, 2, b'A', b'b', b'c', 1, 4, 0, 1, 0, 0, 0, 0],
            &[1, 5, 0, 1, 0, 3, 0, 0, b'x', b'y', b'z', 1, 5, 0, 1, 0, 0, 0, 0],
        ];
        assert_eq!(out, want.concat());
    }

    #[test]
    fn long_values_and_bodies() {
        let mut out = Vec::new();
        let long = vec![b'v'; 70_000];
        params([(&b"N"[..], &long[..])], &mut out);
        // A name of 1 byte, a value of 70,000 in four bytes of length.
        assert_eq!(out[8..13], [1, 0x80, 0x01, 0x11, 0x70]);
        assert_eq!(out[4..6], [0xff, 0xff], "the first record is full");
        out.clear();
        input(&long, &mut out);
        assert_eq!(out.len(), 70_000 + 2 * HEADER);
    }

    #[test]
    fn an_answer_however_it_is_cut() {
        let mut raw = vec![1, 6, 0, 1, 0, 2, 3, 0, b'o', b'k', 9, 9, 9];
        raw.extend([1, 10, 0, 0, 0, 0, 0, 0]);
        raw.extend([1, 7, 0, 1, 0, 1, 0, 0, b'e', 1, 7, 0, 1, 0, 0, 0, 0, 1, 6, 0, 1, 0, 0, 0, 0]);
        raw.extend([1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 7, 2, 0, 0, 0]);
        for cut in 1..raw.len() {
            let (mut decoder, mut got) = (Decoder::default(), Vec::new());
            for part in raw.chunks(cut) {
                decoder.feed(part);
                while let Some(reply) = decoder.poll().unwrap() {
                    got.push(reply);
                }
            }
            let end = Reply::End { status: 7, refused: 2 };
            assert_eq!(got, [Reply::Output(b"ok".to_vec()), Reply::Complaint(b"e".to_vec()), end], "{cut}");
        }
    }

    #[test]
    fn what_is_no_answer() {
        let judge = |raw: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.feed(raw);
            decoder.poll()
        };
        assert_eq!(judge(b"HTTP/1.1 200"), Err(FastCgiError::Version(b'H')));
        assert_eq!(judge(&[1, 6, 0, 2, 0, 0, 0, 0]), Err(FastCgiError::Request(2)));
        assert_eq!(judge(&[1, 3, 0, 1, 0, 1, 0, 0, 0]), Err(FastCgiError::End(1)));
        assert_eq!(judge(&[1, 6, 0]), Ok(None));
    }

    proptest! {
        #[test]
        fn nothing_panics(raw in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..50) {
            let mut decoder = Decoder::default();
            'all: for part in raw.chunks(cut) {
                decoder.feed(part);
                loop {
                    match decoder.poll() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
        }
    }
}
