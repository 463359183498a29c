//! What an object that declares one row of a share does next, as far as that needs no look at the row.

use super::row_step::Declared;
use super::time::At;

/// What is known about a ShareRecipient or ShareResource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// `None`: nobody deletes it.
    pub deletion: Option<Deletion>,
    pub suspended: bool,
    pub share: Share,
    /// What it declares can be sent.
    pub valid: bool,
    /// It declares a recipient of a share whose recipients are the members of an organization.
    pub misplaced: bool,
    /// Who looks after the row that it declares.
    pub declared: Declared,
    /// Its finalizer and its record are its own, so that a create of its Share may carry its row.
    pub claimed: bool,
    /// The whole operator changes nothing.
    pub read_only: bool,
    pub record: Record,
}

/// How an object ends that is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deletion {
    /// Our finalizer is on it.
    pub finalizer: bool,
    /// The row stays at Cloudflare.
    pub retain: bool,
    /// Its removal was refused, since a share must keep one resource.
    pub last: bool,
    /// Whether another object that declares the same row has it in its own record.
    pub successor: Successor,
    /// It was deleted a moment ago, so its Share may be deleted by the same command.
    pub recent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Successor {
    /// It has the row in its record, or is an object that never will, since it is suspended.
    Recorded,
    /// It has not recorded the row yet.
    Awaited,
    /// It has not, for so long that it is not awaited any more.
    Overdue,
}

/// The Share that the object names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// It exists and cannot be read.
    Unreadable,
    /// It does not exist, and the object's record does not say which account its row is in.
    Unknown,
    /// It does not exist any more; the object's record says where its row is.
    Gone,
    Present(Parent),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parent {
    /// Its id at Cloudflare is known.
    pub bound: bool,
    /// A create call is announced whose outcome is not known.
    pub creating: bool,
    /// It only reads, so that its objects record nothing.
    pub observes: bool,
    pub suspended: bool,
    /// It is being deleted, and the share at Cloudflare with it.
    pub ends: bool,
    /// The row is in its inventory.
    pub records_row: bool,
}

/// What the object's own record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// In which share the row was made.
    pub share: bool,
    /// The row is there because of the object.
    pub row: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Our part is done.
    Nothing,
    /// Remove the finalizer.
    Release,
    /// Add the finalizer and the record's owner.
    Claim,
    Wait(Wait),
    Refuse(Refusal),
    /// Record where the row is and what is known of it, until the Share drops it from its inventory: it would remove it once
    /// this object has gone.
    RecordOnly,
    /// Look at the row, and do what it calls for.
    Reconcile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    Suspended,
    /// For a Share that exists and cannot be read.
    UnreadableShare,
    /// For a Share that does not exist.
    Share,
    /// For the share to be created at Cloudflare.
    Creation,
    /// For the outcome of a create call that may have carried the row.
    Outcome,
    /// For another object to record the row.
    Successor,
    /// For the Share, which may be deleted by the same command and takes the row along.
    ShareDeletion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    Invalid,
    /// The recipients of an organization's share are its members.
    Organization,
    Duplicate,
}

/// The one step that these facts call for.
pub fn step(facts: &Facts) -> Step {
    match &facts.deletion {
        Some(deletion) => end(facts, deletion),
        None => live(facts),
    }
}

/// Whether an object is released whose row may stay at Cloudflare without anybody having wished so: its finalizer says that
/// it had a record, which is lost.
pub fn may_leave_row(facts: &Facts) -> bool {
    let Some(deletion) = &facts.deletion else { return false };
    let goes_or_stays_with_share = matches!(facts.share, Share::Present(parent) if parent.ends || parent.observes);
    let by_wish = facts.suspended || deletion.retain || facts.declared == Declared::Elsewhere;
    let lost = deletion.finalizer && !facts.claimed && !facts.record.row;
    step(facts) == Step::Release && lost && !by_wish && !goes_or_stays_with_share
}

