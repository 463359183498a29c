//! How an object is kept in few bytes.
//!
//! A Share of four recipients and four resources takes 6 kB as a value and less than 1 kB packed: most of its text are
//! names of fields, and those are the same in all objects. Packing and unpacking take some microseconds.

use std::marker::PhantomData;
use std::sync::Arc;

use lz4_flex::block::{compress_with_dict, decompress_with_dict};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What most objects have in common.
const COMMON: &[u8] = include_bytes!("common.json");

/// An object in few bytes.
pub struct Packed<K>(Form<K>);

enum Form<K> {
    /// JSON of that length, compressed.
    Small(Box<[u8]>, u32, PhantomData<fn() -> K>),
    /// One that does not come back from JSON as it was.
    Whole(Arc<K>),
}

impl<K: Serialize + DeserializeOwned + Clone> Packed<K> {
    pub fn new(object: &K) -> Packed<K> {
        Packed(small(object).unwrap_or_else(|| Form::Whole(Arc::new(object.clone()))))
    }

    pub fn unpack(&self) -> Option<Arc<K>> {
        match &self.0 {
            Form::Small(bytes, size, _) => {
                let json = decompress_with_dict(bytes, *size as usize, COMMON).ok()?;
                serde_json::from_slice(&json).ok().map(Arc::new)
            }
            Form::Whole(object) => Some(object.clone()),
        }
    }

    /// How much JSON it is.
    pub fn size(&self) -> usize {
        match &self.0 {
            Form::Small(_, size, _) => *size as usize,
            Form::Whole(_) => size_of::<K>(),
        }
    }
}

fn small<K: Serialize>(object: &K) -> Option<Form<K>> {
    let json = serde_json::to_vec(object).ok()?;
    let size = u32::try_from(json.len()).ok()?;
    Some(Form::Small(compress_with_dict(&json, COMMON).into(), size, PhantomData))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Share;

    fn id(n: u64) -> String {
        // Digits without a pattern, as ids have.
        format!("{:016x}{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n.wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
    }

    fn settled() -> Value {
        let recipients: Vec<Value> = (1..5).map(|n| json!({"accountID": id(n)})).collect();
        let resources: Vec<Value> = (5..9).map(|n| json!({"type": "custom-ruleset", "id": id(n)})).collect();
        let mut recorded = resources.clone();
        recorded.iter_mut().for_each(|entry| entry["accountID"] = id(9).into());
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Associated", "observedGeneration": 1,
            "message": "4/4 recipients associated, 4/4 resources active", "lastTransitionTime": "2026-11-28T15:00:00Z",
        });
        json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {
                "name": "share-17", "namespace": "team-a", "uid": "0b0d5f8e-1c4f-4d1e-9d3c-5f7a3f4c2b1a",
                "resourceVersion": "123456", "generation": 1, "creationTimestamp": "2026-11-28T14:59:00Z",
                "finalizers": ["cfshare.dev/finalizer"],
            },
            "spec": {"accountID": id(9), "recipients": recipients, "resources": resources},
            "status": {
                "observedGeneration": 1, "conditions": [ready], "shareID": id(10), "shareName": "share-17",
                "accountName": "Security", "targetType": "account", "remoteStatus": "active",
                "recipients": {"declared": 4, "associated": 4, "pending": 0, "failed": 0, "inPlace": 4,
                    "disassociated": 0, "summary": "4/4"},
                "resources": {"declared": 4, "active": 4, "summary": "4/4"},
                "effective": {"deletionPolicy": "Delete", "managementPolicy": "Manage", "maxRemovals": 5},
                "firstReadyAt": "2026-11-28T15:00:00Z", "boundUID": "0b0d5f8e-1c4f-4d1e-9d3c-5f7a3f4c2b1a",
                "seenWith": "a1b2c3d4e5f6", "inventory": {"recipients": recipients, "resources": recorded},
            },
        })
    }

    #[test]
    fn a_settled_share_takes_less_than_900_bytes_and_comes_back_as_it_was() {
        let share: Share = serde_json::from_value(settled()).expect("a Share");
        let packed = Packed::new(&share);
        assert_eq!(*packed.unpack().expect("it was packed here"), share);
        let Form::Small(bytes, ..) = &packed.0 else { panic!("it is JSON") };
        assert!(bytes.len() < 900, "{} of {}", bytes.len(), packed.size());
    }
}
