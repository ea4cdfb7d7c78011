//! Mailboxes: callers leave messages, their owners hear them.
//!
//! - `boxes`: which messages are where, for the rest of the program
//! - `machine`: the two ways through a mailbox, without I/O
//! - `words`: what a mailbox says
//! - `leave`, `hear`: their callers, as applications; `visit`: what both have
//!
//! A message is a WAV file, `<folder>/<mailbox>/new/<time>-call-<number>.wav`, or below `old` once it
//! was heard. While it is spoken it is below `tmp`: what is below `new` is complete. Who moves
//! files is another one's business ([`MessageFiles`]): nothing here waits for a disk.

#[cfg(test)]
mod attend_tests;
mod boxes;
mod hear;
mod leave;
mod machine;
mod visit;
mod words;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use boxes::{Age, Counts, Mailboxes, Message, Place};
pub use machine::{Pins, SHORTEST};
pub use words::{Word, Words};

use b2b_base::util::secret::SecretText;
use b2b_base::util::wall::WallClock;
use b2b_call::CallId;
use b2b_call::handler::ApplicationHandler;

/// The application in which owners hear their messages; with a slash and the name of a mailbox
/// behind it, the one in which callers leave them.
pub const VOICEMAIL: &str = "voicemail";

/// The folder below a mailbox's in which messages are that are being left.
pub const COMING: &str = "tmp";

/// Work on a file under way; the error is in words.
pub type FileWork = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Moves messages.
pub trait MessageFiles: Send + Sync {
    /// Gives a file another name, which nobody has, in a folder that may have to be made.
    fn rename(&self, from: &Path, to: &Path) -> FileWork;

    /// Removes a file.
    fn remove(&self, path: &Path) -> FileWork;
}

/// What a mailbox is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxConfig {
    /// `voicemail/<name>` is the application in which callers leave messages.
    pub name: String,
    /// What lets its owner in.
    pub pin: SecretText,
    /// Users whose own it is: they are not asked for its name.
    pub users: Vec<String>,
    /// What callers hear first; none: the usual words.
    pub greeting: Option<PathBuf>,
    /// A message is no longer.
    pub longest: Duration,
    /// No more messages, new and old together.
    pub most: usize,
}

impl MailboxConfig {
    /// For 100 messages of three minutes, of the user of its name.
    pub fn new(name: impl Into<String>, pin: SecretText) -> Self {
        let name = name.into();
        MailboxConfig {
            users: vec![name.clone()],
            name,
            pin,
            greeting: None,
            longest: Duration::from_secs(180),
            most: 100,
        }
    }
}

/// What all mailboxes are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoicemailConfig {
    /// Where messages are: a folder for each mailbox.
    pub folder: PathBuf,
    /// Who is silent for so long has said all; none: nobody has.
    pub silence: Option<Duration>,
    /// What is said.
    pub words: Words,
    pub mailboxes: Vec<MailboxConfig>,
}

impl Default for VoicemailConfig {
    /// None, in the folder `voicemail`.
    fn default() -> Self {
        VoicemailConfig::new("voicemail")
    }
}

impl VoicemailConfig {
    /// None yet, in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let silence = Some(Duration::from_secs(10));
        VoicemailConfig { folder: folder.into(), silence, words: Words::default(), mailboxes: Vec::new() }
    }

    /// The folder of the messages of this age in a mailbox.
    pub fn folder_of(&self, mailbox: &str, age: Age) -> PathBuf {
        self.folder.join(mailbox).join(age.folder())
    }
}

/// What the applications share.
struct House {
    config: VoicemailConfig,
    pins: Pins,
    mailboxes: Mailboxes,
    files: Arc<dyn MessageFiles>,
    clock: WallClock,
}

impl std::ops::Deref for House {
    type Target = VoicemailConfig;

    fn deref(&self) -> &VoicemailConfig {
        &self.config
    }
}

impl House {
    /// The name of a message that is left now: names sort by time.
    fn name_of(&self, now: Instant, call: CallId) -> String {
        let wall = self.clock.time_of(now);
        let time = humantime::format_rfc3339_seconds(wall).to_string().replace(['-', ':'], "");
        format!("{time}-call-{}.wav", call.0)
    }

    fn path(&self, mailbox: &str, age: Age, file: &str) -> PathBuf {
        self.config.folder_of(mailbox, age).join(file)
    }

    /// Where a message is while it is left.
    fn coming(&self, mailbox: &str, file: &str) -> PathBuf {
        self.config.folder.join(mailbox).join(COMING).join(file)
    }

    /// The mailbox of a user; some phones say `1001@example.com`.
    fn owner(&self, user: &str) -> Option<String> {
        let of = |user: &str| {
            let mut all = self.config.mailboxes.iter();
            all.find(|mailbox| mailbox.users.iter().any(|name| name == user)).map(|it| it.name.clone())
        };
        of(user).or_else(|| of(user.rsplit_once('@')?.0))
    }
}

/// The applications of these mailboxes: one to hear messages, one for each mailbox to leave
/// them. `clock` names messages by their time.
pub fn applications(
    config: VoicemailConfig,
    mailboxes: &Mailboxes,
    files: Arc<dyn MessageFiles>,
    clock: WallClock,
) -> Vec<Arc<dyn ApplicationHandler>> {
    let pins = config.mailboxes.iter().map(|mailbox| (mailbox.name.clone(), mailbox.pin.clone()));
    let pins = Arc::new(pins.collect());
    let house = Arc::new(House { pins, mailboxes: mailboxes.clone(), files, clock, config });
    let mut all: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(hear::Hear(house.clone()))];
    for mailbox in &house.config.mailboxes {
        all.push(Arc::new(leave::Leave::new(house.clone(), mailbox.clone())));
    }
    all
}
