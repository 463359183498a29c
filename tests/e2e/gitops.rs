//! Do Argo CD and Flux see the truth, and nothing to put right, and can they prune in any order?

mod health;
mod prune;
mod rebuilt;
mod sync;

use crate::Test;

pub const TESTS: &[Test] = &[
    ("gitops: argo cd shows how well real objects are", health::shown),
    ("gitops: argo cd's settings hold the health check for each kind", health::installed),
    ("gitops: no field of an example is out of sync after a pass", sync::unchanged),
    ("gitops: a list that is emptied by server-side apply rests after the second apply", sync::emptied),
    ("gitops: a share and its children are pruned in any order", prune::any_order),
    ("gitops: a cluster that is built anew takes its shares over without a changing call", rebuilt::taken_over),
    ("gitops: a namespace of shares goes in one stroke", prune::namespace),
];
