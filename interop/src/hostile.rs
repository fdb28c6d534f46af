//! A seed that lies, or serves nobody: it claims to have everything, and sends blocks with a flipped byte, or none.
//!
//! It speaks just enough of BEP 3 to be asked: handshake, bitfield, unchoke, and a piece message for each request.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};

/// The length of a handshake.
const HANDSHAKE: usize = 68;

/// The longest message that an honest peer would send us here.
const MESSAGE_MAX: usize = 1 << 20;

/// A listening liar.
pub struct Hostile {
    /// The port that it listens on.
    pub port: u16,
    sent: Arc<AtomicU64>,
}

impl Hostile {
    /// Listens on any port of the address. `content` is the true content; of each block that is asked for, its first byte is flipped.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(address: &str, content: Vec<u8>, piece_length: usize) -> Result<Self> {
        Self::listen(address, content, piece_length, true)
    }

    /// The same, but it chokes everybody for ever.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn choking(address: &str, content: Vec<u8>, piece_length: usize) -> Result<Self> {
        Self::listen(address, content, piece_length, false)
    }

    fn listen(address: &str, content: Vec<u8>, piece_length: usize, serves: bool) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).context("cannot listen")?;
        let port = listener.local_addr().context("no address")?.port();
        let sent = Arc::new(AtomicU64::new(0));
        let (content, count) = (Arc::new(content), Arc::clone(&sent));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (content, count) = (Arc::clone(&content), Arc::clone(&count));
                thread::spawn(move || serve(stream, &content, piece_length, serves, &count));
            }
        });
        Ok(Self { port, sent })
    }

    /// How many bad blocks it sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream, content: &[u8], piece_length: usize, serves: bool, sent: &AtomicU64) -> Result<()> {
    let mut hello = [0; HANDSHAKE];
    stream.read_exact(&mut hello)?;
    hello[20..28].fill(0); // no extension
    hello[48..].copy_from_slice(b"-XX0001-000000000000");
    stream.write_all(&hello)?;
    let pieces = content.len().div_ceil(piece_length);
    let mut bits = vec![0u8; pieces.div_ceil(8)];
    for piece in 0..pieces {
        bits[piece / 8] |= 0x80 >> (piece % 8);
    }
    send(&mut stream, 5, &[&bits])?;
    if serves {
        send(&mut stream, 1, &[])?;
    }
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        ensure!(length <= MESSAGE_MAX, "a message of {length} bytes");
        let mut message = vec![0; length];
        stream.read_exact(&mut message)?;
        if message.first() == Some(&6) && length == 13 {
            let number =
                |i: usize| u32::from_be_bytes([message[i], message[i + 1], message[i + 2], message[i + 3]]) as usize;
            let begin = number(1) * piece_length + number(5);
            let block = content.get(begin..begin + number(9)).context("asked for what is not there")?;
            let mut block = block.to_vec();
            block[0] ^= 1;
            send(&mut stream, 7, &[&message[1..9], &block])?;
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn send(stream: &mut TcpStream, kind: u8, parts: &[&[u8]]) -> Result<()> {
    let body: usize = parts.iter().map(|p| p.len()).sum();
    let mut message = u32::try_from(body + 1).context("too long")?.to_be_bytes().to_vec();
    message.push(kind);
    parts.iter().for_each(|p| message.extend_from_slice(p));
    stream.write_all(&message).context("cannot send")
}
