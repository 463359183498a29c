//! Designs of the operator: the real one, and ones that lack a part of it, which the checker must find wrong.

use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Design {
    /// The operator as it is.
    Sound,
    /// A create is sent without being announced.
    NoIntent,
    /// What an announced create made is looked up by its name alone.
    NameOnly,
    /// What an announced create made is known by a time that is not before its own, whatever the clocks.
    TrustClock,
    /// Where clocks differ, a share that any list shows is taken for what an announced create made.
    HastySight,
    /// A create that got no answer, or a 5xx, is taken as one that made nothing.
    TrustFailure,
    /// An announced create that this process is not about to send is taken as one that nobody sent.
    TrustSilence,
    /// One answer that the share does not exist is taken as proof.
    AnyNotFound,
    /// An announced create is given up on looks that do not reach back to the end of its settle time.
    HastyLook,
    /// A row's announcement settles without regard to reads that lag behind.
    HastyRow,
    /// What was in place is believed absent as soon as one read lacks it.
    HastyAbsence,
    /// A row that is seen while its call may still come is taken for what that call made.
    HastyConfirm,
    /// An answer is recorded over whatever was recorded since.
    BlindBind,
}

impl Design {
    /// Those that are shown unless one is asked for.
    pub const CRIPPLED: [Design; 11] = [
        Design::NoIntent,
        Design::NameOnly,
        Design::TrustClock,
        Design::HastySight,
        Design::TrustFailure,
        Design::TrustSilence,
        Design::AnyNotFound,
        Design::HastyLook,
        Design::HastyRow,
        Design::HastyConfirm,
        Design::BlindBind,
    ];

    pub fn describe(self) -> &'static str {
        match self {
            Design::Sound => "the operator as it is",
            Design::NoIntent => "creates without announcing",
            Design::NameOnly => "looks up by name only",
            Design::TrustClock => "trusts the clocks to agree",
            Design::HastySight => "believes a lagging list of an earlier attempt",
            Design::TrustFailure => "trusts a 5xx as not created",
            Design::TrustSilence => "takes what it did not send as not sent",
            Design::AnyNotFound => "releases on any 404",
            Design::HastyLook => "gives up on early looks",
            Design::HastyRow => "settles rows too early",
            Design::HastyAbsence => "believes one lagging read",
            Design::HastyConfirm => "takes any live row for its own",
            Design::BlindBind => "records an answer over anything",
        }
    }
}
