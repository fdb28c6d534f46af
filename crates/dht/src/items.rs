//! Stored items (BEP 44): what they are called, who signed them, and those that this node keeps for others.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Instant, NodeId};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha1::{Digest, Sha1};
use wire::krpc::{SALT_BYTES_MAX, VALUE_BYTES_MAX, code, signed_bytes};

/// Items that are kept.
pub const ITEMS_MAX: usize = 700;
/// An item that was not put again for so long is gone. Publishers do it once an hour.
pub const ITEM_LIFE: Duration = Duration::from_secs(2 * 3600);

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What is stored, bencoded, [`VALUE_BYTES_MAX`] bytes at most.
    pub value: Vec<u8>,
    /// Who may replace it, and how; None for what is called by its hash.
    pub mutable: Option<Signed>,
}

/// What makes an item mutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The public key.
    pub key: [u8; 32],
    /// Tells items of one key apart, [`SALT_BYTES_MAX`] bytes at most.
    pub salt: Vec<u8>,
    /// Counts up with each new value; not negative.
    pub seq: i64,
    /// Over salt, number and value.
    pub signature: [u8; 64],
}

/// Why an item can't be put into the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemError {
    /// The value is no bencode, or there is something behind it.
    NotBencode,
    /// The value is longer than [`VALUE_BYTES_MAX`].
    ValueTooLong(usize),
    /// The salt is longer than [`SALT_BYTES_MAX`].
    SaltTooLong(usize),
    /// The number is negative.
    Negative(i64),
}

impl std::error::Error for ItemError {}

impl std::fmt::Display for ItemError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ItemError::NotBencode => write!(f, "the value is not one piece of canonical bencode"),
            ItemError::ValueTooLong(n) => write!(f, "the value takes {n} bytes; nodes store {VALUE_BYTES_MAX} at most"),
            ItemError::SaltTooLong(n) => write!(f, "the salt takes {n} bytes; nodes accept {SALT_BYTES_MAX} at most"),
            ItemError::Negative(n) => write!(f, "the sequence number {n} is negative; begin with 0"),
        }
    }
}

impl Item {
    /// An item that is called by the hash of its value.
    pub fn immutable(value: Vec<u8>) -> Result<Item, ItemError> {
        check_value(&value)?;
        Ok(Item { value, mutable: None })
    }

    /// An item that whoever knows `secret`, an ed25519 seed, can replace by one with a higher `seq`.
    pub fn signed(secret: &[u8; 32], salt: &[u8], seq: i64, value: Vec<u8>) -> Result<Item, ItemError> {
        check_value(&value)?;
        if salt.len() > SALT_BYTES_MAX {
            return Err(ItemError::SaltTooLong(salt.len()));
        }
        if seq < 0 {
            return Err(ItemError::Negative(seq));
        }
        let key = SigningKey::from_bytes(secret);
        let signature = key.sign(&signed_bytes(salt, seq, &value)).to_bytes();
        let mutable = Signed { key: key.verifying_key().to_bytes(), salt: salt.to_vec(), seq, signature };
        Ok(Item { value, mutable: Some(mutable) })
    }

    /// What it is called.
    pub fn target(&self) -> NodeId {
        self.mutable.as_ref().map_or_else(|| sha1(&[&self.value]), |s| mutable_target(&s.key, &s.salt))
    }

    /// Is the signature that of the key? Always, for an immutable item.
    pub fn is_genuine(&self) -> bool {
        let Some(signed) = &self.mutable else { return true };
        let message = signed_bytes(&signed.salt, signed.seq, &self.value);
        VerifyingKey::from_bytes(&signed.key)
            .is_ok_and(|key| key.verify_strict(&message, &Signature::from_bytes(&signed.signature)).is_ok())
    }

    fn seq(&self) -> Option<i64> {
        self.mutable.as_ref().map(|s| s.seq)
    }
}

/// The public key of an ed25519 seed.
pub fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(secret).verifying_key().to_bytes()
}

