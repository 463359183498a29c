//! What is a share now, and what was it a moment ago?

use std::collections::VecDeque;

use crate::clock::Micros;
use crate::share::Share;

pub struct Record {
    pub share: Share,
    /// What the share was until a moment, oldest first; kept only while reads lag.
    history: VecDeque<(Micros, Share)>,
    pub vanished: bool,
}

impl Record {
    pub fn new(share: Share) -> Record {
        Record { share, history: VecDeque::new(), vanished: false }
    }

    /// The share as it was at a moment, or as it is.
    pub fn at(&self, moment: Option<Micros>) -> Option<&Share> {
        if self.vanished {
            return None;
        }
        let Some(moment) = moment else {
            return Some(&self.share);
        };
        if moment < self.share.created.at {
            return None;
        }
        let old = self.history.iter().find(|(until, _)| *until > moment);
        Some(old.map_or(&self.share, |(_, share)| share))
    }

    /// Keeps what the share is, before it changes.
    pub fn keep(&mut self, now: Micros, lag: Micros) {
        if lag > 0 {
            self.history.retain(|(until, _)| *until > now - lag);
            self.history.push_back((now, self.share.clone()));
        }
    }

    pub fn settle(&mut self, now: Micros, lag: Micros) {
        if now < self.share.next_due {
            return;
        }
        self.keep(self.share.next_due, lag);
        self.share.settle(now);
    }
}
