//! Small worlds, explored whole: the operator as it is passes in each, and each crippled design is found wrong.

use cfshare_model::deletions;
use cfshare_model::design::Design;
use cfshare_model::explore::explore;
use cfshare_model::guarded::{self, Guard};
use cfshare_model::laws;
use cfshare_model::life;
use cfshare_model::model::Bounds;
use cfshare_model::scenario::exposing;
use cfshare_model::search;

fn broken(design: Design) -> &'static str {
    let bounds = exposing(design);
    let sound = explore(Bounds { design: Design::Sound, ..bounds }, 2);
    if let Some(violation) = sound.violation {
        panic!("the operator as it is: {}", violation.tell());
    }
    assert!(sound.at_rest > 0);
    let violation = explore(bounds, 1).violation.unwrap_or_else(|| panic!("{} was not caught", design.describe()));
    // Told shortest first: what leads there is a way that can be followed.
    assert!(violation.actions.len() < 40, "{}", violation.tell());
    violation.law
}

#[test]
fn a_create_that_is_not_announced_makes_two_shares() {
    assert_eq!(broken(Design::NoIntent), "no duplicate");
}

#[test]
fn a_share_that_is_taken_for_ours_by_its_name_alone_may_be_a_persons() {
    assert_eq!(broken(Design::NameOnly), "nothing foreign is touched");
}

#[test]
fn a_share_that_is_known_by_its_time_alone_is_not_found_where_clocks_differ() {
    assert_eq!(broken(Design::TrustClock), "everything comes to rest");
}

#[test]
fn a_lagging_list_may_show_a_removed_share_of_an_earlier_attempt() {
    assert_eq!(broken(Design::HastySight), "no duplicate");
}

#[test]
fn a_create_that_was_answered_5xx_may_have_made_a_share() {
    assert_eq!(broken(Design::TrustFailure), "no duplicate");
}

#[test]
fn a_single_404_does_not_prove_that_a_share_is_gone() {
    assert_eq!(broken(Design::AnyNotFound), "nothing leaks");
}

#[test]
fn looks_before_the_settle_time_ended_prove_nothing() {
    assert_eq!(broken(Design::HastyLook), "no duplicate");
}

#[test]
fn an_announced_row_settles_only_when_reads_must_show_it() {
    assert_eq!(broken(Design::HastyRow), "no duplicate");
}

#[test]
fn a_live_row_need_not_be_what_the_announced_call_made() {
    assert_eq!(broken(Design::HastyConfirm), "no duplicate");
}

#[test]
fn an_answer_is_not_recorded_over_what_was_recorded_since() {
    assert_eq!(broken(Design::BlindBind), "no duplicate");
}

#[test]
fn a_world_in_which_nothing_goes_wrong_comes_to_rest() {
    let outcome = explore(exposing(Design::Sound), 2);
    assert!(outcome.violation.is_none_or(|violation| violation.law != laws::HOPEFUL));
    assert!(outcome.at_rest > 0 && outcome.states > outcome.at_rest);
}

#[test]
fn no_more_is_removed_than_the_limit_whatever_happens_to_those_who_remove() {
    for bounds in guarded::SOUND {
        let outcome = guarded::explore(bounds);
        assert!(outcome.way.is_none(), "{bounds:?}:\n{}", outcome.tell());
        assert!(outcome.states > 1000, "{bounds:?}: {} states", outcome.states);
    }
}

#[test]
fn each_crippled_guard_removes_too_much() {
    for guard in Guard::CRIPPLED {
        let bounds = guarded::exposing(guard);
        let sound = guarded::explore(guarded::Bounds { guard: Guard::Sound, ..bounds });
        assert!(sound.way.is_none(), "the guard as it is, where one {}:\n{}", guard.describe(), sound.tell());
        let way = guarded::explore(bounds).way;
        assert!(way.is_some_and(|way| way.len() < 30), "a guard that {} was not caught", guard.describe());
    }
}

#[test]
fn the_life_of_a_child_ends_well_in_whatever_order_objects_come_and_go() {
    for scenario in [life::Scenario::Alone, life::Scenario::Held, life::Scenario::Last] {
        let outcome = life::explore(scenario.bounds());
        assert!(outcome.violation.is_none(), "{scenario:?}: {}", outcome.tell());
        assert!(outcome.at_rest > 100 && outcome.states > 10_000, "{scenario:?}: {} states", outcome.states);
    }
}

#[test]
fn each_crippled_life_of_a_child_breaks_its_law() {
    for (design, law) in [
        (life::Design::IgnoresAnswer, search::PROMPT),
        (life::Design::ReleasesUnlooked, life::LEAK),
        (life::Design::ForgetsOthers, life::WANTED),
        (life::Design::ForgetsObjects, life::WANTED),
        (life::Design::DropsAtOnce, life::LEAK),
        (life::Design::ReleasesToAnybody, life::LEAK),
        (life::Design::LeavesAtOnce, life::LEAK),
        (life::Design::ForgetsShare, life::LEAK),
        (life::Design::GoesAlong, life::LEAK),
        (life::Design::TrustsFailure, life::LOOK),
    ] {
        let outcome = life::explore(life::exposing(design));
        let (broken, way) =
            outcome.violation.as_ref().unwrap_or_else(|| panic!("{} was not caught", design.describe()));
        assert_eq!(*broken, law, "{}: {}", design.describe(), outcome.tell());
        assert!(way.len() < 40, "{}", outcome.tell());
    }
}

#[test]
fn the_guard_for_deletions_keeps_its_limit_through_crashes() {
    let sound = deletions::explore(deletions::Design::Sound);
    assert_eq!(sound.violation, None);
    assert!(sound.states > 1000);
    for design in deletions::Design::CRIPPLED {
        assert!(deletions::explore(design).violation.is_some(), "{} was not caught", design.describe());
    }
}
