//! REFERs that go out: a party is asked to call somebody by itself (RFC 3515).

use bytes::Bytes;

use super::{Switch, Turn};
use crate::LegId;
use b2b_sip::endpoint::{ReferId, ReferTo, RequestFailure, UsageId};
use b2b_sip::msg::{Name, NameAddr, Request, Response};

impl Switch {
    /// The far end is to be asked by the other side itself.
    pub(super) fn pass_refer_on(
        &mut self,
        t: &mut Turn<'_>,
        (by, to): (LegId, LegId),
        refer_to: &ReferTo,
        request: &Request,
        (usage, refer): (UsageId, ReferId),
    ) {
        let value = request.header(Name::ReferTo).map(Bytes::copy_from_slice).unwrap_or_default();
        let value = without_headers(value, refer_to);
        let Some(other) = self.legs.get(to.0).and_then(|it| it.usage) else {
            return t.answer_refer(usage, refer, 480);
        };
        let by_whom = self.referred_by(by).map(|by| ("Referred-By".into(), by.into()));
        match t.sip.refer(t.now, other, value, true, by_whom.into_iter().collect()) {
            Ok(id) => {
                self.referred.insert(id, (to, usage, refer));
                self.remember_refer(t, (by, to));
            }
            Err(error) => {
                tracing::debug!("leg {}: {error}", to.0);
                t.answer_refer(usage, refer, 480);
            }
        }
    }

    /// The answer to a REFER that went across.
    pub(super) fn refer_answered(
        &mut self,
        t: &mut Turn<'_>,
        id: ReferId,
        result: &Result<Response, RequestFailure>,
    ) {
        let Some((_, usage, refer)) = self.referred.get(&id).copied() else { return };
        let status = match result {
            Ok(response) => response.status(),
            Err(RequestFailure::NoResponse) => 408,
            Err(RequestFailure::Unreachable) => 480,
        };
        if status >= 300 {
            self.referred.remove(&id);
        }
        t.answer_refer(usage, refer, status);
    }

    /// News of a REFER that went across.
    pub(super) fn refer_progress(
        &mut self,
        t: &mut Turn<'_>,
        id: ReferId,
        status: Option<(u16, String)>,
        last: bool,
    ) {
        let Some((_, usage, refer)) = self.referred.get(&id).copied() else { return };
        if last {
            self.referred.remove(&id);
        }
        // Nobody knows how it ended: as good as gone.
        let status = status.or_else(|| last.then(|| (503, String::new())));
        if let Some((status, reason)) = status {
            let _ = t.sip.notify_refer(t.now, usage, refer, status, &reason);
        }
    }

    /// The leg that a REFER went to has ended.
    pub(super) fn forget_referred(&mut self, t: &mut Turn<'_>, leg: LegId) {
        if self.referred.is_empty() {
            return;
        }
        let waiting: Vec<_> = self.referred.extract_if(|_, (to, ..)| *to == leg).collect();
        for (_, (_, usage, refer)) in waiting {
            // It has gone over to whom it was sent, as far as can be seen from here.
            let _ = t.sip.notify_refer(t.now, usage, refer, 200, "");
        }
    }
}

/// Refer-To as it came; without header fields beside Replaces, where it has some.
fn without_headers(value: Bytes, to: &ReferTo) -> Bytes {
    let headers = NameAddr::parse(&value).and_then(|it| it.uri.headers).unwrap_or_default();
    let is_replaces = |field: &[u8]| field.to_ascii_lowercase().starts_with(b"replaces=");
    if headers.split(|&byte| byte == b'&').all(|field| field.is_empty() || is_replaces(field)) {
        return value;
    }
    let replaces = to.replaces.as_ref().map(|it| format!("?{}", it.embedded())).unwrap_or_default();
    [b"<", &to.uri[..], replaces.as_bytes(), b">"].concat().into()
}
