//! Mailboxes: callers leave messages, and owners listen to them.
//!
//! - `boxes`: the messages of each mailbox, in memory
//! - `machine`: leaving and hearing messages as state machines, without I/O
//! - `words`: the prompts of a mailbox
//! - `leave`, `hear`: the two applications; `visit`: what they share
//!
//! A message is a WAV file, `<folder>/<mailbox>/new/<time>-call-<number>.wav`, or below `old` once it was
//! heard. While it is being recorded it is below `tmp`, so files below `new` are complete. File operations
//! are provided by others ([`MessageFiles`]): nothing here waits for a disk.

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
pub use b2b_call::controller::Coding;
use b2b_call::handler::ApplicationHandler;

/// The application in which owners hear their messages; followed by a slash and the name of a mailbox, the
/// application in which callers leave messages.
pub const VOICEMAIL: &str = "voicemail";

/// The subfolder of a mailbox for messages that are being recorded.
pub const COMING: &str = "tmp";

/// A pending file operation; the error is text.
pub type FileWork = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// File operations on messages.
pub trait MessageFiles: Send + Sync {
    /// Renames a file to a name that does not exist; creates the target folder if necessary.
    fn rename(&self, from: &Path, to: &Path) -> FileWork;

    /// Removes a file.
    fn remove(&self, path: &Path) -> FileWork;
}

/// The configuration of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxConfig {
    /// The name; `voicemail/<name>` is the application in which callers leave messages.
    pub name: String,
    /// The PIN of the owner.
    pub pin: SecretText,
    /// The owning users: they are not asked for the mailbox.
    pub users: Vec<String>,
    /// The greeting for callers; `None` for the default one.
    pub greeting: Option<PathBuf>,
    /// Maximum duration of a message.
    pub longest: Duration,
    /// Maximum number of messages, new and old.
    pub most: usize,
}

impl MailboxConfig {
    /// A mailbox for 100 messages of three minutes, owned by the user of the same name.
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

/// The configuration of all mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoicemailConfig {
    /// The folder of messages, with a subfolder per mailbox.
    pub folder: PathBuf,
    /// Silence of this length ends a message; `None` for never.
    pub silence: Option<Duration>,
    /// How messages are coded.
    pub coding: Coding,
    /// The prompts.
    pub words: Words,
    pub mailboxes: Vec<MailboxConfig>,
}

impl Default for VoicemailConfig {
    /// No mailboxes, in the folder `voicemail`.
    fn default() -> Self {
        VoicemailConfig::new("voicemail")
    }
}

impl VoicemailConfig {
    /// No mailboxes, in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let (folder, silence, coding) = (folder.into(), Some(Duration::from_secs(10)), Coding::Pcm);
        VoicemailConfig { folder, silence, coding, words: Words::default(), mailboxes: Vec::new() }
    }

    /// The folder of a mailbox for messages of this age.
    pub fn folder_of(&self, mailbox: &str, age: Age) -> PathBuf {
        self.folder.join(mailbox).join(age.folder())
    }
}

/// The state that the applications share.
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
    /// The file name of a message left now: names sort by time.
    fn name_of(&self, now: Instant, call: CallId) -> String {
        let wall = self.clock.time_of(now);
        let time = humantime::format_rfc3339_seconds(wall).to_string().replace(['-', ':'], "");
        format!("{time}-call-{}.{}", call.0, self.config.coding.ending())
    }

    fn path(&self, mailbox: &str, age: Age, file: &str) -> PathBuf {
        self.config.folder_of(mailbox, age).join(file)
    }

    /// The path of a message while it is being recorded.
    fn coming(&self, mailbox: &str, file: &str) -> PathBuf {
        self.config.folder.join(mailbox).join(COMING).join(file)
    }

    /// The mailbox of a user; some phones authenticate as `1001@example.com`.
    fn owner(&self, user: &str) -> Option<String> {
        let of = |user: &str| {
            let mut all = self.config.mailboxes.iter();
            all.find(|mailbox| mailbox.users.iter().any(|name| name == user)).map(|it| it.name.clone())
        };
        of(user).or_else(|| of(user.rsplit_once('@')?.0))
    }
}

/// The applications of these mailboxes: one to hear messages, and one per mailbox to leave them. `clock`
/// provides the times in file names.
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
