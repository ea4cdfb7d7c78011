//! Addresses that an INVITE has left for the next one, because no response came in time
//! (RFC 3263 §4.3). What comes from there later does not concern the call: a provisional
//! response gets CANCEL, a 2xx gets ACK and BYE.

use std::time::Instant;

use crate::dialog::state::Dialog;
use crate::dialog::usage::Dismissed;
use crate::endpoint::invite::challenge::credentials;
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, HeaderFields, UsageId};
use crate::msg::Response;
use crate::transaction::client::{ClientTransactionId, Outcome};

/// An INVITE at an address that was left.
#[derive(serde::Serialize, serde::Deserialize)]
pub(in crate::endpoint) struct Left {
    pub usage: UsageId,
    /// The dialog state of the INVITE, with the flow to this address.
    pub origin: Dialog,
    cseq: u32,
    credentials: HeaderFields,
    dismissed: Dismissed,
}

impl Endpoint {
    /// Handles the outcome of an INVITE at an address that was left; `false` for others.
    pub(in crate::endpoint) fn left_outcome(
        &mut self,
        now: Instant,
        outcome: &Outcome<User>,
        response: Option<&Response>,
    ) -> bool {
        let Some(id) = outcome.id else { return false };
        let Some(left) = self.failover.left.get_mut(&id) else { return false };
        let usage = left.usage;
        match response.map(|response| (response.status(), response)) {
            Some((..200, _)) => self.cancel_transaction(now, id, &[], usage),
            Some((200..300, response)) => {
                let found = left.dismissed.dismiss(&left.origin, response, self.config.limits.forks);
                let (cseq, credentials) = (left.cseq, left.credentials.clone());
                if let Some((dialog, is_new)) = found {
                    let bye = is_new.then(HeaderFields::new);
                    self.acknowledge_and_end(now, usage, dialog, cseq, credentials, bye);
                }
            }
            _ => {}
        }
        if outcome.ended {
            self.failover.left.remove(&id);
        }
        true
    }

    /// An INVITE leaves an address whose transaction goes on: for the call it has ended.
    pub(in crate::endpoint) fn leave(&mut self, id: ClientTransactionId, outcome: &mut Outcome<User>) {
        outcome.ended = true;
        let User::Invite(usage, cseq) = outcome.user else { return };
        let Some((dialog, headers)) = self.failover.sent_as(id) else { return };
        let (mut origin, credentials) = (dialog.clone(), credentials(headers));
        origin.flow = outcome.flow;
        let left = Left { usage, origin, cseq, credentials, dismissed: Dismissed::default() };
        self.failover.left.insert(id, Box::new(left));
    }
}
