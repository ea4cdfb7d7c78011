//! What an INVITE of ours inherits from the one that it comes of: hops, and the
//! marks by which a call that comes back is known. A B2BUA needs its own: each leg
//! has a Call-ID of its own, so no INVITE that comes back is a merged one
//! (RFC 3261 §8.2.2.2), and Max-Forwards alone lets a ring group that calls itself
//! grow threefold with each of 70 rounds.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::command::HeaderFields;
use super::{Endpoint, Invite};
use crate::dialog::request::MAX_FORWARDS;
use crate::msg::{Name, Request};

/// One mark a value: a keyed hash, which tells nobody anything.
const HOP: &[u8] = b"B2b-Hop";
/// Marks that go on; more than any sound chain of calls has.
const MARKS: usize = 32;

/// What goes on from an INVITE of theirs to one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onward {
    /// One less than theirs.
    pub max_forwards: u8,
    /// The marks of the way so far, and ours.
    pub headers: HeaderFields,
}

impl Onward {
    /// Puts it into an INVITE of ours.
    pub fn apply(self, invite: &mut Invite) {
        invite.max_forwards = Some(self.max_forwards);
        invite.headers.extend(self.headers);
    }
}

impl Endpoint {
    /// For the INVITEs that an INVITE of theirs leads to.
    pub fn onward(&self, request: &Request) -> Onward {
        let name = Bytes::from_static(HOP);
        let known = request.field_values(Name::Other(HOP)).take(MARKS);
        let mut headers: HeaderFields =
            known.filter_map(mark).map(|mark| (name.clone(), Bytes::copy_from_slice(mark))).collect();
        headers.push((name, self.mark(request).into()));
        let hops = request.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS);
        Onward { max_forwards: hops.saturating_sub(1), headers }
    }

    /// Whether an INVITE has been here before with the same target from the same
    /// source. Another target, or another source, makes it a spiral.
    pub(super) fn is_loop(&self, request: &Request) -> bool {
        let mut marks = request.field_values(Name::Other(HOP)).take(MARKS).peekable();
        if marks.peek().is_none() {
            return false;
        }
        let ours = self.mark(request);
        marks.any(|mark| mark == ours.as_bytes())
    }

    fn mark(&self, request: &Request) -> String {
        let mut hasher = DefaultHasher::new();
        self.budget.secret().hash(&mut hasher);
        request.uri_bytes().hash(&mut hasher);
        request.source().map(|source| source.ip()).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// A mark as any of us writes it; nothing else is passed on.
fn mark(value: &[u8]) -> Option<&[u8]> {
    (value.len() == 16 && value.iter().all(u8::is_ascii_hexdigit)).then_some(value)
}
