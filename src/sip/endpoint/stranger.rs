//! Responses to unknown sources: sent once or not at all, without keeping state (RFC 3261
//! §26.3.2.4). A forged source address must not make us retransmit to an uninvolved host.

use std::time::Instant;

use bytes::Bytes;

use super::command::{CommandError, check_headers};
use super::{Endpoint, Flow, ServerTransactionId, UsageId};
use crate::dialog::callee_fsm;
use crate::dialog::reply::Reply;

/// CRLFCRLF (RFC 5626 §3.5.1).
const KEEP_ALIVE: &[u8] = b"\r\n\r\n";

impl Endpoint {
    /// Refuses an initial INVITE with 300 to 699, once: the response is not retransmitted,
    /// with or without an ACK. If it is lost, the caller retransmits its INVITE.
    ///
    /// # Errors
    /// There is no INVITE to refuse, or a header field is invalid.
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

    /// Drops an initial INVITE without a response.
    ///
    /// # Errors
    /// There is no undecided INVITE.
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

    /// Answers a request that waits for [`Endpoint::respond`], once: the response is not kept
    /// for retransmissions of the request.
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

    /// Drops a request that waits for [`Endpoint::respond`] without a response.
    pub fn ignore_request(&mut self, transaction: ServerTransactionId) {
        if self.servers.request(transaction).is_some() {
            self.out.counters.ignored += 1;
            self.servers.forget(transaction);
        }
    }

    /// Sends CRLFCRLF to keep the flow to a peer behind a NAT open. `false` if the connection
    /// is closed.
    pub fn keep_alive(&mut self, flow: Flow) -> bool {
        let usable = self.out.is_usable(&flow);
        if usable {
            self.out.transmit(flow, Bytes::from_static(KEEP_ALIVE));
        }
        usable
    }
}
