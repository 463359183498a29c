//! Which accounts receive an organization's share though the manifest excludes them, and how is that told?

use super::super::{clock, waits};
use super::plan::Plan;
use super::work::Work;
use crate::api::{REQUESTED_AT, Reason};
use crate::cloudflare::Error;
use crate::core::create::Mode;
use crate::core::row_key::RowKey;
use crate::operator::cluster::objects;
use crate::operator::pass::drift;
use crate::operator::pass::verdict::{self, Course, Verdict};
use crate::operator::remote::seen::Seen;
use crate::operator::rows::declare::Declaration;
use crate::operator::rows::standing::{NOT_EXCLUDED, Standing, State};

/// A message names so many accounts.
const NAMED: usize = 3;
/// An exclusion that a person has to confirm first.
const BLOCKED: &str = "exclusion blocked";
/// The share has nothing yet that the account could receive.
const PENDING: &str = "exclusion pending";

impl Work {
    fn excluded(&self) -> impl Iterator<Item = (&RowKey, &Declaration)> {
        self.wanted.inline.iter().filter(|(key, _)| matches!(key, RowKey::Excluded(_)))
    }

    /// How excluded accounts stand that are not excluded: whether they receive the share, and why.
    pub(super) fn name_exclusions(&self, standings: &mut [(RowKey, Standing)], seen: &Seen) {
        let held = self.held_exclusions(seen);
        for (key, standing) in standings {
            if !matches!(key, RowKey::Excluded(_)) || standing.state == State::InPlace {
                continue;
            }
            standing.word = if held.contains(key) {
                BLOCKED.to_owned()
            } else if seen.live_resources() == 0 {
                PENDING.to_owned()
            } else {
                NOT_EXCLUDED.to_owned()
            };
            if standing.message.is_empty() && standing.word == NOT_EXCLUDED {
                standing.message = "the account receives the share until it is excluded".to_owned();
            }
        }
    }

    /// Accounts that were excluded and do not have the share taken away yet. Members who leave later are no reason to be
    /// unready.
    pub(super) fn leaving_members(&self, seen: &Seen) -> usize {
        let leaving = seen.counts.map_or(0, |counts| counts.disassociating);
        let awaited = self.wanted.organization.is_some() && self.excluded().next().is_some() && !self.pass.was_ready();
        if awaited { usize::try_from(leaving).unwrap_or(usize::MAX) } else { 0 }
    }

    /// Takes note of accounts that receive the share though they are excluded, so that it is told whatever becomes of the
    /// pass.
    pub(super) fn note_exclusions(&mut self, seen: &Seen, plan: &Plan) {
        self.pass.alarm = None;
        if self.mode != Mode::Manage || self.excluded().next().is_none() {
            return;
        }
        let standings = self.standings(seen, plan);
        self.list_exceptions(&standings);
        self.pass.alarm = self.not_in_force(&standings);
    }

    /// The share is made, with its resources, and whoever is excluded receives it until that is done.
    pub(super) fn note_exclusions_to_come(&mut self) {
        let sent = !self.pass.status.inventory.resources.is_empty();
        if !sent || self.excluded().next().is_none() {
            return;
        }
        let message = "the account receives the share until it is excluded";
        let standing =
            || Standing { state: State::Pending, word: NOT_EXCLUDED.to_owned(), message: message.to_owned() };
        let standings: Vec<(RowKey, Standing)> = self.excluded().map(|(key, _)| (key.clone(), standing())).collect();
        self.list_exceptions(&standings);
        self.pass.alarm = self.not_in_force(&standings);
        self.draft_alarm();
    }

    /// Puts what must not be hidden into the next write.
    pub(super) fn draft_alarm(&mut self) {
        let Some(alarm) = self.pass.alarm.clone() else { return };
        let (generation, now) = (self.pass.generation(), clock::time(self.pass.now()));
        let common = &mut self.pass.status.common;
        let drifted = drift::message(&common.drift);
        verdict::conclude(&mut common.conditions, &alarm, drifted, generation, &now);
    }

    /// What an earlier pass told, as long as nothing newer is known.
    pub(super) fn recall_exclusions(&mut self) {
        if self.pass.is_doomed() || self.mode != Mode::Manage {
            return;
        }
        let told = |key: &RowKey| {
            let RowKey::Excluded(account) = key else { return None };
            let entry =
                self.pass.status.exceptions.iter().find(|entry| {
                    entry.account_id.as_deref() == Some(account.as_str()) && entry.state == NOT_EXCLUDED
                })?;
            Some(Standing { state: State::Pending, word: entry.state.clone(), message: entry.message.clone() })
        };
        let standings: Vec<(RowKey, Standing)> =
            self.excluded().filter_map(|(key, _)| Some((key.clone(), told(key)?))).collect();
        self.pass.alarm = self.not_in_force(&standings);
    }

    /// What is told of accounts that receive the share though they are excluded.
    pub(super) fn not_in_force(&self, standings: &[(RowKey, Standing)]) -> Option<Verdict> {
        let receiving: Vec<&(RowKey, Standing)> =
            standings.iter().filter(|(_, standing)| standing.word == NOT_EXCLUDED).collect();
        if receiving.is_empty() {
            return None;
        }
        let named: Vec<String> = receiving.iter().take(NAMED).map(|(key, _)| self.label(key)).collect();
        let more = if receiving.len() > NAMED {
            format!(" and {} more (see status.exceptions)", receiving.len() - NAMED)
        } else {
            String::new()
        };
        let (verb, them) = if receiving.len() == 1 { ("receives", "it is") } else { ("receive", "they are") };
        let message = format!("{}{more} {verb} this share although {them} excluded", named.join(", "));
        let now = self.pass.now();
        let refusals = self.pass.notes(|notes| {
            let refusals = receiving.iter().filter_map(|(key, _)| notes.refusal(&key.to_string(), now).cloned());
            refusals.collect::<Vec<_>>()
        });
        let stuck = receiving.iter().find(|(_, standing)| standing.state == State::Refused);
        let Some((_, standing)) = stuck else {
            return Some(Verdict::working(Reason::ExclusionsNotInForce, message));
        };
        let again = refusals.iter().map(|refused| refused.until.since(now)).min().unwrap_or(waits::PERSON);
        let message = format!(
            "{message}: {}. cfshare tries again; to have it try now: `kubectl annotate --overwrite shares.cfshare.dev {} \
             -n {} {REQUESTED_AT}=$(date -u +%FT%TZ)`",
            standing.message, self.pass.key.name.name, self.pass.key.name.namespace,
        );
        let verdict = Verdict::stalled(Reason::ExclusionsNotInForce, message).again(again);
        let passing = !refusals.is_empty() && refusals.iter().all(|refused| refused.passing);
        Some(if passing { Verdict { course: Course::Reconciling, ..verdict } } else { verdict })
    }

    /// The credential may not exclude accounts, though it may well do all else: that is told of the accounts, and the rest
    /// of the share goes on.
    pub(super) fn exclusion_denied(&self, exclusions: &[RowKey], error: &Error) {
        let secret = objects::secret_of(&self.pass.object);
        self.pass.context.remote.credentials.doubt(&secret);
        let (now, patience) = (self.pass.now(), self.pass.context.settings.settle_time / 2);
        let message = format!(
            "Cloudflare does not allow the credential in the Secret {} to exclude accounts: {error}",
            secret.name
        );
        // One call was enough to learn it.
        for key in exclusions {
            self.pass.notes(|notes| notes.deny(&key.to_string(), message.clone(), now, patience));
        }
    }
}
