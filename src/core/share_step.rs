//! What to do next about a share as a whole: adopt, create once, recover a lost create, delete, release.
//!
//! A create cannot be repeated: Cloudflare has no idempotency key, and names are not unique. So it is announced in
//! the object's status before it is sent, sent once, and bound. An announcement that is found later, because the
//! process died or the answer was lost, is resolved by looking for what it made, and only after the settle time,
//! when nothing was found twice, is it given up.

use std::time::Duration;

use super::id::ShareId;
use super::time::At;

/// By how much the clock that `created` comes from may differ from the one that an announcement has its time from.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(2 * 3600);

/// What is known about one Share object and its share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Facts {
    pub mode: Mode,
    /// The object is being deleted.
    pub is_deleting: bool,
    /// On deletion the share stays.
    pub retain: bool,
    /// The object is the one that may own the share: no older one names the same.
    pub owner: bool,
    pub situation: Situation,
}

/// How far the operator may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    Manage,
    /// Read, compare and report.
    Observe,
    /// Nothing at Cloudflare may change now, and nothing recorded may be released.
    Frozen,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Situation {
    /// No id is recorded and no create is announced.
    Unbound {
        adoption: Adoption,
        named: Named,
        gathered: Gathered,
        /// A create may be tried now: not too many were lost lately, none was refused a moment ago.
        may_try: bool,
    },
    /// A create was announced and its outcome is not recorded.
    Announced {
        candidates: Candidates,
        /// The settle time has passed, and looks a while apart since showed nothing.
        settled: bool,
        /// No request was sent for it, and none will be: this very process announced it, took the write for failed, and
        /// sends nothing after such a write. Where that is not known, as after a restart, it counts as sent.
        unsent: bool,
    },
    Bound {
        adopted: bool,
        share: Presence,
    },
}

/// Which existing share may be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Adoption {
    Never,
    SameName,
    Exactly(ShareId, Found),
}

/// What became of a share that the manifest names by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    Unread,
    /// Live, and it has the declared target.
    Fits,
    /// Live, with another target.
    Misfits,
    Missing,
}

/// Live sent shares that bear the wanted name, and whether an object has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Named {
    Unread,
    Nobody,
    One {
        id: ShareId,
        fits: bool,
    },
    /// One, and another object has it.
    Taken(ShareId),
    Many(Vec<ShareId>),
}

/// Whether what belongs into the create is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gathered {
    NoRecipients,
    NoResources,
    /// Child objects are still arriving.
    Arriving,
    Complete,
}

/// Live shares that an announced create may have made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Candidates {
    Unread,
    None,
    /// None, for a credential that shows nothing of the account and did not send the create: most likely another
    /// account's.
    Hidden,
    One(ShareId),
    Many(Vec<ShareId>),
}

