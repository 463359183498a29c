//! The reads that fill gaps in what is known of a share.

use super::facts::started_at;
use super::work::Work;
use crate::core::create as creation;
use crate::core::id::ShareId;
use crate::operator::stop::Stop;

impl Work {
    /// Notes down which credential shows the share, or may be believed that it is gone.
    pub(super) fn note_witness(&mut self) {
        let Some(id) = &self.pass.status.share_id else { return };
        let shown = ShareId::parse(id).is_ok_and(|id| self.access.account.picture().seen(&id).is_some());
        if shown || self.access.account.is_accepted(id) {
            self.pass.status.seen_with = Some(self.access.account.fingerprint.to_string());
        }
    }

    pub(super) async fn read_share(&mut self) -> Result<(), Stop> {
        let id = self.share_id().or_else(|| self.wanted.share_id.clone());
        self.access.await_first_sweep()?;
        let Some(id) = id else { return Ok(()) };
        self.access.read_share(&id).await?;
        let now = self.pass.now();
        self.pass.notes(|notes| notes.asked_for_id = Some(now));
        Ok(())
    }

    pub(super) async fn read_list(&mut self) -> Result<(), Stop> {
        self.access.await_first_sweep()?;
        let Some(intent) = self.pass.status.intent.clone() else {
            return self.access.look(self.snapshot(|now| now.look_since())).await;
        };
        let began = self.pass.now();
        let since = started_at(&intent).minus(creation::CLOCKS_DIFFER);
        self.access.look_back(since).await?;
        let with = self.access.account.fingerprint;
        self.pass.notes(|notes| notes.empty_looks.push((with, began)));
        Ok(())
    }
}
