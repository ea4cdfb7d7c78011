//! The phone: the client library on a terminal, or in the hands of a script.
//!
//! - `dialling`: what somebody types, as a URI
//! - `script`: a phone without hands, a test tool; `report`: what it says
//! - `loudness`: how loud its calls are
//! - `stepwise`: one that goes by steps
//! - `screen`: a phone on a terminal
//! - `flags`, `value`: its flags
//! - `run`: the client of an account, and the one or the other with it

mod dialling;
pub mod flags;
mod loudness;
mod report;
mod run;
mod screen;
mod script;
mod stepwise;
pub mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use b2b_base::util::secret::Secret;
use b2b_client::{Codec, SrtpPolicy};
use dialling::host_of;

pub use run::run;

/// What a phone is told.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    pub account: Account,
    pub task: Task,
    /// What a scripted phone does in each of its calls.
    pub script: Script,
}

/// Who it is, and how it reaches others.
#[derive(Debug, Clone)]
pub struct Account {
    /// `sip:1001@127.0.0.1:5060`.
    pub identity: String,
    pub display_name: Option<String>,
    pub password: Option<Secret>,
    /// Instead of the identity's host.
    pub registrar: Option<String>,
    /// To register, if there is a password or a registrar.
    pub register: bool,
    pub proxy: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub bind: Option<SocketAddr>,
    pub codecs: Vec<Codec>,
    pub srtp: SrtpPolicy,
    pub sip_trace: Option<PathBuf>,
}

impl Account {
    /// Where to register: said, or where the identity is if there is a password for it.
    fn registers_at(&self) -> Option<String> {
        let own = || self.password.is_some().then(|| host_of(&self.identity));
        self.registrar.clone().or_else(own).filter(|_| self.register)
    }
}

/// What it is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Somebody sits in front of it.
    Screen,
    /// Nobody does.
    Scripted(Calls),
    /// Nobody does, and it does this.
    Steps(Vec<b2b_config::step::Step>),
}

/// Whose calls a phone without hands has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calls {
    /// One of its own.
    Place { target: String },
    /// So many that come.
    Answer { calls: u32 },
}

/// What is done in a call without anybody's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// For an answer, or for the next call.
    pub wait: Duration,
    pub play: Option<PathBuf>,
    pub record: Option<PathBuf>,
    pub dtmf: Option<String>,
    pub hangup_after: Option<Duration>,
    pub json: bool,
}
