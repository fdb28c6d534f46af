//! Entropy of the system, for the seeds of all random streams.

use base::{PeerId, Rng};
use rustix::rand::{GetRandomFlags, getrandom};

/// The beginning of our peer ids (BEP 20).
const CLIENT: &[u8; 8] = b"-SH0010-";

/// A stream of random numbers that nobody can guess.
///
/// # Errors
/// If the system gives no entropy.
pub(crate) fn rng() -> std::io::Result<Rng> {
    let mut seed = [0u8; 32];
    let mut at = 0;
    while at < seed.len() {
        at += getrandom(&mut seed[at..], GetRandomFlags::empty())?;
    }
    Ok(Rng::from_entropy(seed))
}

/// A peer id for one run: who we are, then letters and digits, since some trackers mishandle other bytes.
pub(crate) fn peer_id(rng: &mut Rng) -> PeerId {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut id = [0; 20];
    let (name, rest) = id.split_at_mut(CLIENT.len());
    name.copy_from_slice(CLIENT);
    rest.iter_mut().for_each(|b| *b = DIGITS[rng.index(DIGITS.len())]);
    PeerId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let mut rng = rng().unwrap();
        let (a, b) = (peer_id(&mut rng), peer_id(&mut rng));
        assert!(a.0.starts_with(CLIENT) && a != b);
    }
}
