//! How many bytes does a settled Share take? Counted, since what a process has resident is noise.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::index::Index;
use super::cluster::object_cache;
use super::remote::account_cache::AccountCache;
use crate::api::Share;
use crate::cloudflare;
use crate::core::interned;
use crate::core::time::At;

/// Counts what each thread has allocated and not freed, so that other tests do not count.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static BLOCKS: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize, blocks: isize) {
    BYTES.set(BYTES.get() + bytes);
    BLOCKS.set(BLOCKS.get() + blocks);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed(), 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed(), -1);
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed(), 0);
        unsafe { System.realloc(block, layout, size) }
    }
}

const SHARES: usize = 1000;

/// More texts than all tests together intern.
const TEXTS: usize = 1 << 17;

/// What `keep` made and did not free, for each of a thousand shares: bytes and blocks.
fn kept<T>(keep: impl FnOnce() -> T) -> (isize, isize) {
    interned::reserve(TEXTS);
    let before = (BYTES.get(), BLOCKS.get());
    let kept = keep();
    let after = (BYTES.get(), BLOCKS.get());
    drop(kept);
    let share = |before: isize, after: isize| (after - before) / SHARES.cast_signed();
    (share(before.0, after.0), share(before.1, after.1))
}

fn id(kind: usize, share: usize, row: usize) -> String {
    format!("{kind:08x}{share:012x}{row:012x}")
}

/// A Share with four recipients and four resources, as the API server sends it once all is in place.
fn watched(share: usize) -> Value {
    let (recipient, resource) = (|n| id(1, share, n), |n| id(2, share, n));
    let account = id(3, 0, 0);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
            "lastTransitionTime": "2026-11-28T10:00:00Z",
        })
    };
    let each = |row: &dyn Fn(usize) -> Value| (0..4).map(row).collect::<Vec<_>>();
    json!({
        "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
        "metadata": {
            "name": format!("share-{share}"), "namespace": "security-baseline", "uid": id(4, share, 0),
            "resourceVersion": format!("{}", 100_000 + share), "generation": 1,
            "creationTimestamp": "2026-11-28T10:00:00Z", "finalizers": ["cfshare.dev/finalizer"],
            "managedFields": [{
                "manager": "kubectl", "operation": "Apply", "apiVersion": "cfshare.dev/v1alpha1",
                "time": "2026-11-28T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:accountID": {}}},
            }],
        },
        "spec": {
            "accountID": account, "prune": false,
            "recipients": each(&|n| json!({"accountID": recipient(n)})),
            "resources": each(&|n| json!({"type": "custom-ruleset", "id": resource(n)})),
        },
        "status": {
            "observedGeneration": 1, "shareID": id(5, share, 0), "shareName": format!("share-{share}"),
            "accountName": "Security", "targetType": "account", "remoteStatus": "active",
            "recipients": {
                "declared": 4, "associated": 4, "pending": 0, "failed": 0, "waived": 0, "inPlace": 4,
                "disassociated": 0, "summary": "4/4",
            },
            "resources": {"declared": 4, "active": 4, "summary": "4/4"},
            "effective": {"deletionPolicy": "Delete", "managementPolicy": "Manage", "maxRemovals": 5},
            "firstReadyAt": "2026-11-28T10:00:05Z", "boundUID": id(4, share, 0), "seenWith": "0123456789ab",
            "conditions": [
                condition("Ready", "True", "Associated", "4 recipients associated, 4 resources active"),
                condition("Reconciling", "False", "Associated", ""),
            ],
            "inventory": {
                "recipients": each(&|n| json!({"accountID": recipient(n)})),
                "resources": each(&|n| json!({"type": "custom-ruleset", "id": resource(n), "accountID": account})),
            },
        },
    })
}

/// The same share as a list of shares shows it.
fn listed(share: usize) -> Value {
    let row = |n: usize| {
        json!({
            "id": id(6, share, n), "resource_account_id": id(3, 0, 0), "resource_id": id(2, share, n),
            "resource_type": "custom-ruleset", "resource_version": 1, "meta": {}, "status": "active",
            "created": "2026-11-28T10:00:00Z", "modified": "2026-11-28T10:00:00Z",
        })
    };
    json!({
        "id": id(5, share, 0), "account_id": id(3, 0, 0), "account_name": "Security", "organization_id": id(7, 0, 0),
        "name": format!("share-{share}"), "status": "active", "target_type": "account", "kind": "sent",
        "created": "2026-11-28T10:00:00Z", "modified": "2026-11-28T10:00:00Z",
        "associating_recipient_count": 0, "associated_recipient_count": 4, "disassociating_recipient_count": 0,
        "disassociated_recipient_count": 0, "resources": (0..4).map(row).collect::<Vec<_>>(),
    })
}

#[test]
fn a_watched_share_takes_few_bytes() {
    let (bytes, blocks) = kept(|| {
        let shares = (0..SHARES).map(|n| {
            let mut share: Share = serde_json::from_str(&watched(n).to_string()).expect("a Share");
            object_cache::trim(&mut share);
            share
        });
        let shares: Vec<Share> = shares.collect();
        Index::of(&shares, &[], &[], At(0))
    });
    println!("{bytes} bytes in {blocks} blocks for each Share");
    assert!(bytes <= 3550 && blocks <= 39, "{bytes} bytes in {blocks} blocks for each Share");
}

#[test]
fn an_observed_share_takes_few_bytes() {
    let (bytes, blocks) = kept(|| {
        let mut cache = AccountCache::default();
        for n in 0..SHARES {
            let share: cloudflare::Share = serde_json::from_str(&listed(n).to_string()).expect("a share");
            cache.read(share, At(0), Duration::ZERO);
        }
        cache.swept(At(0));
        cache.moved();
        cache
    });
    println!("{bytes} bytes in {blocks} blocks for each share");
    assert!(bytes <= 1450 && blocks <= 13, "{bytes} bytes in {blocks} blocks for each share");
}
