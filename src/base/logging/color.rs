//! Colours of log lines: when to use them, and which.

use std::io::IsTerminal as _;

use tracing::Level;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set and not empty.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether to use colours, depending on whether the output is a terminal. `no_color` is
    /// the environment's `NO_COLOR`.
    pub fn enabled(self, terminal: bool, no_color: Option<&std::ffi::OsStr>) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && no_color.is_none_or(|value| value.is_empty()),
        }
    }

    /// Whether to use colours on standard error.
    pub fn on_stderr(self) -> bool {
        self.enabled(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
    }
}

/// `text` in the colour of a role.
pub fn of_role(role: &str, text: &str) -> String {
    let code = match role {
        "orchestrator" => 33,
        "source" => 32,
        "mixer" => 35,
        "sink" => 34,
        "b2bua" => 36,
        "phone" => 37,
        "media" => 90,
        "load" => 96,
        _ => 39,
    };
    painted(code, text)
}

/// `text` in the colour of a level; unchanged below WARN.
pub(super) fn of_level(level: Level, text: String) -> String {
    match level {
        Level::ERROR => painted(31, &text),
        Level::WARN => painted(33, &text),
        _ => text,
    }
}

/// `text` in the foreground colour with this number (ECMA-48, SGR).
fn painted(code: u8, text: &str) -> String {
    format!("\u{1b}[{code}m{text}\u{1b}[39m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_choice_terminal_and_no_color() {
        let set = Some(std::ffi::OsStr::new("1"));
        assert!(Color::Auto.enabled(true, None));
        assert!(!Color::Auto.enabled(true, set));
        assert!(!Color::Auto.enabled(false, None));
        assert!(Color::Always.enabled(false, set));
        assert!(!Color::Never.enabled(true, None));
    }
}
