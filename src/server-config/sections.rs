//! Every table of the configuration: the reader refuses all others and takes ranges and defaults from them;
//! `docs/server.md` and the schema are written from it.

use b2b_config::table::Table;

use super::apps::{self, ivr};
use super::emergency::EMERGENCY;
use super::hep::HEP;
use super::kept::ended_calls::ENDED_CALLS;
use super::kept::survive::SURVIVE;
use super::keys::{HTTP, LIMITS, LOG, MEDIA, REGISTRAR, SERVER};
use super::listener::LISTENER;
use super::ner;
use super::party_keys::{GATEWAY, GROUP, HEADER, HOST, ROUTE, RULE, USER};
use super::recording::RECORDING;
use super::srtp;
use super::tls::{CERTIFICATE, TLS};
use super::tokens::TOKENS;

/// Every table, in the order of the documentation.
pub const SECTIONS: [&Table; 37] = [
    &SERVER,
    &LISTENER,
    &TLS,
    &CERTIFICATE,
    &MEDIA,
    &HTTP,
    &TOKENS,
    &REGISTRAR,
    &LIMITS,
    &EMERGENCY,
    &RECORDING,
    &ENDED_CALLS,
    &SURVIVE,
    &HEP,
    &LOG,
    &USER,
    &GATEWAY,
    &HOST,
    &RULE,
    &GROUP,
    &ROUTE,
    &HEADER,
    &srtp::SRTP,
    &ner::NER,
    &apps::PROMPTS,
    &ivr::IVR,
    &ivr::NODE,
    &apps::music::MUSIC,
    &apps::queue::QUEUES,
    &apps::queue::AGENT,
    &apps::queue::QUEUE,
    &apps::conference::CONFERENCE,
    &apps::park::PARK,
    &apps::remote::REMOTE,
    &apps::voicemail::VOICEMAIL,
    &apps::voicemail::MAILBOX,
    &apps::voice_agent::VOICE_AGENT,
];
