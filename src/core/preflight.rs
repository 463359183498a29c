//! What is done about a Share before anything is asked of Cloudflare.

/// What the manifest and its record say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The object is being deleted.
    pub deleting: bool,
    /// Our finalizer is on it.
    pub finalizer: bool,
    /// The finalizer is on it, and the record that comes with it is not there, or that of another object.
    pub lost: bool,
    /// What the manifest declares can be sent.
    pub valid: bool,
    pub suspended: bool,
    /// A create is announced whose outcome is not recorded.
    pub announced: bool,
    /// The id of a share is recorded.
    pub bound: bool,
    /// Rows are recorded.
    pub rows: bool,
    /// On deletion the share stays.
    pub retain: bool,
    /// Child objects have not yet recorded the share that stays: without its id they could never remove their rows.
    pub children_lag: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Our part is done.
    Nothing,
    /// Remove the finalizer.
    Release(Why),
    /// Report what is wrong with the manifest.
    Refuse,
    Suspend,
    /// Wait for child objects to record the share.
    AwaitChildren,
    /// Go on with a credential.
    Open,
}

/// Why the object goes and its share stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    NothingMade,
    /// Which share it made, if any, is not known any more.
    RecordLost,
    Suspended,
    Retained,
}

/// The one step that these facts call for. A deletion that is over comes first, then a manifest that cannot be carried
/// out, since nothing else of it can be believed, then the person who suspended it, and then the deletion.
pub fn step(facts: &Facts) -> Step {
    let Facts { deleting, finalizer, lost, valid, suspended, announced, bound, rows, retain, children_lag } = *facts;
    let unmade = if lost { Why::RecordLost } else { Why::NothingMade };
    match (deleting, valid, suspended) {
        (true, _, _) if !finalizer => Step::Nothing,
        (true, false, _) if !announced && !bound && !rows => Step::Release(unmade),
        (_, false, _) => Step::Refuse,
        (true, true, true) => Step::Release(Why::Suspended),
        (false, true, true) => Step::Suspend,
        (true, true, false) if !announced && retain && bound && children_lag => Step::AwaitChildren,
        (true, true, false) if !announced && retain => Step::Release(Why::Retained),
        (true, true, false) if !announced && !bound => Step::Release(unmade),
        (_, true, false) => Step::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of facts, and what it calls for.
    fn every() -> impl Iterator<Item = (Facts, Step)> {
        (0..1_u32 << 10).map(|bits| {
            let bit = |n: u32| bits & 1 << n != 0;
            let facts = Facts {
                deleting: bit(0),
                finalizer: bit(1),
                valid: bit(2),
                suspended: bit(3),
                announced: bit(4),
                bound: bit(5),
                rows: bit(6),
                retain: bit(7),
                children_lag: bit(8),
                lost: bit(9),
            };
            (facts, step(&facts))
        })
    }

    #[test]
    fn only_what_is_being_deleted_is_released_and_only_by_us() {
        for (facts, step) in every() {
            match step {
                Step::Release(_) | Step::AwaitChildren => assert!(facts.deleting && facts.finalizer, "{facts:?}"),
                Step::Nothing => assert!(facts.deleting && !facts.finalizer, "{facts:?}"),
                Step::Refuse | Step::Suspend | Step::Open => {}
            }
        }
    }

    #[test]
    fn a_share_that_is_to_be_deleted_is_never_released_unseen() {
        for (facts, step) in every() {
            let made = facts.announced || facts.bound;
            if matches!(step, Step::Release(_)) && made && !facts.suspended {
                assert!(facts.retain && !facts.announced, "{facts:?}");
            }
        }
    }

    #[test]
    fn a_lost_record_is_told_of_unless_the_share_stays_by_wish() {
        for (facts, step) in every() {
            match step {
                Step::Release(Why::RecordLost) => assert!(facts.lost && !facts.announced && !facts.bound, "{facts:?}"),
                Step::Release(Why::NothingMade) => assert!(!facts.lost, "{facts:?}"),
                Step::Release(Why::Suspended | Why::Retained) => assert!(facts.suspended || facts.retain, "{facts:?}"),
                Step::Nothing | Step::Refuse | Step::Suspend | Step::AwaitChildren | Step::Open => {}
            }
        }
    }

    #[test]
    fn an_announced_create_is_resolved_before_its_object_goes_unless_a_person_suspended_it() {
        for (facts, step) in every() {
            if facts.announced && matches!(step, Step::Release(_)) {
                assert!(facts.suspended && facts.valid, "{facts:?}");
            }
        }
    }

    #[test]
    fn nothing_is_carried_out_of_a_manifest_that_is_not_valid_or_suspended() {
        for (facts, step) in every() {
            if step == Step::Open {
                assert!(facts.valid && !facts.suspended, "{facts:?}");
            }
            if step == Step::Refuse {
                assert!(!facts.valid, "{facts:?}");
            }
        }
    }

    #[test]
    fn whatever_is_not_deleted_is_opened_where_it_may_be() {
        for (facts, step) in every() {
            if !facts.deleting && facts.valid && !facts.suspended {
                assert_eq!(step, Step::Open, "{facts:?}");
            }
        }
    }

    #[test]
    fn children_are_awaited_only_where_the_share_stays() {
        for (facts, step) in every() {
            if step == Step::AwaitChildren {
                assert!(facts.retain && facts.bound && facts.children_lag, "{facts:?}");
            }
            if step == Step::Release(Why::Retained) && facts.bound {
                assert!(!facts.children_lag, "{facts:?}");
            }
        }
    }
}
