//! How strangers are answered: once, or not at all, and nothing is kept of them
//! (RFC 3261 §26.3.2.4). Who forges a source address must not make us send again
//! and again to somebody who has asked for nothing.

use std::time::Instant;

use bytes::Bytes;

use super::command::{CommandError, Reply, check_headers};
use super::{Endpoint, Flow, ServerTransactionId, UsageId};
use crate::dialog::callee_fsm;

/// Two line ends (RFC 5626 §3.5.1).
const KEEP_ALIVE: &[u8] = b"\r\n\r\n";

impl Endpoint {
    /// Refuses the INVITE that starts a call with 300 to 699, once: it is not sent
    /// again, whether an ACK comes or not. Who missed it sends its INVITE again.
    ///
    /// # Errors
    /// There is no INVITE to refuse, or a header field is not one.
    pub fn refuse_once(&mut self, now: Instant, usage: UsageId, reply: Reply) -> Result<(), CommandError> {
        if !(300..700).contains(&reply.status) {
            return Err(CommandError::WrongState("a refusal's status is 300 to 699"));
        }
        check_headers(&reply.headers)?;
        let (transaction, _) = self.undecided(usage)?;
        let path = self.servers.path(transaction).ok_or(CommandError::Gone)?;
        let response = self.dialog_response(transaction, usage, &reply)?;
        self.out.respond(&path, response);
        self.part_silently(now, usage, reply.status)
    }

    /// Forgets the INVITE that starts a call, without a word.
    ///
    /// # Errors
    /// There is none to decide on.
    pub fn ignore(&mut self, now: Instant, usage: UsageId) -> Result<(), CommandError> {
        self.out.counters.ignored += 1;
        self.part_silently(now, usage, 0)
    }

    fn part_silently(&mut self, now: Instant, usage: UsageId, status: u16) -> Result<(), CommandError> {
        let (transaction, initial) = self.undecided(usage)?;
        if !initial {
            return Err(CommandError::WrongState("the call is up"));
        }
        self.servers.forget(transaction);
        self.forget_their_offer(usage);
        self.callee_event(now, usage, callee_fsm::Event::Reject, Some(status));
        Ok(())
    }

    /// Answers a request that waits for [`Endpoint::respond`], once: it is not kept for
    /// those who missed it and ask again.
    ///
    /// # Errors
    /// As for `respond`.
    pub fn respond_once(
        &mut self,
        now: Instant,
        transaction: ServerTransactionId,
        reply: Reply,
    ) -> Result<(), CommandError> {
        self.respond(now, transaction, reply)?;
        self.servers.forget(transaction);
        Ok(())
    }

    /// Forgets a request that waits for [`Endpoint::respond`], without a word.
    pub fn ignore_request(&mut self, transaction: ServerTransactionId) {
        if self.servers.request(transaction).is_some() {
            self.out.counters.ignored += 1;
            self.servers.forget(transaction);
        }
    }

    /// Sends two line ends to keep the way to a peer behind a NAT open. `false`: the
    /// connection is gone.
    pub fn keep_alive(&mut self, flow: Flow) -> bool {
        let usable = self.out.is_usable(&flow);
        if usable {
            self.out.transmit(flow, Bytes::from_static(KEEP_ALIVE));
        }
        usable
    }
}
