use super::*;
use proptest::prelude::*;
use sha1::Digest;

/// FIPS 180-4 and RFC 3174.
#[test]
fn known_digests() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for (message, sha1, sha256) in [
        (
            &b""[..],
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            b"abc",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            two,
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ] {
        assert_eq!((hex(&Sha1::digest(message)), hex(&Sha256::digest(message))), (sha1.into(), sha256.into()));
    }
}

fn body(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed) ^ (i >> 7) as u8).collect()
}

/// Feeds all bodies, cut into parts, in two goes.
fn together<K: Kind>(bodies: &[Vec<u8>], cut: usize, first: usize) -> Vec<K::Digest> {
    let mut hashers = vec![Hasher::<K>::new(); bodies.len()];
    let parts = |range: fn(&[u8], usize) -> &[u8]| -> Vec<Vec<&[u8]>> {
        bodies.iter().map(|b| range(b, first.min(b.len())).chunks(cut).collect()).collect()
    };
    for parts in [parts(|b, at| &b[..at]), parts(|b, at| &b[at..])] {
        update_all(hashers.iter_mut().zip(&parts).map(|(h, p)| Feed::new(h, p)));
    }
    hashers.iter().zip(bodies).for_each(|(h, b)| assert_eq!(h.fed(), b.len() as u64));
    hashers.into_iter().map(Hasher::finish).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// However many, however long, however cut: what other code computes of each.
    #[test]
    fn lanes_do_not_mix(lens in proptest::collection::vec(0usize..700, 0..11), cut in 1usize..300, first in 0usize..500) {
        let bodies: Vec<_> = lens.iter().enumerate().map(|(i, len)| body(i as u8, *len)).collect();
        let sha1: Vec<[u8; 20]> = bodies.iter().map(|b| sha1::Sha1::digest(b).into()).collect();
        let sha256: Vec<[u8; 32]> = bodies.iter().map(|b| sha2::Sha256::digest(b).into()).collect();
        prop_assert_eq!(together::<Sha1Kind>(&bodies, cut, first), sha1);
        prop_assert_eq!(together::<Sha256Kind>(&bodies, cut, first), sha256);
    }
}

/// Every number of lanes at once, with the instructions of this machine and without.
#[test]
fn each_width_is_right() {
    for n in 1..=9 {
        let bodies: Vec<_> = (0..n).map(|i| body(i, 3 * BLOCK)).collect();
        let (mut a, mut b) = (vec![Sha1Kind::START; n as usize], vec![Sha256Kind::START; n as usize]);
        let blocks = |i: usize| bodies[i].as_chunks().0;
        Sha1Kind::compress(
            &mut a.iter_mut().enumerate().map(|(i, s)| Lane { state: s, blocks: blocks(i) }).collect::<Vec<_>>(),
        );
        Sha256Kind::compress(
            &mut b.iter_mut().enumerate().map(|(i, s)| Lane { state: s, blocks: blocks(i) }).collect::<Vec<_>>(),
        );
        for i in 0..n as usize {
            let (mut x, mut y) = (Sha1Kind::START, Sha256Kind::START);
            sha1::block_api::compress(&mut x, blocks(i));
            sha2::block_api::compress256(&mut y, blocks(i));
            assert_eq!((a[i], b[i]), (x, y), "lane {i} of {n}");
        }
    }
}
