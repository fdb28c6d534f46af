//! Lanes side by side with the SHA extensions of x86-64.
//!
//! The order of instructions within one block is that of Intel's description of the extensions; what is added is that each
//! step is done for all lanes before the next one.

use crate::{BLOCK, Block, Lane};
use std::arch::x86_64::*;

/// True if the machine has all the instructions that are used here.
fn found() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// Takes in the blocks of all lanes. False if the machine lacks the instructions.
#[expect(unsafe_code, reason = "code for instructions that were found just before")]
pub(crate) fn sha1(lanes: &mut [Lane<'_, [u32; 5]>]) -> bool {
    let found = found();
    if found {
        // SAFETY: the machine has what the function was compiled for.
        unsafe { sha1_found(lanes) };
    }
    found
}

/// Takes in the blocks of all lanes. False if the machine lacks the instructions.
#[expect(unsafe_code, reason = "code for instructions that were found just before")]
pub(crate) fn sha256(lanes: &mut [Lane<'_, [u32; 8]>]) -> bool {
    let found = found();
    if found {
        // SAFETY: the machine has what the function was compiled for.
        unsafe { sha256_found(lanes) };
    }
    found
}

/// Calls a function of N lanes with as many as there are.
macro_rules! by_lanes {
    ($run:ident, $lanes:expr) => {
        let (fours, rest) = $lanes.as_chunks_mut::<4>();
        fours.iter_mut().for_each(|l| $run(l));
        let (threes, rest) = rest.as_chunks_mut::<3>();
        threes.iter_mut().for_each(|l| $run(l));
        let (twos, rest) = rest.as_chunks_mut::<2>();
        twos.iter_mut().for_each(|l| $run(l));
        rest.as_chunks_mut::<1>().0.iter_mut().for_each(|l| $run(l));
    };
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn sha1_found(lanes: &mut [Lane<'_, [u32; 5]>]) {
    by_lanes!(sha1_lanes, lanes);
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn sha256_found(lanes: &mut [Lane<'_, [u32; 8]>]) {
    by_lanes!(sha256_lanes, lanes);
}

/// 16 bytes of a block, as they lie in memory.
#[inline]
#[target_feature(enable = "sse2")]
fn load(block: &Block, i: usize) -> __m128i {
    let bytes = block.as_chunks::<16>().0[i];
    let n = u128::from_le_bytes(bytes);
    _mm_set_epi64x((n >> 64) as i64, n as i64)
}

#[inline]
#[target_feature(enable = "sse2")]
fn words(w3: u32, w2: u32, w1: u32, w0: u32) -> __m128i {
    _mm_set_epi32(w3 as i32, w2 as i32, w1 as i32, w0 as i32)
}

#[inline]
#[target_feature(enable = "sse2,sse4.1")]
fn unwords(v: __m128i) -> [u32; 4] {
    [_mm_extract_epi32::<3>(v), _mm_extract_epi32::<2>(v), _mm_extract_epi32::<1>(v), _mm_extract_epi32::<0>(v)]
        .map(|w| w as u32)
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn sha1_lanes<const N: usize>(lanes: &mut [Lane<'_, [u32; 5]>; N]) {
    let zero = _mm_setzero_si128();
    let (mut abcd, mut e) = ([zero; N], [zero; N]);
    for l in 0..N {
        let s = &lanes[l].state;
        abcd[l] = words(s[0], s[1], s[2], s[3]);
        e[l] = words(s[4], 0, 0, 0);
    }
    let steps = lanes[0].blocks.len();
    debug_assert!(lanes.iter().all(|l| l.blocks.len() == steps));
    for i in 0..steps {
        sha1_block(&mut abcd, &mut e, std::array::from_fn(|l| &lanes[l].blocks[i]));
    }
    for l in 0..N {
        let [a, b, c, d] = unwords(abcd[l]);
        *lanes[l].state = [a, b, c, d, unwords(e[l])[0]];
    }
}

/// One block of each lane.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn sha1_block<const N: usize>(state: &mut [__m128i; N], state_e: &mut [__m128i; N], blocks: [&Block; N]) {
    let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let (mut abcd, mut even, mut odd) = (*state, *state_e, *state_e);
    let mut m = [[_mm_setzero_si128(); 4]; N];
    // Four rounds: message words W, then the state; the word of later rounds is made as soon as what it needs is there.
    macro_rules! rounds {
        ($($g:literal)*) => {$(
            for l in 0..N {
                if $g < 4 {
                    m[l][$g & 3] = _mm_shuffle_epi8(load(blocks[l], $g & 3), swap);
                }
                let w = m[l][$g & 3];
                let e = match $g {
                    0 => _mm_add_epi32(even[l], w),
                    g if g % 2 == 0 => _mm_sha1nexte_epu32(even[l], w),
                    _ => _mm_sha1nexte_epu32(odd[l], w),
                };
                if $g % 2 == 0 { odd[l] = abcd[l] } else { even[l] = abcd[l] }
                abcd[l] = _mm_sha1rnds4_epu32::<{ $g / 5 }>(abcd[l], e);
                if $g >= 3 && $g < 19 {
                    let next = _mm_sha1msg1_epu32(m[l][($g + 1) & 3], m[l][($g + 2) & 3]);
                    let next = _mm_xor_si128(next, m[l][($g + 3) & 3]);
                    m[l][($g + 1) & 3] = _mm_sha1msg2_epu32(next, w);
                }
            }
        )*};
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    for l in 0..N {
        state[l] = _mm_add_epi32(abcd[l], state[l]);
        state_e[l] = _mm_sha1nexte_epu32(even[l], state_e[l]);
    }
}

/// The round constants of SHA-256, four to a vector.
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn sha256_lanes<const N: usize>(lanes: &mut [Lane<'_, [u32; 8]>; N]) {
    let zero = _mm_setzero_si128();
    let (mut abef, mut cdgh) = ([zero; N], [zero; N]);
    for l in 0..N {
        let [a, b, c, d, e, f, g, h] = *lanes[l].state;
        abef[l] = words(a, b, e, f);
        cdgh[l] = words(c, d, g, h);
    }
    let steps = lanes[0].blocks.len();
    debug_assert!(lanes.iter().all(|l| l.blocks.len() == steps));
    for i in 0..steps {
        sha256_block(&mut abef, &mut cdgh, std::array::from_fn(|l| &lanes[l].blocks[i]));
    }
    for l in 0..N {
        let ([a, b, e, f], [c, d, g, h]) = (unwords(abef[l]), unwords(cdgh[l]));
        *lanes[l].state = [a, b, c, d, e, f, g, h];
    }
}

/// One block of each lane.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn sha256_block<const N: usize>(state_abef: &mut [__m128i; N], state_cdgh: &mut [__m128i; N], blocks: [&Block; N]) {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let (mut abef, mut cdgh) = (*state_abef, *state_cdgh);
    let mut m = [[_mm_setzero_si128(); 4]; N];
    for g in 0..16 {
        let k = words(K[g][3], K[g][2], K[g][1], K[g][0]);
        for l in 0..N {
            let w = if g < 4 {
                _mm_shuffle_epi8(load(blocks[l], g), swap)
            } else {
                let [w0, w1, w2, w3] = [m[l][g & 3], m[l][(g + 1) & 3], m[l][(g + 2) & 3], m[l][(g + 3) & 3]];
                let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
                _mm_sha256msg2_epu32(sum, w3)
            };
            m[l][g & 3] = w;
            let wk = _mm_add_epi32(w, k);
            cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], wk);
            abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], _mm_shuffle_epi32::<0x0e>(wk));
        }
    }
    for l in 0..N {
        state_abef[l] = _mm_add_epi32(abef[l], state_abef[l]);
        state_cdgh[l] = _mm_add_epi32(cdgh[l], state_cdgh[l]);
    }
}

const _: () = assert!(BLOCK == 64);
