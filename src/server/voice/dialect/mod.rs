//! The protocols that clients speak. Each translates what a stream says into messages, and messages into what a
//! client wants; what it may want is in `session`.
//!
//! - `own`: ours; `twilio`, `chan_websocket`, `audio_socket`: those of others, each with the source of its facts

mod audio_socket;
mod chan_websocket;
mod own;
mod sid;
mod twilio;

use std::borrow::Cow;
use std::collections::BTreeMap;

use tokio_tungstenite::tungstenite::Message;

use super::message::{Start, Told};
use super::session::{Allowance, Mistake};
use b2b_app::voice_agent::{AgentConfig, Protocol};

use audio_socket::AudioSocket;
use chan_websocket::ChanWebsocket;
pub use own::{Own, Reading};
pub use sid::Sids;
use twilio::Twilio;

/// The meaning of a text message.
#[derive(Debug, PartialEq)]
pub enum Meaning<'a> {
    /// Audio, coded as the stream is.
    Audio(Cow<'a, [u8]>),
    /// A request, and what is wrong with it all the same.
    Request(Reading),
    /// A question that the protocol itself answers.
    Answered(Message),
    /// What is queued is to wait, or to go on.
    Pause(bool),
    /// The client hangs up.
    Goodbye,
    /// Nothing to do.
    Nothing,
}

/// A protocol, in the state of one stream.
pub trait Dialect: Send {
    /// How much a client may send.
    fn allowance(&self) -> Allowance;

    /// The messages before any other.
    fn begin(&mut self, start: Start) -> Vec<Message>;

    /// The message with a frame of the party's audio, coded.
    fn audio(&mut self, octets: Vec<u8>) -> Message;

    /// The message for an event; `None`: the protocol has none for it.
    fn told(&mut self, told: &Told) -> Option<Message>;

    /// The meaning of a text message; `queued`: samples not played yet.
    ///
    /// # Errors
    /// If it has none.
    fn text<'a>(&mut self, text: &'a str, queued: usize) -> Result<Meaning<'a>, Mistake> {
        let _ = (text, queued);
        Ok(Meaning::Nothing)
    }

    /// The meaning of a binary message: usually audio.
    ///
    /// # Errors
    /// If it has none.
    fn binary<'a>(&mut self, octets: &'a [u8]) -> Result<Meaning<'a>, Mistake> {
        Ok(Meaning::Audio(Cow::Borrowed(octets)))
    }

    /// The message, if any, about what is queued: samples not played yet. It is asked at least once a frame.
    fn queue(&mut self, queued: usize) -> Option<Message> {
        let _ = queued;
        None
    }
}

/// The protocol of an agent, for one call. `parameters`: those that its webhook has named, in place of the call's
/// variables.
pub fn of(agent: &AgentConfig, sids: Sids, parameters: Option<BTreeMap<String, String>>) -> Box<dyn Dialect> {
    match &agent.protocol {
        Protocol::B2b => Box::new(Own::new(agent.encoding)),
        Protocol::Json => Box::new(Own::json(agent.encoding)),
        Protocol::Twilio(_) => Box::new(Twilio::new(sids, parameters)),
        Protocol::ChanWebsocket(control) => {
            Box::new(ChanWebsocket::new(*control, agent.encoding, agent.rate_hz))
        }
        Protocol::AudioSocket => Box::new(AudioSocket::new(agent.rate_hz)),
    }
}
