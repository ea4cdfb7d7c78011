//! Mailboxes: callers leave messages, their owners hear them.
//!
//! - `boxes`: which messages are where, for the rest of the program

mod boxes;

pub use boxes::{Age, Counts, Mailboxes, Message, Place};

/// The application in which owners hear their messages; with a slash and the name of a mailbox
/// behind it, the one in which callers leave them.
pub const VOICEMAIL: &str = "voicemail";
