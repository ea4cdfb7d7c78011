//! The orchestrator's output and memory: its own log lines, the tagged lines of the children, and the events
//! for the record.

use std::time::Instant;

use serde_json::Value;
use tracing::Level;

use super::output::ChildLine;
use super::record::{Event, EventKind};
use super::tag;
use crate::results::console::Console;
use b2b_base::logging::{self, Format};
use b2b_base::util::lines::is_unsafe;
use b2b_config::RoleName;

/// Maximum events kept for the record; a run has a few dozen.
const MAX_EVENTS: usize = 10_000;

/// Writes lines, and collects events for the record.
#[derive(Debug)]
pub struct Journal {
    console: Console,
    format: Format,
    level: Level,
    color: bool,
    started: Instant,
    events: Vec<Event>,
}

impl Journal {
    /// A journal that writes to `console`.
    pub fn new(console: Console, format: Format, level: Level, color: bool, started: Instant) -> Self {
        Journal { console, format, level, color, started, events: Vec::new() }
    }

    /// Logs and records an event. `name`: the role or load that it concerns.
    pub fn event(&mut self, now: Instant, kind: EventKind, name: Option<&str>, text: String) {
        let level = match kind {
            EventKind::Warning => Level::WARN,
            EventKind::Error => Level::ERROR,
            _ => Level::INFO,
        };
        self.say(level, &text);
        if self.events.len() < MAX_EVENTS {
            let at_s = now.saturating_duration_since(self.started).as_secs_f64();
            self.events.push(Event { at_s, role: name.map(str::to_string), kind, text });
        }
    }

    /// Logs a line of the orchestrator.
    pub fn say(&self, level: Level, text: &str) {
        if level <= self.level {
            let role = RoleName::Orchestrator;
            let line = logging::plain_line(self.format, level, role.as_str(), text);
            self.console.line(self.tagged(role, line));
        }
    }

    /// Logs a line of a child. `name`: for a child that its role does not identify.
    pub fn child(&self, role: RoleName, name: Option<&str>, pid: u32, line: ChildLine) {
        match (self.format, name) {
            (Format::Text, _) if line.metrics => {}
            (Format::Text, None) => self.console.line(self.tagged(role, line.text)),
            (Format::Text, Some(name)) => {
                self.console.line(self.tagged(role, format!("{name}: {}", line.text)));
            }
            (Format::Json, _) => self.console.line(with_its_sender(role, name, pid, &line.text)),
        }
    }

    /// Takes the events so far.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn tagged(&self, role: RoleName, line: String) -> String {
        match self.format {
            Format::Text => format!("{} {line}", tag::tag(role, self.color)),
            Format::Json => line,
        }
    }
}

/// A child's line as JSON: its own object with `role`, `pid` and possibly `name` added, or an object around a
/// line that is not JSON.
fn with_its_sender(role: RoleName, name: Option<&str>, pid: u32, text: &str) -> String {
    let mut object = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => object,
        _ => {
            let ts = logging::timestamp(std::time::SystemTime::now());
            let fields = [("ts", ts), ("level", "info".to_string()), ("msg", text.to_string())];
            fields.into_iter().map(|(key, value)| (key.to_string(), Value::String(value))).collect()
        }
    };
    object.insert("role".into(), role.as_str().into());
    object.insert("pid".into(), pid.into());
    if let Some(name) = name {
        object.insert("name".into(), name.into());
    }
    harmless_json(&Value::Object(object).to_string())
}

/// Escapes the remaining unsafe characters: JSON escapes C0 only. The others can occur only inside strings,
/// where the escape means the same.
fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_keep_their_fields_and_get_role_and_pid() {
        let line = with_its_sender(RoleName::Load, Some("crowd"), 42, r#"{"ts":"t","msg":"hello","n":1}"#);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["msg"], &value["n"]), (&"hello".into(), &1.into()));
        assert_eq!((&value["role"], &value["pid"]), (&"load".into(), &42.into()));
        assert_eq!(value["name"], "crowd");
    }

    #[test]
    fn a_line_that_is_no_json_becomes_a_message() {
        let value: Value =
            serde_json::from_str(&with_its_sender(RoleName::Mixer, None, 1, "READY \"x\"")).unwrap();
        assert_eq!((&value["msg"], &value["role"]), (&"READY \"x\"".into(), &"mixer".into()));
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped_in_json_too() {
        let line = with_its_sender(RoleName::Sink, None, 1, "{\"msg\":\"\\u009b31m\u{202e}\"}");
        assert!(!line.contains(is_unsafe), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["msg"], "\u{9b}31m\u{202e}");
    }
}
