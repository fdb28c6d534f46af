//! Numbers that nobody knows before: from the keys that the standard library draws for its maps.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

/// One of them.
pub(crate) fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}
