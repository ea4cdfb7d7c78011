//! Permission to replace a party in its call, by Replaces in an INVITE or in a REFER (RFC 3891): how the
//! asking party is related to the dialog. The decision is in `call::policy`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::redirect::party_name;
use super::{CallStep, Common, Switch, Turn};
use crate::LegId;
use crate::event::Event;
use crate::handler::Party as Named;
use crate::policy::{Asker, Decision, Party, Place, Trunk, Way, decide};
use b2b_sip::msg::{Name, NameAddr, Request};

/// How long a referred party may use Replaces: as long as the INVITE of the referral may last (RFC 3261
/// §17.1.1.2, Timer B).
const REFERRED: Duration = Duration::from_secs(32);
/// Maximum number of REFERs remembered for this.
const REMEMBERED: usize = 256;

/// A REFER that was passed on.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct PassedRefer {
    #[serde(with = "b2b_base::ages")]
    at: Instant,
    /// The referred party, and the referrer.
    to: Arc<Named>,
    by: Arc<Named>,
}

impl Switch {
    /// Whether the party of one leg may replace that of another; a refusal is reported. `invite`: the INVITE
    /// that asks; `None`: a REFER does.
    pub(super) fn may_replace(
        &mut self,
        t: &Turn<'_>,
        asks: LegId,
        replaced: LegId,
        invite: Option<&Request>,
    ) -> bool {
        let (asker, of) = (self.calls.party(asks), self.calls.party(replaced));
        let own = self.common.fact("is same", |common| common.parts.admission.is_same(&asker, &of));
        let place = match invite.filter(|_| !own) {
            _ if own => Place::Own,
            Some(invite)
                if self.common.fact("is referred", |common| common.is_referred(t, &asker, &of, invite)) =>
            {
                Place::Referred
            }
            _ => Place::Elsewhere,
        };
        let party = match &asker.user {
            Some(user) => Party::User(user),
            None => Party::Gateway(Trunk { name: asker.gateway.as_deref(), ..Trunk::HOST }),
        };
        let verdict = decide(Asker::new(party), Way::Replaces, place);
        let Some(call) = self.calls.leg(asks).map(|it| it.call) else {
            self.common.counters.impossible("may_replace");
            return false;
        };
        if verdict.decision == Decision::Follow {
            self.common.history.decided(call, t.now, Some(asks), "replaces", verdict.why);
            return true;
        }
        let to = format!("leg {} of {}", replaced.0, party_name(&of));
        let (way, why) = ("replaces".to_owned(), verdict.why.to_owned());
        let party = party_name(&asker);
        self.in_call(call, |step| {
            step.not_followed(t, Event::NotFollowed { call, leg: asks, party, way, to, why, line: None })
        });
        false
    }
}

impl CallStep<'_> {
    /// Remembers a REFER that was passed on: for a while, its recipient may replace the referrer in a dialog.
    pub(super) fn remember_refer(&mut self, t: &Turn<'_>, by: LegId, to: LegId) {
        let (by, to) = (self.call.party(by), self.call.party(to));
        self.common.referrals.passed.retain(|it| t.now < it.at + REFERRED);
        if self.common.referrals.passed.len() >= REMEMBERED {
            self.common.referrals.passed.remove(0);
        }
        self.common.referrals.passed.push(PassedRefer { at: t.now, to, by });
    }

    /// The Referred-By for a REFER that is passed on (RFC 3892): the referrer's identity here, whatever it
    /// claims. `None` for an anonymous party.
    pub(super) fn referred_by(&self, leg: LegId) -> Option<String> {
        if self.is_unknown(leg) {
            return None;
        }
        let party = self.call.party(leg);
        let user = party.user.as_ref().unwrap_or(&party.number);
        let user = super::invite::escaped_user(user);
        (!user.is_empty()).then(|| format!("<sip:{user}@{}>", self.common.config.domain))
    }
}

impl Common {
    /// Whether the party to be replaced has referred this one here, by a REFER that was passed on and that
    /// the INVITE names (RFC 3892).
    fn is_referred(&self, t: &Turn<'_>, asker: &Named, of: &Named, invite: &Request) -> bool {
        let Some(by) = invite.header(Name::ReferredBy).and_then(NameAddr::parse) else { return false };
        let Some(named) = by.uri.number(self.parts.admission.ours()) else { return false };
        let passed = self.referrals.passed.iter().filter(|it| t.now < it.at + REFERRED);
        passed.into_iter().any(|it| {
            let is_named = it.by.user.as_ref() == Some(&named) || it.by.number == named;
            is_named
                && self.parts.admission.is_same(&it.to, asker)
                && self.parts.admission.is_same(&it.by, of)
        })
    }
}
