//! Which course does a request take under a fault?

use std::time::Duration;

use crate::action::Action;
use crate::answer::{Answer, Refusal};
use crate::spoil::{self, Spoil};
use crate::wire::Way;

pub struct Course {
    pub before: Pause,
    pub applied: Applied,
    pub after: Pause,
    pub end: End,
}

pub enum Pause {
    None,
    For(Duration),
    /// Until somebody releases it.
    Held,
}

pub enum Applied {
    Never,
    Once,
    Twice,
    /// After the end.
    Later(Duration),
}

pub enum End {
    /// The true answer.
    Answer(Way),
    /// The true answer, spoilt.
    Spoilt(Spoil),
    /// Another text under the true status.
    Text {
        body: String,
        content_type: Option<String>,
    },
    /// The true answer to an earlier request.
    Another,
    /// An answer that has nothing to do with the true one.
    Instead {
        answer: Answer,
        content_type: &'static str,
    },
    Close,
    Reset,
    Stall,
}

impl Course {
    /// Without a fault.
    pub fn plain() -> Course {
        Course::applied(End::Answer(Way::Whole))
    }

    fn applied(end: End) -> Course {
        Course { before: Pause::None, applied: Applied::Once, after: Pause::None, end }
    }

    fn unapplied(end: End) -> Course {
        Course { applied: Applied::Never, ..Course::applied(end) }
    }

    pub fn under(action: Action) -> Course {
        match action {
            Action::Drop {} => Course::unapplied(End::Close),
            Action::Reset {} => Course::unapplied(End::Reset),
            Action::ApplyDrop {} => Course::applied(End::Close),
            Action::ApplyReset {} => Course::applied(End::Reset),
            Action::DelayBefore { ms } => Course { before: Pause::For(Duration::from_millis(ms)), ..Course::plain() },
            Action::DelayAfter { ms } => Course { after: Pause::For(Duration::from_millis(ms)), ..Course::plain() },
            Action::Late { ms } => {
                Course { applied: Applied::Later(Duration::from_millis(ms)), ..Course::unapplied(End::Close) }
            }
            Action::Twice {} => Course { applied: Applied::Twice, ..Course::plain() },
            Action::StatusBefore { status, body, code, retry_after } => {
                Course::unapplied(spoil::error(status, body, code, retry_after))
            }
            Action::StatusAfter { status, body, code, retry_after } => {
                Course::applied(spoil::error(status, body, code, retry_after))
            }
            Action::Throttle { retry_after, code } => {
                let refusal = Refusal::throttled(code.unwrap_or(10100), retry_after);
                Course::unapplied(spoil::instead(refusal))
            }
            Action::Forbidden {} => Course::unapplied(spoil::instead(Refusal::denied())),
            Action::ForbiddenAt { pointer } => Course::unapplied(spoil::instead(Refusal::denied().at(pointer))),
            Action::Redirect { to } => Course::unapplied(spoil::redirect(to)),
            Action::Cut {} => Course::applied(End::Answer(Way::Cut)),
            Action::StallBody {} => Course::applied(End::Answer(Way::StallBody)),
            Action::Slow { ms, bytes } => {
                let pause = Duration::from_millis(ms);
                Course::applied(End::Answer(Way::Slow { pause, bytes }))
            }
            Action::Huge { bytes } => Course::applied(End::Answer(Way::Huge { bytes })),
            Action::Close {} => Course::applied(End::Answer(Way::Closing)),
            Action::CloseOnReuse {} => Course::applied(End::Answer(Way::ClosedOnReuse)),
            Action::Garbage { body, content_type } => Course::applied(End::Text {
                body: body.unwrap_or_else(|| "<html>upstream says hello</html>".to_owned()),
                content_type,
            }),
            Action::Unsuccessful {} => Course::applied(End::Spoilt(Spoil::Unsuccessful)),
            Action::NullResult {} => Course::applied(End::Spoilt(Spoil::NullResult)),
            Action::UnknownWords { word } => {
                let word = word.unwrap_or_else(|| "evaluating".to_owned());
                Course::applied(End::Spoilt(Spoil::UnknownWords { word }))
            }
            Action::ExtraFields {} => Course::applied(End::Spoilt(Spoil::ExtraFields)),
            Action::FewerFields {} => Course::applied(End::Spoilt(Spoil::FewerFields)),
            Action::Rewrite { set, remove } => Course::applied(End::Spoilt(Spoil::Rewrite { set, remove })),
            Action::AnswerOfAnother {} => Course::applied(End::Another),
            Action::Stall {} => Course::unapplied(End::Stall),
            Action::ApplyStall {} => Course::applied(End::Stall),
            Action::HoldBefore {} => Course { before: Pause::Held, ..Course::plain() },
            Action::HoldAfter {} => Course { after: Pause::Held, ..Course::plain() },
        }
    }
}
