//! Where do new ids come from?

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

/// A stream of ids of 32 hex digits; the same seed gives the same ids.
pub struct Ids {
    state: u64,
}

impl Ids {
    pub fn seeded(seed: u64) -> Ids {
        Ids { state: seed }
    }

    pub fn random() -> Ids {
        Ids::seeded(RandomState::new().hash_one(std::process::id()))
    }

    pub fn id(&mut self) -> String {
        format!("{:016x}{:016x}", self.word(), self.word())
    }

    /// SplitMix64.
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// An id for a test that wants accounts or resources of its own.
pub fn random_id() -> String {
    Ids::random().id()
}

/// What the journal shows in place of a secret.
pub fn short_hash(secret: &str) -> String {
    let mut hasher = DefaultHasher::new();
    secret.hash(&mut hasher);
    format!("{:012x}", hasher.finish() >> 16)
}