/// How much of a bound share is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    Unread,
    Live,
    /// Cloudflare is deleting it.
    Leaving,
    /// A read says gone, and no second one confirms it yet.
    Missing,
    /// Not there for a credential that has never shown it: most likely another account's.
    Hidden,
    /// Definitely gone.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read what the facts lack.
    Read(Want),
    /// Record this id.
    Bind {
        id: ShareId,
        adopted: bool,
    },
    /// Announce a create, send it once, bind the answer: one unbroken task.
    Create,
    /// Nothing came of the announced create: drop the announcement, and count it as lost.
    GiveUp,
    /// Nothing was sent for the announced create: drop the announcement, and count nothing as lost.
    Withdraw,
    /// Send the delete.
    Delete,
    /// The bound share is gone: drop its id and what hung on it.
    Forget,
    /// Nothing is left to guard: the finalizer may go.
    Release,
    /// The share is there; its recipients and resources are next.
    Maintain,
    Wait(Wait),
    /// Look at the bound share until it is known what becomes of it.
    Await(Ending),
    Refuse(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Want {
    /// The share with the recorded or given id.
    Share,
    /// All live shares of the account, newest first at least.
    List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    Recipients,
    Resources,
    Children,
    /// For the settle time of an announced create.
    Settle,
    /// Until a create may be tried again.
    Backoff,
    /// For a credential that shows the share, or for a person's word that it is gone.
    Visibility,
    /// For the operator to be allowed to write.
    Thaw,
}

/// How a bound share seems to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Cloudflare is deleting it.
    Leaving,
    /// It was not found, and a second read has to confirm that it is gone.
    Confirmation,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refusal {
    Claimed,
    NameTaken(Vec<ShareId>),
    Ambiguous(Vec<ShareId>),
    /// Another object has the only share of the wanted name.
    Taken(ShareId),
    /// The share named by id, or adopted once, is not there.
    NotFound,
    TargetMismatch,
    /// Observing, and there is no such share.
    Nothing,
}

/// A live share, as far as it tells whether an announced create made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub id: ShareId,
    /// It bears the announced name, and the declared account sends it.
    pub named: bool,
    /// Its resources are the announced ones, as far as they are known.
    pub alike: bool,
    pub created: Option<At>,
    /// It was there before the create was announced.
    pub known: bool,
    /// A read showed it that began so long after the announcement that it cannot show what was before.
    pub sure: bool,
    /// Another object is bound to it.
    pub taken: bool,
}

/// The shares that a create announced at the first of these times may have made, judged at the second. What was there
/// before is somebody else's. Since clocks differ, a share that was made at another time is one of them too, unless that
/// is long before, but only once it was seen in a read that must show what was at the announcement: an older one may be
/// one that was removed, and that a lagging list still shows.
pub fn candidates((announced, now): (At, At), sightings: impl IntoIterator<Item = Sighting>) -> Candidates {
    let oldest = announced.minus(CLOCKS_DIFFER);
    let may_be = |seen: &Sighting| {
        let since = match seen.created {
            Some(created) if created < oldest => false,
            Some(created) if created >= announced && created <= now => true,
            Some(_) | None => seen.sure,
        };
        seen.named && seen.alike && !seen.taken && !seen.known && since
    };
    let mut ids: Vec<ShareId> = sightings.into_iter().filter(may_be).map(|seen| seen.id).collect();
    ids.sort();
    match ids.as_slice() {
        [] => Candidates::None,
        [id] => Candidates::One(id.clone()),
        _ => Candidates::Many(ids),
    }
}

/// Whether looks that showed nothing prove that nothing came of a create which could take effect until `end`.
/// A look may lag behind by less than `read_lag`, so one that is younger than `end` proves nothing alone.
pub fn has_settled(end: At, looks: &[At], read_lag: Duration) -> bool {
    let last = looks.iter().max();
    last.is_some_and(|last| looks.iter().any(|look| *look >= end && last.since(*look) >= read_lag))
}

/// The one step that these facts call for.
pub fn step(facts: &Facts) -> Step {
    match facts.mode {
        Mode::Observe => observe(&facts.situation, facts.is_deleting),
        Mode::Frozen if facts.is_deleting => frozen_end(facts),
        Mode::Frozen => frozen(facts),
        Mode::Manage if facts.is_deleting => end(facts),
        Mode::Manage if !facts.owner && !matches!(facts.situation, Situation::Announced { .. }) => {
            Step::Refuse(Refusal::Claimed)
        }
        Mode::Manage => match &facts.situation {
            Situation::Unbound { adoption, named, gathered, may_try } => begin(adoption, named, *gathered, *may_try),
            Situation::Announced { candidates, settled, unsent } => resolve(candidates, *settled, *unsent),
            Situation::Bound { adopted, share } => keep(*adopted, *share),
        },
    }
}

