//! `[[remote]]`.

use std::time::Duration;

use super::{MayTransfer, name};
use crate::ConfigError;
use crate::names::{Names, What};
use crate::pattern::Pattern;
use crate::texts::NAME;
use b2b_config::section::Section;
use b2b_config::table::Takes::{Text, Whole};
use b2b_config::table::{Table, any};
use b2b_config::{rows, texts};

pub const REMOTE: Table = Table {
    name: "remote",
    written: "[[remote]]",
    about: "A remote application: the application `remote/` and its name, for programs that connect to the WebSocket `/remote/` and its name. See [control.md](control.md).",
    keys: rows! {
        name: NAME, "Its name.";
        fallback: Text("application or target", any),
            "The destination of a call that no program takes or that is taken back from one: `queue/sales`, `user/1001`. Without it the call ends.";
        answer_s: Whole(1, 600) => 5, "How long a program may take for its first message about a call.";
        stall_s: Whole(1, 3_600) => 30, "How long a program may send nothing, neither a message nor a ping.";
        hold_s: Whole(1, 86_400) => 3600, "How long a program may keep a call.";
        mistakes: Whole(1, 1_000) => 10,
            "The number of consecutive invalid commands after which a program is disconnected.";
        calls: Whole(1, 100_000) => 1000, "Concurrent calls of one program.";
        may_transfer: texts!("list of patterns", Pattern::new),
            "Where a program whose token lacks the scope `calls` may send its caller besides users, groups and applications: patterns on whole targets, as in `[[voice_agent]]`.";
    },
};

/// A remote application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    /// Name of the application, without `remote/`.
    pub name: String,
    /// The application or target that gets a call that is taken back; `None`: the call ends.
    pub fallback: Option<String>,
    /// Maximum time until a program's first word about a call.
    pub answer: Duration,
    /// Maximum time between two signs of life of a program.
    pub stall: Duration,
    /// Maximum time of a program's part in a call.
    pub hold: Duration,
    /// Number of mistakes in a row that ends a connection.
    pub mistakes: u32,
    /// Maximum simultaneous calls of one program.
    pub calls: usize,
}

pub(super) fn remote(
    section: &Section<'_>,
    names: &Names,
    may_transfer: &mut MayTransfer,
) -> Result<RemoteConfig, ConfigError> {
    let name = name(section)?;
    may_transfer.read(section, "remote", &name)?;
    let config = RemoteConfig {
        fallback: fallback(section, &name, names)?,
        answer: section.seconds("answer_s")?,
        stall: section.seconds("stall_s")?,
        hold: section.seconds("hold_s")?,
        mistakes: section.whole("mistakes")?,
        calls: section.whole("calls")?,
        name,
    };
    section.finish();
    Ok(config)
}

/// An existing application, or a target.
fn fallback(section: &Section<'_>, name: &str, names: &Names) -> Result<Option<String>, ConfigError> {
    let Some(text) = section.text("fallback")? else { return Ok(None) };
    if text.text.strip_prefix("remote/") == Some(name) {
        return Err(section.bad(
            "fallback",
            text.at,
            &text.text,
            "it is the application itself; choose another one",
        ));
    }
    let of_kind = |kind: &str| text.text.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/'));
    let is_app = super::KINDS.iter().any(|(_, kind)| of_kind(kind));
    let missing = names.no_such(What::App, section.full("fallback"), &text.text).filter(|_| is_app);
    section.refer(text.at, missing);
    Ok(Some(text.text))
}
