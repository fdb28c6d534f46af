//! Reads sockets into chunks of the pool: one call fills as many as there are bytes.

use crate::pool::{CHUNK, Pool};
use crate::rope::Rope;
use bytes::{Bytes, BytesMut};
use std::io::{self, IoSliceMut, Read};

/// Chunks read at once while there is much to read: fewer calls, fewer acknowledgements, larger batches for the disk.
const CHUNKS: usize = 64;

/// Chunks read at once otherwise.
const CHUNKS_CALM: usize = 16;

/// Bytes read at once at most.
pub(crate) const READ_MAX: usize = CHUNKS * CHUNK;

/// A read so small is copied: it must not pin a whole chunk.
const SMALL: usize = 4096;

/// What a read has brought.
#[derive(Debug, PartialEq)]
pub(crate) enum Got {
    /// Bytes. `drained`: there were fewer than there was room for.
    Bytes {
        /// The bytes.
        data: Rope,
        /// Nothing is left for now.
        drained: bool,
    },
    /// Nothing now.
    Nothing,
    /// The other end has closed, or the connection has failed.
    End,
}

/// Reads into reused chunks.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pool: Pool,
    chunks: Vec<BytesMut>,
    /// The last read has filled all that it was given.
    busy: bool,
}

impl Reader {
    /// Reads up to `limit` bytes, which must not be none.
    pub(crate) fn read(&mut self, from: &mut impl Read, limit: usize) -> Got {
        let limit = limit.min(if self.busy { READ_MAX } else { CHUNKS_CALM * CHUNK });
        let wanted = limit.div_ceil(CHUNK);
        while self.chunks.len() < wanted {
            let chunk = self.pool.take();
            self.chunks.push(chunk);
        }
        let (mut left, mut chunks) = (limit, self.chunks.iter_mut());
        let mut iov: [IoSliceMut<'_>; CHUNKS] = std::array::from_fn(|_| {
            let n = left.min(CHUNK);
            left -= n;
            IoSliceMut::new(if n == 0 { &mut [] } else { chunks.next().map_or(&mut [], |c| &mut c[..n]) })
        });
        let n = loop {
            match from.read_vectored(&mut iov[..wanted]) {
                Ok(0) => return Got::End,
                Ok(n) => break n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Got::Nothing,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Got::End,
            }
        };
        let drained = n < limit;
        self.busy = n >= CHUNKS_CALM * CHUNK;
        if n <= SMALL {
            return Got::Bytes { data: Rope::from(Bytes::copy_from_slice(&self.chunks[0][..n])), drained };
        }
        let mut data = Rope::default();
        let mut left = n;
        for chunk in self.chunks.drain(..n.div_ceil(CHUNK)) {
            let len = left.min(CHUNK);
            left -= len;
            data.push(self.pool.lend(chunk).slice(..len));
        }
        Got::Bytes { data, drained }
    }

    /// Frees what is not needed.
    pub(crate) fn trim(&mut self) {
        self.chunks.drain(..).for_each(|c| self.pool.put(c));
        self.pool.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Payload;

    #[test]
    fn reads_what_is_there_within_the_limit() {
        let mut most = CHUNKS_CALM * CHUNK;
        let body: Vec<u8> = (0..1_400_000u32).map(|i| (i % 253) as u8).collect();
        let (mut from, mut reader, mut back) = (&body[..], Reader::default(), Vec::new());
        for limit in [1, 100, 5000, 16_384, 16_385, 300_000, 600_000, 300_000] {
            let Got::Bytes { data, drained } = reader.read(&mut from, limit) else { panic!("there is more") };
            // A read that was filled lets the next one be larger.
            assert_eq!((data.len(), drained), (limit.min(most), false));
            most = if data.len() >= CHUNKS_CALM * CHUNK { READ_MAX } else { CHUNKS_CALM * CHUNK };
            back.extend(data.to_vec());
        }
        let Got::Bytes { data, drained: true } = reader.read(&mut from, READ_MAX) else { panic!("the rest") };
        back.extend(data.to_vec());
        assert!(back == body);
        assert_eq!(reader.read(&mut from, 10), Got::End);
        reader.trim();
    }
}