/// No share yet: take one over, or make one. No two rows overlap, so their order does not matter.
fn begin(adoption: &Adoption, named: &Named, gathered: Gathered, may_try: bool) -> Step {
    use Adoption::{Exactly, Never, SameName};
    match (adoption, named, gathered) {
        (Exactly(_, Found::Unread), _, _) => Step::Read(Want::Share),
        (Exactly(id, Found::Fits), _, _) => Step::Bind { id: id.clone(), adopted: true },
        (Exactly(_, Found::Misfits), _, _) => Step::Refuse(Refusal::TargetMismatch),
        (Exactly(_, Found::Missing), _, _) => Step::Refuse(Refusal::NotFound),
        (SameName, Named::One { id, fits: true }, _) => Step::Bind { id: id.clone(), adopted: true },
        (SameName, Named::One { fits: false, .. }, _) => Step::Refuse(Refusal::TargetMismatch),
        (SameName, Named::Taken(id), _) => Step::Refuse(Refusal::Taken(id.clone())),
        (SameName, Named::Many(ids), _) => Step::Refuse(Refusal::Ambiguous(ids.clone())),
        (Never, Named::One { id, .. } | Named::Taken(id), _) => Step::Refuse(Refusal::NameTaken(vec![id.clone()])),
        (Never, Named::Many(ids), _) => Step::Refuse(Refusal::NameTaken(ids.clone())),
        // One look, once they are gathered, serves all shares whose children came in the meantime.
        (Never | SameName, Named::Unread | Named::Nobody, Gathered::Arriving) => Step::Wait(Wait::Children),
        (Never | SameName, Named::Unread, Gathered::NoRecipients | Gathered::NoResources | Gathered::Complete) => {
            Step::Read(Want::List)
        }
        (Never | SameName, Named::Nobody, Gathered::NoRecipients) => Step::Wait(Wait::Recipients),
        (Never | SameName, Named::Nobody, Gathered::NoResources) => Step::Wait(Wait::Resources),
        (Never | SameName, Named::Nobody, Gathered::Complete) if may_try => Step::Create,
        (Never | SameName, Named::Nobody, Gathered::Complete) => Step::Wait(Wait::Backoff),
    }
}

/// A create was announced: find what it made, unless nothing can have come of it.
fn resolve(candidates: &Candidates, settled: bool, unsent: bool) -> Step {
    match candidates {
        // What is found was made by somebody else.
        _ if unsent => Step::Withdraw,
        Candidates::Unread => Step::Read(Want::List),
        Candidates::One(id) => Step::Bind { id: id.clone(), adopted: false },
        Candidates::Many(ids) => Step::Refuse(Refusal::Ambiguous(ids.clone())),
        Candidates::Hidden => Step::Wait(Wait::Visibility),
        Candidates::None if settled => Step::GiveUp,
        Candidates::None => Step::Wait(Wait::Settle),
    }
}

/// A share is bound: maintain it, or notice that it is gone.
fn keep(adopted: bool, share: Presence) -> Step {
    let gone = if adopted { Step::Refuse(Refusal::NotFound) } else { Step::Forget };
    by_presence(share, Step::Maintain, gone)
}

/// What is done about a bound share, by what is left of it.
fn by_presence(share: Presence, live: Step, gone: Step) -> Step {
    match share {
        Presence::Unread => Step::Read(Want::Share),
        Presence::Live => live,
        Presence::Leaving => Step::Await(Ending::Leaving),
        Presence::Missing => Step::Await(Ending::Confirmation),
        Presence::Hidden => Step::Wait(Wait::Visibility),
        Presence::Gone => gone,
    }
}

/// The object is being deleted: leave nothing behind that is ours.
fn end(facts: &Facts) -> Step {
    match &facts.situation {
        Situation::Unbound { .. } => Step::Release,
        Situation::Announced { candidates, settled, unsent } => resolve(candidates, *settled, *unsent),
        Situation::Bound { .. } if facts.retain || !facts.owner => Step::Release,
        Situation::Bound { share, .. } => by_presence(*share, Step::Delete, Step::Release),
    }
}

fn frozen_end(facts: &Facts) -> Step {
    match end(facts) {
        Step::Delete | Step::GiveUp | Step::Withdraw => Step::Wait(Wait::Thaw),
        // What vanished while nothing may change is not believed to be gone.
        Step::Release if matches!(facts.situation, Situation::Bound { .. }) && !facts.retain => Step::Wait(Wait::Thaw),
        other => other,
    }
}

