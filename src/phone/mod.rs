//! The phone: the client library on a terminal, or driven by a script.
//!
//! - `dialling`: user input as a URI
//! - `script`: a phone without a user, a test tool; `report`: its output
//! - `loudness`: peak levels of its calls
//! - `stepwise`: a phone that follows steps
//! - `screen`: a phone on a terminal
//! - `flags`, `value`: its flags; `command_line`: its configuration from them
//! - `run`: the client of an account, and one of these phones with it

mod command_line;
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

/// The configuration of a phone.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    pub account: Account,
    pub task: Task,
    /// The actions of a scripted phone in each of its calls.
    pub script: Script,
}

/// The account: its identity, and its path to other parties.
#[derive(Debug, Clone)]
pub struct Account {
    /// The identity: `sip:1001@127.0.0.1:5060`.
    pub identity: String,
    pub display_name: Option<String>,
    pub password: Option<Secret>,
    /// The registrar, if it is not the identity's host.
    pub registrar: Option<String>,
    /// Whether to register, if there is a password or a registrar.
    pub register: bool,
    pub proxy: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub bind: Option<SocketAddr>,
    pub codecs: Vec<Codec>,
    pub srtp: SrtpPolicy,
    pub sip_trace: Option<PathBuf>,
}

impl Account {
    /// The registrar: the given one, or the identity's host if there is a password.
    fn registers_at(&self) -> Option<String> {
        let own = || self.password.is_some().then(|| host_of(&self.identity));
        self.registrar.clone().or_else(own).filter(|_| self.register)
    }
}

/// The mode of the phone.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Interactive, on a terminal.
    Screen,
    /// Scripted, with these calls.
    Scripted(Calls),
    /// Scripted, with these steps.
    Steps(Vec<b2b_config::step::Step>),
}

/// The calls of a scripted phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calls {
    /// One outgoing call.
    Place { target: String },
    /// A number of incoming calls.
    Answer { calls: u32 },
}

/// The script of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Maximum wait for an answer, or for the next call.
    pub wait: Duration,
    pub play: Option<PathBuf>,
    pub record: Option<PathBuf>,
    pub dtmf: Option<String>,
    pub hangup_after: Option<Duration>,
    pub json: bool,
    /// File for the result as JUnit XML.
    pub junit: Option<PathBuf>,
}