/// Nothing else is asked of an object that is suspended, and nothing is known of the row while its Share cannot be read. The
/// claim comes before every other wait and all refusals but that of an invalid row, so that the Share's create may carry the
/// row once it is made.
fn live(facts: &Facts) -> Step {
    if facts.suspended {
        return Step::Wait(Wait::Suspended);
    }
    let observes = matches!(facts.share, Share::Present(Parent { observes: true, .. }));
    let claims = !facts.claimed && !observes && !facts.read_only;
    let bound = match facts.share {
        Share::Unreadable => return Step::Wait(Wait::UnreadableShare),
        Share::Unknown if claims => return Step::Claim,
        Share::Unknown => return Step::Wait(Wait::Share),
        // What is made was made in the share that the record names.
        Share::Gone => true,
        Share::Present(parent) => parent.bound,
    };
    if !facts.valid {
        return Step::Refuse(Refusal::Invalid);
    }
    if claims {
        return Step::Claim;
    }
    if facts.misplaced {
        return Step::Refuse(Refusal::Organization);
    }
    match facts.declared {
        Declared::Elsewhere => Step::Refuse(Refusal::Duplicate),
        Declared::Here | Declared::Nowhere if bound => Step::Reconcile,
        Declared::Here | Declared::Nowhere => Step::Wait(Wait::Creation),
    }
}

/// What is released anyway comes before what would be awaited.
fn end(facts: &Facts, deletion: &Deletion) -> Step {
    if !deletion.finalizer {
        return Step::Nothing;
    }
    if facts.suspended {
        return Step::Release;
    }
    let (bound, recorded) = match facts.share {
        Share::Unreadable => return Step::Wait(Wait::UnreadableShare),
        Share::Unknown => return Step::Release,
        Share::Gone => (facts.record.share, false),
        Share::Present(parent) => {
            // The row goes with the share, or its Share removes it since this object was refused to.
            if parent.observes || parent.ends || deletion.last && parent.records_row {
                return Step::Release;
            }
            if parent.creating && parent.records_row {
                return Step::Wait(Wait::Outcome);
            }
            (parent.bound, parent.records_row)
        }
    };
    if facts.valid { end_of_row(facts, deletion, bound, recorded) } else { Step::Release }
}

/// What becomes of the row of an object that goes: whether it stays, who looks after it next, and only then its removal.
/// `bound`: its share is known; `recorded`: the Share has the row on record.
fn end_of_row(facts: &Facts, deletion: &Deletion, bound: bool, recorded: bool) -> Step {
    if deletion.retain {
        let suspended = matches!(facts.share, Share::Present(Parent { suspended: true, .. }));
        if !recorded || suspended {
            return Step::Release;
        }
    } else if !facts.record.row && !recorded {
        // It was never held to be ours, and no create of the Share carried it.
        return Step::Release;
    }
    // A row that is to stay is left only to an object that has recorded it: one that merely declares it may be deleted at
    // once, and then the Share removes the row that it still has on record.
    let is_given_away = !deletion.retain || deletion.successor == Successor::Recorded;
    if facts.declared == Declared::Elsewhere && is_given_away {
        return match deletion.successor {
            // Without a Share nobody can record it: the row is looked at, and left to who declares it.
            Successor::Awaited if facts.share == Share::Gone => Step::Reconcile,
            Successor::Awaited if facts.record.row => Step::Wait(Wait::Successor),
            Successor::Awaited | Successor::Recorded | Successor::Overdue => Step::Release,
        };
    }
    let share_may_follow = deletion.recent && matches!(facts.share, Share::Present(_));
    match (bound, deletion.retain) {
        (true, false) if share_may_follow => Step::Wait(Wait::ShareDeletion),
        (false, _) => Step::Release,
        (true, true) => Step::RecordOnly,
        (true, false) => Step::Reconcile,
    }
}

/// What an object has recorded of a row, to another one that takes it over. `row_step::Recorded` is what the same
/// `rows::inventory::Entry` means to the object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnRecord {
    Never,
    /// The call that adds it was announced then.
    Announced(At),
    /// It was seen in place.
    InPlace,
}

