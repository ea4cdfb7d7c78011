//! `[[remote]]`.

use std::time::Duration;

use super::name;
use crate::config::check::Names;
use crate::config::docs::{SectionDoc, key};
use crate::config::error::ConfigError;
use crate::config::reader::Section;

pub const REMOTE: SectionDoc = SectionDoc {
    name: "remote",
    written: "[[remote]]",
    about: "A remote application: the application `remote/` and its name, for programs that connect to the WebSocket `/remote/` and its name. See [control.md](control.md).",
    keys: &[
        key("name", "text", "", "Its name."),
        key(
            "fallback",
            "application or target",
            "",
            "Who gets a call that no program takes or that is taken back: `queue/sales`, `user/1001`. Without it the call ends.",
        ),
        key("answer_s", "1 to 600", "5", "How long a program may take to say its first word about a call."),
        key("stall_s", "1 to 3600", "30", "How long a program may give no sign of life."),
        key("hold_s", "1 to 86400", "3600", "How long a program may have a call."),
        key(
            "mistakes",
            "1 to 1000",
            "10",
            "So many things one after the other that are no command, and a program is disconnected.",
        ),
        key("calls", "1 to 100000", "1000", "Calls that one program has at once."),
    ],
};

/// A remote application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    /// `remote/<name>` is the application's name.
    pub name: String,
    /// Who gets a call that is taken back; none: it ends.
    pub fallback: Option<String>,
    /// To a program's first word about a call.
    pub answer: Duration,
    /// Between two signs of life of a program.
    pub stall: Duration,
    /// For all of a call.
    pub hold: Duration,
    /// Mistakes one after the other that end a connection.
    pub mistakes: u32,
    /// Calls of one program at once.
    pub calls: usize,
}

pub(super) fn remote(section: &Section<'_>, names: &Names) -> Result<RemoteConfig, ConfigError> {
    let name = name(section)?;
    let seconds = |key, most, usual| {
        section.seconds(key, 1..=most).map(|found| found.unwrap_or(Duration::from_secs(usual)))
    };
    let config = RemoteConfig {
        fallback: fallback(section, &name, names)?,
        answer: seconds("answer_s", 600, 5)?,
        stall: seconds("stall_s", 3_600, 30)?,
        hold: seconds("hold_s", 86_400, 3_600)?,
        mistakes: section.whole("mistakes", 1..=1_000)?.unwrap_or(10) as u32,
        calls: section.whole("calls", 1..=100_000)?.unwrap_or(1_000) as usize,
        name,
    };
    section.finish();
    Ok(config)
}

/// An application that there is, or a target.
fn fallback(section: &Section<'_>, name: &str, names: &Names) -> Result<Option<String>, ConfigError> {
    let Some(text) = section.text("fallback")? else { return Ok(None) };
    if text.text.strip_prefix("remote/") == Some(name) {
        return Err(section.bad("fallback", text.at, &text.text, "it is this one; name another"));
    }
    let of_kind = |kind: &str| text.text.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/'));
    let is_app = super::KINDS.iter().any(|(_, kind)| of_kind(kind));
    match names.no_such_app(section.full("fallback"), &text.text) {
        Some(problem) if is_app => Err(section.lines.error(text.at, problem)),
        Some(_) | None => Ok(Some(text.text)),
    }
}
