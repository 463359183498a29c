//! Which of a Share's objects are out of the operator's scope, and what may not be removed because of them?

use std::time::Duration;

use super::plan::Plan;
use super::share_pass::SharePass;
use crate::api::{ObjectKey, Reason};
use crate::core::row_step::Step;
use crate::core::share_step::Mode;
use crate::operator::cluster::outside::{Outside, Recency};
use crate::operator::delays;
use crate::operator::pass::verdict::Verdict;
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::facts::RowPlan;
use crate::operator::rows::row_state::first_and_more;

/// For so long a look holds for rows that nobody declares and that stay anyway.
const MAX_AGE_FOR_UNMANAGED: Duration = Duration::from_secs(600);
/// A message names so many objects.
const MAX_NAMED: usize = 3;

/// What a look at the objects out of scope came to.
pub enum Looked {
    /// Everything is known that the plan needs.
    Enough,
    /// It was done now: plan again.
    Now,
    /// They cannot be listed, so nothing may be removed.
    Not(Verdict),
}

/// Before rows are removed, or said to be declared by nobody: looks for objects that declare them unseen.
pub async fn find_hidden_children(share: &mut SharePass, plan: &Plan, requested: bool) -> Looked {
    if share.mode != Mode::Manage {
        return Looked::Enough;
    }
    let is = |wanted: Step| plan.rows.values().any(|row| row.step == wanted);
    let unmanaged = plan.rows.values().any(RowPlan::is_foreign);
    let has_outside = share.desired.siblings.iter().any(|sibling| sibling.outside);
    let within = match (is(Step::Remove), has_outside, unmanaged) {
        (true, _, _) => delays::FRESH,
        (false, true, _) => delays::HUMAN,
        (false, false, true) => MAX_AGE_FOR_UNMANAGED,
        (false, false, false) => return Looked::Enough,
    };
    // Somebody says that the labels are another way now.
    let asked = (requested && has_outside).then(|| share.pass.outdated_before(true));
    let context = share.pass.context.clone();
    let namespace = &share.pass.key.name.namespace;
    match context
        .cluster
        .outside
        .look(&context.cluster.index, namespace, Recency { within, asked, complete: true })
        .await
    {
        Ok(false) => Looked::Enough,
        Ok(true) => {
            share.desired.look_again(&share.pass.object, &context.cluster.index);
            Looked::Now
        }
        Err(error) => {
            tracing::warn!(%error, "the objects outside --watch-label-selector cannot be listed, so nothing is removed");
            let message = format!(
                "nothing is removed from this share, because cfshare cannot list the ShareRecipients and \
                 ShareResources in namespace {namespace} that do not match --watch-label-selector: {error}"
            );
            Looked::Not(Verdict::unknown_stalled(Reason::OutOfScope, message).requeue_after(delays::TRANSIENT))
        }
    }
}

/// The message about objects that declare rows of this share and are out of scope.
pub fn out_of_scope(share: &SharePass) -> Option<Verdict> {
    let mut outside: Vec<&Sibling> = share.desired.siblings.iter().filter(|sibling| sibling.outside).collect();
    outside.sort_by_key(|sibling| &sibling.key);
    let first = outside.first()?;
    let named: Vec<String> =
        outside.iter().map(|sibling| format!("{} {}", sibling.key.kind, sibling.key.name.name)).collect();
    let (does, declares) = match outside.len() {
        1 => ("does", "it declares"),
        _ => ("do", "they declare"),
    };
    let message = format!(
        "{} {does} not match --watch-label-selector, so cfshare does not reconcile what {declares}, and leaves it \
         at Cloudflare as it is. Restore the labels: {}",
        first_and_more(&named, MAX_NAMED),
        into_scope(&share.pass.context.cluster.outside, &first.key),
    );
    Some(Verdict::stalled(Reason::OutOfScope, message).requeue_after(delays::HUMAN))
}

impl Plan {
    /// Nothing is removed, and nothing said to be declared by nobody.
    pub fn defer_removals(&mut self) {
        for RowPlan { step, .. } in self.rows.values_mut() {
            if matches!(step, Step::Remove | Step::Ignore) {
                *step = Step::Keep;
            }
        }
    }
}

/// A command that brings an object into scope, or shows what keeps it out.
pub fn into_scope(outside: &Outside, key: &ObjectKey) -> String {
    let object = format!("{} {} -n {}", key.kind.kubectl_name(), key.name.name, key.name.namespace);
    match outside.selector().and_then(labels) {
        Some(labels) => format!("kubectl label {object} {labels} --overwrite"),
        None => format!("kubectl get {object} --show-labels"),
    }
}

/// The labels that a selector asks for, where it only asks for values.
fn labels(selector: &str) -> Option<String> {
    let label = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let (key, value) = (key.trim(), value.trim_start_matches('=').trim());
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        (!key.is_empty() && plain(key) && plain(value)).then(|| format!("{key}={value}"))
    };
    selector.split(',').map(label).collect::<Option<Vec<String>>>().map(|labels| labels.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_selector_of_values_makes_a_command_that_sets_labels() {
        assert_eq!(labels("team=waf").as_deref(), Some("team=waf"));
        assert_eq!(labels("team == waf, a.b/c=d").as_deref(), Some("team=waf a.b/c=d"));
        for other in ["team", "!team", "team!=waf", "team in (a,b)", "team=waf,!old"] {
            assert_eq!(labels(other), None, "{other}");
        }
    }
}
