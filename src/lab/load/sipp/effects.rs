//! What happens to a call of a scenario, and what it wants done.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::scenario::Media;
use crate::load::party::Outcome;
use b2b_sip::msg::Message;

/// An event of a call.
#[derive(Debug, Clone)]
pub enum CallEvent {
    /// The call is due, or the message that begins it follows.
    Begin,
    /// A message with its Call-ID.
    Received(Box<Message>),
    /// A message with its Call-ID that cannot be read, and why.
    Unreadable(String),
    /// Its alarm is due.
    Due,
}

/// An effect of a call.
#[derive(Debug, Clone)]
pub enum CallEffect {
    /// Send this to the far end.
    Send(Bytes),
    /// Wake it at this time; replaces an earlier alarm.
    WakeAt(Instant),
    /// An RTP action, with the address of the last session description.
    Media(Media, Option<SocketAddr>),
    /// A log line.
    Log(String),
    /// No further calls are to begin.
    StopRun,
    /// An event for the figures.
    Happened(Happening),
    /// All steps are done, or one failed. It may still have to answer retransmissions.
    Over(Outcome),
    /// The call can be removed.
    Gone,
}

/// An event that the figures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Its INVITE, or first request, is sent.
    Dialled,
    /// The first 18x is received.
    Rang,
    /// Its INVITE, or first request, is answered by 2xx.
    Answered,
    /// Its BYE is sent.
    HungUp,
    /// Its BYE is answered.
    Ended,
}
