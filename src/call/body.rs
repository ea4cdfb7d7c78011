//! What b2b understands of a body.

use b2b_sip::msg::Headers;
use b2b_sip::msg::body::{Content, Part};

/// What a part is, besides a session and digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// Signalling of the telephone network (RFC 3204).
    Isup,
    /// The caller's location (RFC 6442).
    Location,
    /// Anything else.
    Other,
}

impl PartKind {
    pub fn of(part: &Part) -> Self {
        match part {
            part if part.is("application/isup") || part.is("application/qsig") => PartKind::Isup,
            part if part.is("application/pidf+xml") => PartKind::Location,
            _ => PartKind::Other,
        }
    }
}

/// The status and reason that refuse a request because of its body. `isup`: [`PartKind::Isup`] of this sender is
/// understood.
pub(crate) fn refusal(content: &Content, isup: bool) -> Option<(u16, &'static str)> {
    if let Some(fault) = content.fault {
        return Some((400, fault));
    }
    let is_strange = |part: &Part| part.is_required && !(isup && PartKind::of(part) == PartKind::Isup);
    content.parts.iter().any(is_strange).then_some((415, "Unsupported Media Type"))
}

/// The content of a request.
///
/// # Errors
/// The status and reason that refuse it.
pub(crate) fn understood(request: &Headers, isup: bool) -> Result<Content, (u16, &'static str)> {
    let content = request.content();
    refusal(&content, isup).map_or(Ok(content), Err)
}