fn frozen(facts: &Facts) -> Step {
    match &facts.situation {
        Situation::Bound { share, .. } => by_presence(*share, Step::Maintain, Step::Wait(Wait::Thaw)),
        Situation::Unbound { .. } | Situation::Announced { .. } => Step::Wait(Wait::Thaw),
    }
}

fn observe(situation: &Situation, is_deleting: bool) -> Step {
    if is_deleting {
        return Step::Release;
    }
    match situation {
        Situation::Unbound { adoption: Adoption::Exactly(_, found), .. } => match found {
            Found::Unread => Step::Read(Want::Share),
            Found::Fits => Step::Maintain,
            Found::Misfits => Step::Refuse(Refusal::TargetMismatch),
            Found::Missing => Step::Refuse(Refusal::NotFound),
        },
        Situation::Unbound { named, .. } => match named {
            Named::Unread => Step::Read(Want::List),
            Named::One { .. } => Step::Maintain,
            Named::Nobody => Step::Refuse(Refusal::Nothing),
            Named::Taken(id) => Step::Refuse(Refusal::Taken(id.clone())),
            Named::Many(ids) => Step::Refuse(Refusal::Ambiguous(ids.clone())),
        },
        Situation::Announced { .. } => Step::Wait(Wait::Thaw),
        Situation::Bound { share, .. } => by_presence(*share, Step::Maintain, Step::Refuse(Refusal::NotFound)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ShareId {
        ShareId::parse(text).expect("an id")
    }

    fn situations() -> Vec<Situation> {
        let mut all = Vec::new();
        let founds = [Found::Unread, Found::Fits, Found::Misfits, Found::Missing];
        let adoptions = [Adoption::Never, Adoption::SameName].into_iter();
        for adoption in adoptions.chain(founds.map(|found| Adoption::Exactly(id("a"), found))) {
            for named in [
                Named::Unread,
                Named::Nobody,
                Named::One { id: id("n"), fits: true },
                Named::One { id: id("n"), fits: false },
                Named::Taken(id("n")),
                Named::Many(vec![id("n"), id("m")]),
            ] {
                for gathered in [Gathered::NoRecipients, Gathered::NoResources, Gathered::Arriving, Gathered::Complete]
                {
                    for may_try in [false, true] {
                        all.push(Situation::Unbound {
                            adoption: adoption.clone(),
                            named: named.clone(),
                            gathered,
                            may_try,
                        });
                    }
                }
            }
        }
        for candidates in [
            Candidates::Unread,
            Candidates::None,
            Candidates::Hidden,
            Candidates::One(id("c")),
            Candidates::Many(vec![id("c"), id("d")]),
        ] {
            for (settled, unsent) in [(false, false), (false, true), (true, false), (true, true)] {
                all.push(Situation::Announced { candidates: candidates.clone(), settled, unsent });
            }
        }
        for adopted in [false, true] {
            for share in [
                Presence::Unread,
                Presence::Live,
                Presence::Leaving,
                Presence::Missing,
                Presence::Hidden,
                Presence::Gone,
            ] {
                all.push(Situation::Bound { adopted, share });
            }
        }
        all
    }

    fn every() -> Vec<(Facts, Step)> {
        let mut all = Vec::new();
        for mode in [Mode::Manage, Mode::Observe, Mode::Frozen] {
            for bits in 0..8 {
                for situation in situations() {
                    let facts =
                        Facts { mode, is_deleting: bits & 1 > 0, retain: bits & 2 > 0, owner: bits & 4 > 0, situation };
                    let step = step(&facts);
                    all.push((facts, step));
                }
            }
        }
        all
    }

    #[test]
    fn a_create_is_sent_only_when_complete_unclaimed_unnamed_and_alive() {
        let mut creates = 0;
        for (facts, step) in every() {
            if step != Step::Create {
                continue;
            }
            creates += 1;
            assert!(facts.mode == Mode::Manage && !facts.is_deleting && facts.owner, "{facts:?}");
            let Situation::Unbound { adoption, named, gathered, may_try } = &facts.situation else {
                panic!("{facts:?}");
            };
            assert!(!matches!(adoption, Adoption::Exactly(..)), "{facts:?}");
            assert_eq!((named, gathered, may_try), (&Named::Nobody, &Gathered::Complete, &true));
        }
        assert!(creates > 0);
    }

    #[test]
    fn what_a_share_begins_with_is_one_row_of_a_table() {
        use Found::{Fits, Misfits, Missing, Unread};
        use Gathered::{Arriving, Complete, NoRecipients, NoResources};
        type Case<'a> = (&'a Adoption, &'a Named, Gathered, bool);
        type Row = (fn(Case) -> bool, Step);
        let bind = |text: &str| Step::Bind { id: id(text), adopted: true };
        // Without an id in the manifest, by what bears the name; else by what became of the share with that id.
        let table: [Row; 16] = [
            (|(a, ..)| matches!(a, Adoption::Exactly(_, Unread)), Step::Read(Want::Share)),
            (|(a, ..)| matches!(a, Adoption::Exactly(_, Fits)), bind("a")),
            (|(a, ..)| matches!(a, Adoption::Exactly(_, Misfits)), Step::Refuse(Refusal::TargetMismatch)),
            (|(a, ..)| matches!(a, Adoption::Exactly(_, Missing)), Step::Refuse(Refusal::NotFound)),
            (|(a, n, ..)| *a == Adoption::SameName && matches!(n, Named::One { fits: true, .. }), bind("n")),
            (
                |(a, n, ..)| *a == Adoption::SameName && matches!(n, Named::One { fits: false, .. }),
                Step::Refuse(Refusal::TargetMismatch),
            ),
            (
                |(a, n, ..)| *a == Adoption::SameName && matches!(n, Named::Taken(_)),
                Step::Refuse(Refusal::Taken(id("n"))),
            ),
            (
                |(a, n, ..)| *a == Adoption::SameName && matches!(n, Named::Many(_)),
                Step::Refuse(Refusal::Ambiguous(vec![id("n"), id("m")])),
            ),
            (
                |(a, n, ..)| *a == Adoption::Never && matches!(n, Named::One { .. } | Named::Taken(_)),
                Step::Refuse(Refusal::NameTaken(vec![id("n")])),
            ),
            (
                |(a, n, ..)| *a == Adoption::Never && matches!(n, Named::Many(_)),
                Step::Refuse(Refusal::NameTaken(vec![id("n"), id("m")])),
            ),
            (|(a, n, g, _)| is_free(a, n) && g == Arriving, Step::Wait(Wait::Children)),
            (|(a, n, g, _)| is_free(a, n) && *n == Named::Unread && g != Arriving, Step::Read(Want::List)),
            (|(a, n, g, _)| is_free(a, n) && *n == Named::Nobody && g == NoRecipients, Step::Wait(Wait::Recipients)),
            (|(a, n, g, _)| is_free(a, n) && *n == Named::Nobody && g == NoResources, Step::Wait(Wait::Resources)),
            (|(a, n, g, may)| is_free(a, n) && *n == Named::Nobody && g == Complete && may, Step::Create),
            (|(a, n, g, may)| is_free(a, n) && *n == Named::Nobody && g == Complete && !may, Step::Wait(Wait::Backoff)),
        ];
        fn is_free(adoption: &Adoption, named: &Named) -> bool {
            !matches!(adoption, Adoption::Exactly(..)) && matches!(named, Named::Unread | Named::Nobody)
        }
        let mut cases = 0;
        for (facts, step) in every() {
            let Situation::Unbound { adoption, named, gathered, may_try } = &facts.situation else { continue };
            if facts.mode != Mode::Manage || facts.is_deleting || !facts.owner {
                continue;
            }
            let of = |(fits, _): &&Row| fits((adoption, named, *gathered, *may_try));
            let rows: Vec<&Step> = table.iter().filter(of).map(|(_, step)| step).collect();
            assert_eq!(rows, [&step], "{facts:?}");
            cases += 1;
        }
        assert_eq!(cases, 2 * 6 * 6 * 4 * 2, "with and without retain");
    }

    #[test]
    fn nobody_asks_for_names_while_children_arrive() {
        for (facts, step) in every() {
            if let Situation::Unbound { gathered: Gathered::Arriving, .. } = facts.situation {
                assert!(step != Step::Read(Want::List) || facts.mode == Mode::Observe, "{facts:?}");
            }
        }
    }

    #[test]
    fn nothing_is_deleted_that_is_not_bound_owned_and_doomed() {
        for (facts, step) in every() {
            if step == Step::Delete {
                assert!(facts.mode == Mode::Manage && facts.is_deleting && facts.owner && !facts.retain, "{facts:?}");
                assert!(matches!(facts.situation, Situation::Bound { share: Presence::Live, .. }), "{facts:?}");
            }
        }
    }

    #[test]
    fn a_finalizer_goes_only_when_gone_never_created_retained_or_not_ours() {
        for (facts, step) in every() {
            if step != Step::Release {
                continue;
            }
            assert!(facts.is_deleting, "{facts:?}");
            let fine = match &facts.situation {
                Situation::Unbound { .. } => true,
                Situation::Announced { .. } => facts.mode == Mode::Observe,
                Situation::Bound { share, .. } => {
                    facts.retain
                        || facts.mode == Mode::Observe
                        || (facts.mode == Mode::Manage && (!facts.owner || *share == Presence::Gone))
                }
            };
            assert!(fine, "{facts:?}");
        }
    }

    #[test]
    fn only_a_free_young_share_with_the_announced_name_and_resources_may_be_ours() {
        let times = (At(5), At(9));
        let ours = Sighting {
            id: id("a"),
            named: true,
            alike: true,
            created: Some(At(5)),
            known: false,
            sure: false,
            taken: false,
        };
        let others = [
            Sighting { named: false, ..ours.clone() },
            Sighting { alike: false, ..ours.clone() },
            Sighting { created: Some(At(4)), ..ours.clone() },
            Sighting { created: Some(At(4).minus(CLOCKS_DIFFER)), sure: true, ..ours.clone() },
            Sighting { known: true, sure: true, ..ours.clone() },
            Sighting { taken: true, ..ours.clone() },
        ];
        assert_eq!(candidates(times, others.clone()), Candidates::None);
        assert_eq!(candidates(times, others.into_iter().chain([ours.clone()])), Candidates::One(id("a")));
        let twin = Sighting { id: id("b"), created: Some(At(9)), ..ours.clone() };
        assert_eq!(candidates(times, [twin, ours]), Candidates::Many(vec![id("a"), id("b")]));
    }

    #[test]
    fn where_clocks_differ_a_share_is_ours_once_a_read_must_show_what_is() {
        let hour = Duration::from_secs(3600);
        for created in [Some(At(5).minus(hour)), Some(At(9).plus(hour)), Some(At(4)), Some(At(10)), None] {
            let seen = |sure| {
                let id = id("a");
                candidates(
                    (At(5), At(9)),
                    [Sighting { id, named: true, alike: true, created, known: false, sure, taken: false }],
                )
            };
            assert_eq!(seen(false), Candidates::None, "{created:?}");
            assert_eq!(seen(true), Candidates::One(id("a")), "{created:?}");
        }
    }

    #[test]
    fn looks_settle_a_create_only_a_lag_after_its_end() {
        let settled = |looks: &[i64]| {
            let looks: Vec<At> = looks.iter().copied().map(At).collect();
            has_settled(At(100), &looks, Duration::from_millis(10))
        };
        assert!(!settled(&[]));
        assert!(!settled(&[150]));
        assert!(!settled(&[0, 50, 100]), "what took effect at the end may not be visible yet");
        assert!(!settled(&[99, 109]));
        assert!(!settled(&[100, 109]));
        assert!(settled(&[100, 110]));
        assert!(settled(&[0, 105, 112, 120]));
    }

    #[test]
    fn an_adopted_share_that_is_gone_is_never_made_anew() {
        for (facts, step) in every() {
            if let Situation::Bound { adopted: true, .. } = facts.situation {
                assert!(step != Step::Forget && step != Step::Create, "{facts:?}");
            }
        }
    }

    #[test]
    fn a_share_that_the_credential_never_showed_is_neither_made_anew_nor_let_go() {
        for (facts, step) in every() {
            if matches!(facts.situation, Situation::Bound { share: Presence::Hidden, .. }) && facts.owner {
                let kept = matches!(step, Step::Wait(_) | Step::Refuse(_));
                let retained =
                    step == Step::Release && facts.is_deleting && (facts.retain || facts.mode == Mode::Observe);
                assert!(kept || retained, "{facts:?} {step:?}");
            }
        }
    }

    #[test]
    fn a_share_is_not_believed_to_be_gone_after_one_look_in_any_mode() {
        for (facts, step) in every() {
            let Situation::Bound { share: share @ (Presence::Missing | Presence::Hidden), .. } = facts.situation else {
                continue;
            };
            if facts.is_deleting || facts.mode == Mode::Manage && !facts.owner {
                continue;
            }
            let missing = share == Presence::Missing;
            let look = if missing { Step::Await(Ending::Confirmation) } else { Step::Wait(Wait::Visibility) };
            assert_eq!(step, look, "{facts:?}");
        }
    }

    #[test]
    fn an_open_announcement_is_given_up_only_after_settling() {
        for (facts, step) in every() {
            if step == Step::GiveUp {
                let situation = Situation::Announced { candidates: Candidates::None, settled: true, unsent: false };
                assert_eq!(facts.situation, situation);
            }
        }
    }

    #[test]
    fn what_an_announcement_calls_for_is_one_row_of_a_table() {
        type Row = (fn(&Candidates, bool, bool) -> bool, Step);
        let many = Refusal::Ambiguous(vec![id("c"), id("d")]);
        let table: [Row; 7] = [
            (|_, _, unsent| unsent, Step::Withdraw),
            (|c, _, unsent| !unsent && *c == Candidates::Unread, Step::Read(Want::List)),
            (|c, settled, unsent| !unsent && *c == Candidates::None && settled, Step::GiveUp),
            (|c, settled, unsent| !unsent && *c == Candidates::None && !settled, Step::Wait(Wait::Settle)),
            (|c, _, unsent| !unsent && *c == Candidates::Hidden, Step::Wait(Wait::Visibility)),
            (|c, _, unsent| !unsent && matches!(c, Candidates::One(_)), Step::Bind { id: id("c"), adopted: false }),
            (|c, _, unsent| !unsent && matches!(c, Candidates::Many(_)), Step::Refuse(many)),
        ];
        let mut cases = 0;
        for (facts, step) in every() {
            let Situation::Announced { candidates, settled, unsent } = &facts.situation else { continue };
            if facts.mode != Mode::Manage {
                assert_ne!(step, Step::Withdraw, "{facts:?}");
                continue;
            }
            let of = |(fits, _): &&Row| fits(candidates, *settled, *unsent);
            let rows: Vec<&Step> = table.iter().filter(of).map(|(_, step)| step).collect();
            assert_eq!(rows, [&step], "{facts:?}");
            cases += 1;
        }
        assert_eq!(cases, 5 * 4 * 8, "whoever owns it, and whether it is being deleted or retained");
    }

    #[test]
    fn observing_and_frozen_change_nothing_at_cloudflare() {
        for (facts, step) in every() {
            if facts.mode != Mode::Manage {
                assert!(
                    !matches!(step, Step::Create | Step::Delete | Step::GiveUp | Step::Withdraw | Step::Forget),
                    "{facts:?} {step:?}"
                );
            }
        }
    }
}