/// What mutable items of this key and salt are called.
pub fn mutable_target(key: &[u8; 32], salt: &[u8]) -> NodeId {
    sha1(&[key, salt])
}

/// What an immutable item of this value is called.
pub fn immutable_target(value: &[u8]) -> NodeId {
    sha1(&[value])
}

fn sha1(parts: &[&[u8]]) -> NodeId {
    let mut hasher = Sha1::new();
    parts.iter().for_each(|part| hasher.update(part));
    NodeId(hasher.finalize().into())
}

fn check_value(value: &[u8]) -> Result<(), ItemError> {
    use base::bencode;
    if value.len() > VALUE_BYTES_MAX {
        return Err(ItemError::ValueTooLong(value.len()));
    }
    match bencode::parse(value, &bencode::Limits::DATAGRAM) {
        Ok(doc) if doc.quirks().is_empty() => Ok(()),
        _ => Err(ItemError::NotBencode),
    }
}

/// Why a put is refused: the code and the words of the answer.
pub(crate) type Refusal = (i64, &'static str);

/// The items that a node keeps. When there are too many, the one farthest from its id goes, as with torrents.
#[derive(Debug, Default)]
pub(crate) struct ItemStore {
    items: BTreeMap<NodeId, (Item, Instant)>,
}

impl ItemStore {
    /// Keeps an item. Who may write was proven before; that the signature is genuine is checked here.
    pub(crate) fn put(&mut self, now: Instant, own: &NodeId, item: Item, cas: Option<i64>) -> Result<(), Refusal> {
        let target = item.target();
        if let Some((old, seen)) = self.items.get_mut(&target) {
            match (old.seq(), item.seq()) {
                (Some(stored), _) if cas.is_some_and(|cas| cas != stored) => {
                    return Err((code::CAS_MISMATCH, "another value is stored: read it and try again"));
                }
                (Some(stored), Some(seq)) if seq < stored || (seq == stored && item.value != old.value) => {
                    return Err((code::SEQ_TOO_OLD, "a value with this seq or a higher one is stored"));
                }
                _ => {}
            }
            if *old == item {
                *seen = now;
                return Ok(());
            }
        }
        if !item.is_genuine() {
            return Err((code::SIGNATURE, "the signature is not the key's"));
        }
        if !self.items.contains_key(&target) && self.items.len() >= ITEMS_MAX {
            let farthest = self.items.keys().max_by_key(|t| own.distance(t)).copied();
            match farthest.filter(|farthest| own.distance(farthest) > own.distance(&target)) {
                Some(farthest) => self.items.remove(&farthest),
                None => return Err((code::SERVER, "no room for more items")),
            };
        }
        self.items.insert(target, (item, now));
        Ok(())
    }

    /// The item of this name.
    pub(crate) fn find(&self, now: Instant, target: &NodeId) -> Option<&Item> {
        self.items.get(target).filter(|(_, seen)| now.since(*seen) < ITEM_LIFE).map(|(item, _)| item)
    }

    /// Forgets what was not put again.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.items.retain(|_, (_, seen)| now.since(*seen) < ITEM_LIFE);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 20]);
    const T0: Instant = Instant::from_secs(10_000);

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let bytes: Vec<u8> = (0..N).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect();
        bytes.try_into().unwrap()
    }

    fn vector(salt: &[u8], signature: &str) -> Item {
        let mutable = Signed {
            key: hex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548"),
            salt: salt.to_vec(),
            seq: 1,
            signature: hex(signature),
        };
        Item { value: b"12:Hello World!".to_vec(), mutable: Some(mutable) }
    }

    #[test]
    fn the_vectors_of_bep_44() {
        let plain = vector(
            b"",
            "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff\
             1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
        );
        let salted = vector(
            b"foobar",
            "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d\
             df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
        );
        assert_eq!(plain.target().to_string(), "4a533d47ec9c7d95b1ad75f576cffc641853b750");
        assert_eq!(salted.target().to_string(), "411eba73b6f087ca51a3795d9c8c938d365e32c1");
        for item in [plain, salted] {
            assert!(item.is_genuine());
            let broken = |change: fn(&mut Item)| {
                let mut item = item.clone();
                change(&mut item);
                assert!(!item.is_genuine());
            };
            broken(|i| i.value[3] ^= 1);
            broken(|i| i.mutable.as_mut().unwrap().seq = 2);
            broken(|i| i.mutable.as_mut().unwrap().salt.push(1));
            broken(|i| i.mutable.as_mut().unwrap().key[0] ^= 1);
            broken(|i| i.mutable.as_mut().unwrap().signature[63] ^= 0x80);
        }
        let item = Item::immutable(b"12:Hello World!".to_vec()).unwrap();
        assert_eq!(item.target().to_string(), "e5f96f6f38320f0f33959cb4d3d656452117aadb");
        assert_eq!(immutable_target(b"12:Hello World!"), item.target());
    }

    #[test]
    fn what_we_sign_is_genuine_and_what_nodes_refuse_is_not_made() {
        let item = Item::signed(&[7; 32], b"salt", 3, b"i1e".to_vec()).unwrap();
        assert!(item.is_genuine());
        assert_eq!(item.target(), mutable_target(&public_key(&[7; 32]), b"salt"));
        let value = |n: usize| [format!("{n}:").into_bytes(), vec![b'x'; n]].concat();
        assert_eq!(Item::immutable(b"hello".to_vec()), Err(ItemError::NotBencode));
        assert_eq!(Item::immutable(b"i1ei2e".to_vec()), Err(ItemError::NotBencode));
        assert_eq!(Item::immutable(b"i01e".to_vec()), Err(ItemError::NotBencode));
        assert!(Item::immutable(value(996)).is_ok());
        assert_eq!(Item::immutable(value(997)), Err(ItemError::ValueTooLong(1001)));
        assert_eq!(Item::signed(&[7; 32], &[1; 65], 3, b"i1e".to_vec()), Err(ItemError::SaltTooLong(65)));
        assert_eq!(Item::signed(&[7; 32], b"", -1, b"i1e".to_vec()), Err(ItemError::Negative(-1)));
    }

    #[test]
    fn a_value_goes_only_forward() {
        let mut store = ItemStore::default();
        let item = |seq, value: &str| Item::signed(&[7; 32], b"", seq, value.as_bytes().to_vec()).unwrap();
        let mut put = |item: Item, cas| store.put(T0, &OWN, item, cas).map_err(|(code, _)| code);
        assert_eq!(put(item(5, "i1e"), Some(9)), Ok(()), "there is nothing to compare with");
        assert_eq!(put(item(4, "i1e"), None), Err(302));
        assert_eq!(put(item(5, "i2e"), None), Err(302));
        assert_eq!(put(item(5, "i1e"), None), Ok(()));
        assert_eq!(put(item(6, "i2e"), Some(4)), Err(301));
        assert_eq!(put(item(6, "i2e"), Some(5)), Ok(()));
        let mut forged = item(9, "i3e");
        forged.value = b"i4e".to_vec();
        assert_eq!(put(forged, None), Err(206));
        let target = item(0, "i0e").target();
        assert_eq!(store.find(T0, &target), Some(&item(6, "i2e")));
        assert_eq!(store.find(T0 + ITEM_LIFE, &target), None);
        store.expire(T0 + ITEM_LIFE);
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn so_many_items() {
        let mut store = ItemStore::default();
        let item = |i: usize| Item::immutable(format!("i{i}e").into_bytes()).unwrap();
        let kept = (0..3 * ITEMS_MAX).filter(|i| store.put(T0, &OWN, item(*i), None).is_ok()).count();
        assert!(store.len() == ITEMS_MAX && kept > ITEMS_MAX);
        // Those that are left are the nearest of all.
        let mut all: Vec<NodeId> = (0..3 * ITEMS_MAX).map(|i| item(i).target()).collect();
        all.sort();
        assert!(all[..ITEMS_MAX].iter().all(|t| store.find(T0, t).is_some()));
    }
}
