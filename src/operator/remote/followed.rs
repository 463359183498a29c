//! How many shares of an account are being followed, each perhaps for several objects?

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::api::ObjectKey;
use crate::core::id::ShareId;

/// Objects whose changes at Cloudflare are being followed, and the share of each: one read of a share serves all of its
/// objects.
#[derive(Default)]
pub struct Followed {
    objects: HashMap<ObjectKey, ShareId>,
    /// How many objects follow each share.
    shares: HashMap<ShareId, usize>,
}

impl Followed {
    pub fn insert(&mut self, object: &ObjectKey, share: &ShareId) {
        if self.objects.get(object) == Some(share) {
            return;
        }
        self.remove(object);
        self.objects.insert(object.clone(), share.clone());
        *self.shares.entry(share.clone()).or_default() += 1;
    }

    pub fn remove(&mut self, object: &ObjectKey) {
        let Some(share) = self.objects.remove(object) else { return };
        if let Entry::Occupied(mut followers) = self.shares.entry(share) {
            *followers.get_mut() -= 1;
            if *followers.get() == 0 {
                followers.remove();
            }
        }
        if self.objects.is_empty() {
            // After a burst of new objects none is followed, and a table keeps its memory.
            *self = Followed::default();
        }
    }

    pub fn shares(&self) -> usize {
        self.shares.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, Name};

    #[test]
    fn objects_of_one_share_count_once() {
        let object = |name| ObjectKey { kind: Kind::ShareRecipient, name: Name::new("security", name) };
        let share = |id: &str| ShareId::parse(id).expect("an id");
        let mut followed = Followed::default();
        for (name, id) in [("a", "s1"), ("b", "s1"), ("b", "s1"), ("c", "s2")] {
            followed.insert(&object(name), &share(id));
        }
        assert_eq!(followed.shares(), 2);
        followed.remove(&object("a"));
        assert_eq!(followed.shares(), 2, "another object follows it");
        followed.insert(&object("b"), &share("s2"));
        assert_eq!(followed.shares(), 1, "an object follows one share");
        for name in ["b", "b", "c", "d"] {
            followed.remove(&object(name));
        }
        assert_eq!(followed.shares(), 0);
    }
}