/// Whether who has `own` recorded knows all that somebody else has recorded of the same row; `open`: the call that the
/// other one announced may still take effect. Only who knows it may add the row, and only then may the other one drop
/// its record.
pub fn covers(own: OnRecord, other: OnRecord, open: bool) -> bool {
    match (own, other) {
        (_, OnRecord::Never) => true,
        (OnRecord::Never, OnRecord::Announced(_) | OnRecord::InPlace) => false,
        (OnRecord::Announced(own), OnRecord::Announced(other)) => own >= other || !open,
        (OnRecord::InPlace, OnRecord::Announced(_)) => !open,
        (OnRecord::Announced(_) | OnRecord::InPlace, OnRecord::InPlace) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [bool; 2] = [false, true];

    fn parents() -> Vec<Parent> {
        let bits = 0..1_u32 << 6;
        let parent = |bits: u32| {
            let bit = |n: u32| bits & 1 << n != 0;
            Parent {
                bound: bit(0),
                creating: bit(1),
                observes: bit(2),
                suspended: bit(3),
                ends: bit(4),
                records_row: bit(5),
            }
        };
        bits.map(parent).collect()
    }

    fn deletions() -> Vec<Option<Deletion>> {
        let mut all = vec![None];
        for finalizer in BOTH {
            for retain in BOTH {
                for last in BOTH {
                    for successor in [Successor::Recorded, Successor::Awaited, Successor::Overdue] {
                        for recent in BOTH {
                            all.push(Some(Deletion { finalizer, retain, last, successor, recent }));
                        }
                    }
                }
            }
        }
        all
    }

    /// Calls for every combination of facts.
    fn every(mut check: impl FnMut(&Facts, Step)) {
        let shares = [Share::Unreadable, Share::Unknown, Share::Gone];
        let shares: Vec<Share> = shares.into_iter().chain(parents().into_iter().map(Share::Present)).collect();
        for deletion in deletions() {
            for share in &shares {
                for declared in [Declared::Here, Declared::Elsewhere, Declared::Nowhere] {
                    for bits in 0..1_u32 << 7 {
                        let bit = |n: u32| bits & 1 << n != 0;
                        let facts = Facts {
                            deletion,
                            suspended: bit(0),
                            share: *share,
                            valid: bit(1),
                            misplaced: bit(2),
                            declared,
                            claimed: bit(3),
                            read_only: bit(4),
                            record: Record { share: bit(5), row: bit(6) },
                        };
                        check(&facts, step(&facts));
                    }
                }
            }
        }
    }

    #[test]
    fn a_record_covers_another_unless_that_one_announced_a_call_later_that_may_still_come() {
        let (early, late) = (OnRecord::Announced(At(1)), OnRecord::Announced(At(2)));
        for (own, other, closed, open) in [
            (OnRecord::Never, OnRecord::Never, true, true),
            (OnRecord::Never, early, false, false),
            (OnRecord::Never, OnRecord::InPlace, false, false),
            (early, OnRecord::Never, true, true),
            (early, early, true, true),
            (early, late, true, false),
            (late, early, true, true),
            (early, OnRecord::InPlace, true, true),
            (OnRecord::InPlace, OnRecord::Never, true, true),
            (OnRecord::InPlace, early, true, false),
            (OnRecord::InPlace, OnRecord::InPlace, true, true),
        ] {
            assert_eq!(covers(own, other, false), closed, "{own:?} {other:?}, which cannot come any more");
            assert_eq!(covers(own, other, true), open, "{own:?} {other:?}, which may still come");
        }
    }

    #[test]
    fn only_what_is_being_deleted_is_released() {
        every(|facts, step| {
            if facts.deletion.is_none() {
                assert!(!matches!(step, Step::Release | Step::Nothing | Step::RecordOnly), "{facts:?}");
            } else {
                assert!(!matches!(step, Step::Claim | Step::Refuse(_)), "{facts:?}");
            }
        });
    }

    #[test]
    fn nothing_is_claimed_where_nothing_may_be_changed() {
        every(|facts, step| {
            let observes = matches!(facts.share, Share::Present(Parent { observes: true, .. }));
            if step == Step::Claim {
                assert!(!facts.read_only && !observes && !facts.claimed, "{facts:?}");
            }
        });
    }

    #[test]
    fn a_row_that_is_held_is_released_only_to_somebody_who_answers_for_it() {
        every(|facts, step| {
            let Some(deletion) = facts.deletion.filter(|deletion| deletion.finalizer) else { return };
            let held = facts.record.row && facts.record.share && facts.valid && !facts.suspended && !deletion.retain;
            if step != Step::Release || !held {
                return;
            }
            let answered_for = match facts.share {
                Share::Unreadable | Share::Unknown | Share::Gone => false,
                // Not bound: what the record names is another share, which the pass looks for by the record.
                Share::Present(parent) => {
                    parent.observes || parent.ends || !parent.bound || deletion.last && parent.records_row
                }
            };
            let taken_over = facts.declared == Declared::Elsewhere && deletion.successor != Successor::Awaited;
            assert!(answered_for || taken_over || facts.share == Share::Unknown, "{facts:?}");
        });
    }

    #[test]
    fn a_row_is_not_removed_while_its_share_may_still_be_deleted_with_it() {
        every(|facts, step| {
            let recent = facts.deletion.is_some_and(|deletion| deletion.recent);
            if recent && matches!(facts.share, Share::Present(_)) {
                assert_ne!(step, Step::Reconcile, "{facts:?}");
            }
            assert!(step != Step::Wait(Wait::ShareDeletion) || recent, "{facts:?}");
        });
    }

    #[test]
    fn a_lost_record_is_told_of_where_nothing_else_says_what_becomes_of_the_row() {
        every(|facts, step| {
            let Some(deletion) = facts.deletion else { return assert!(!may_leave_row(facts), "{facts:?}") };
            if may_leave_row(facts) {
                assert!(deletion.finalizer && !facts.claimed && step == Step::Release, "{facts:?}");
                assert!(!deletion.retain && !facts.suspended, "{facts:?}");
            }
            // Nobody has the row on record, and nobody wants it to stay.
            let unknown = deletion.finalizer && !facts.claimed && facts.record == Record { share: false, row: false };
            let live = matches!(facts.share, Share::Present(parent) if !parent.ends && !parent.observes && !parent.records_row);
            let unwanted = !deletion.retain && !facts.suspended && facts.declared == Declared::Nowhere;
            assert!(!(unknown && live && unwanted) || may_leave_row(facts), "{facts:?}");
        });
    }

    #[test]
    fn what_is_retained_is_never_touched() {
        every(|facts, step| {
            if facts.deletion.is_some_and(|deletion| deletion.retain) {
                assert_ne!(step, Step::Reconcile, "{facts:?}");
            }
        });
    }

    /// The facts of deletions that the decision about the row is reached with, while the Share has that row on record.
    fn is_about_a_recorded_row(facts: &Facts) -> Option<(Deletion, Parent)> {
        let deletion = facts.deletion.filter(|deletion| deletion.finalizer && facts.valid && !facts.suspended)?;
        let Share::Present(parent) = facts.share else { return None };
        let ends = parent.observes || parent.ends || deletion.last || parent.creating;
        (parent.records_row && !ends).then_some((deletion, parent))
    }

    #[test]
    fn a_row_that_stays_and_that_another_one_declares_holds_its_object_only_until_that_one_has_it_on_record() {
        every(|facts, step| {
            let Some((deletion, parent)) = is_about_a_recorded_row(facts).filter(|(deletion, _)| deletion.retain)
            else {
                return;
            };
            if facts.declared == Declared::Elsewhere {
                let is_given_away = deletion.successor == Successor::Recorded;
                let goes = is_given_away || parent.suspended || !parent.bound;
                assert_eq!(step, if goes { Step::Release } else { Step::RecordOnly }, "{facts:?}");
            }
        });
    }

    /// The record may be older than what the Share has recorded since, and the Share waits until it is not.
    #[test]
    fn a_row_that_stays_and_that_nobody_else_declares_is_recorded_until_the_share_drops_it() {
        every(|facts, step| {
            let Some((_, parent)) = is_about_a_recorded_row(facts).filter(|(deletion, _)| deletion.retain) else {
                return;
            };
            if facts.declared != Declared::Elsewhere && parent.bound && !parent.suspended {
                assert_eq!(step, Step::RecordOnly, "{facts:?}");
            }
        });
    }

    #[test]
    fn an_object_whose_share_cannot_be_read_changes_nothing() {
        every(|facts, step| {
            let ends = facts.deletion.is_some_and(|deletion| !deletion.finalizer || facts.suspended);
            if facts.share == Share::Unreadable && !ends {
                let waits = matches!(step, Step::Wait(Wait::UnreadableShare | Wait::Suspended));
                assert!(waits, "{facts:?}");
            }
        });
    }
}
