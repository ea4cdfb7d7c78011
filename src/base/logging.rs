//! Log lines: one event is one line on standard error, `<ts> <level> <role> <msg>` or a JSON
//! object. In text, level and role are coloured if wanted.

mod color;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload;

pub use color::{Color, of_role};

use crate::util::lines::is_unsafe;
use crate::util::panics;
use crate::util::redact::Redaction;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `<ts> <level> <role> <msg>`
    #[default]
    Text,
    /// One JSON object per line: `ts`, `level`, `role`, `msg`, and the event's fields.
    Json,
}

/// Receives finished lines, without their line feed.
pub type Emit = Box<dyn Fn(String) + Send + Sync>;

/// RFC 3339 in UTC, with milliseconds.
pub fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

static REDACTION: OnceLock<Redaction> = OnceLock::new();

/// Sets how numbers in log lines are masked; only the first call has an effect.
pub fn redact(redaction: Redaction) {
    let _ = REDACTION.set(redaction);
}

fn redaction() -> Redaction {
    REDACTION.get().copied().unwrap_or_default()
}

/// The appearance of this process's lines.
#[derive(Debug, Clone, Copy)]
struct Look {
    role: &'static str,
    format: Format,
    color: bool,
}

static LOOK: OnceLock<Look> = OnceLock::new();

type SetLevel = Box<dyn Fn(Level) + Send + Sync>;

static LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Sets the minimum level of lines that are written.
pub fn set_level(level: Level) {
    if let Some(set) = LEVEL.get() {
        set(level);
    }
}

/// Sets role and format for lines written before logging starts.
pub fn identify(role: &'static str, format: Format, color: bool) {
    // only the first call has an effect
    let _ = LOOK.set(Look { role, format, color });
}

/// Starts logging for this process; later calls have no effect.
pub fn init(role: &'static str, level: Level, format: Format, color: bool) {
    init_with(role, level, format, color, Box::new(to_stderr));
}

/// Like [`init`], with another destination for lines.
pub fn init_with(role: &'static str, level: Level, format: Format, color: bool, emit: Emit) {
    identify(role, format, color);
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(level));
    let lines = Lines { look: Look { role, format, color }, emit }.with_filter(filter);
    // Fails only if one is set already, which is then in use.
    let _ = LEVEL.set(Box::new(move |level| {
        // The subscriber lives as long as the process.
        let _ = handle.modify(|filter| *filter = LevelFilter::from_level(level));
    }));
    let subscriber = tracing_subscriber::registry().with(lines);
    // fails only if a subscriber is set already, which is then in use
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Writes one error line without `tracing`, for use in a panic: it takes none of our locks.
pub fn emergency(message: &str) {
    let unknown = Look { role: "b2b", format: Format::Text, color: false };
    let look = LOOK.get().copied().unwrap_or(unknown);
    let message = redaction().of_line(message).into_owned();
    to_stderr(line(look, SystemTime::now(), Level::ERROR, message, Map::new()));
}

/// Makes a panic in any thread write a line and count, and nothing more: the owner of the
/// thread handles the consequences. For servers, whose calls are independent of each other.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        panics::count(thread.name());
        let name = thread.name().unwrap_or("?");
        emergency(&format!("panic in the thread {name}, which is a bug of b2b: {panic}"));
    }));
}

/// Makes a panic in any thread end the process with this exit code, after a line with its
/// location. For runs with a single result, such as measurements: a partial result would be
/// reported as complete.
pub fn exit_on_panic(code: i32) {
    std::panic::set_hook(Box::new(move |panic| {
        emergency(&format!("panic, which is a bug of b2b: {panic}"));
        std::process::exit(code);
    }));
}

fn to_stderr(mut line: String) {
    line.push('\n');
    // a closed pipe is no reason to stop
    let _ = io::stderr().write_all(line.as_bytes());
}

struct Lines {
    look: Look,
    emit: Emit,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let fields = fields.redacted(redaction());
        (self.emit)(line(self.look, SystemTime::now(), level, fields.message, fields.rest));
    }
}

/// A complete line, without its line feed.
fn line(look: Look, time: SystemTime, level: Level, message: String, fields: Map<String, Value>) -> String {
    let Look { role, format, color } = look;
    match format {
        Format::Text => {
            let (level, role) = match color {
                true => (color::of_level(level, format!("{level:<5}")), of_role(role, role)),
                false => (format!("{level:<5}"), role.to_owned()),
            };
            let mut text = format!("{} {level} {role} {}", timestamp(time), one_line(&message));
            for (key, value) in fields {
                let _ = match value {
                    Value::String(value) => write!(text, " {key}={}", one_line(&value)),
                    value => write!(text, " {key}={value}"),
                };
            }
            text
        }
        Format::Json => {
            let mut object = Map::new();
            object.insert("ts".into(), timestamp(time).into());
            object.insert("level".into(), level.as_str().to_ascii_lowercase().into());
            object.insert("role".into(), role.into());
            object.insert("msg".into(), message.into());
            for (key, value) in fields {
                object.entry(key).or_insert(value);
            }
            Value::Object(object).to_string()
        }
    }
}

/// A line without fields and colour.
pub fn plain_line(format: Format, level: Level, role: &'static str, message: &str) -> String {
    let look = Look { role, format, color: false };
    line(look, SystemTime::now(), level, message.to_string(), Map::new())
}

/// Log text may quote input from the network, so it is kept to one line without anything that a
/// terminal interprets.
fn one_line(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    text.chars()
        .fold(String::with_capacity(text.len() + 8), |mut out, c| {
            if is_unsafe(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
            out
        })
        .into()
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", value) => self.message = value.to_string(),
            (name, value) => {
                self.rest.insert(name.to_string(), value);
            }
        }
    }
}

impl Fields {
    /// Masks numbers in the message and in text fields.
    fn redacted(mut self, redaction: Redaction) -> Self {
        if redaction == Redaction::Off {
            return self;
        }
        self.message = redaction.of_line(&self.message).into_owned();
        for value in self.rest.values_mut() {
            if let Value::String(text) = value {
                *text = redaction.of_line(text).into_owned();
            }
        }
        self
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn logged(format: Format, log: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let emit: Emit = Box::new(move |line| kept.lock().unwrap().push(line));
        let look = Look { role: "sink", format, color: false };
        let layer = Lines { look, emit }.with_filter(LevelFilter::INFO);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        lines.lock().unwrap().clone()
    }

    #[test]
    fn text_lines_carry_time_level_role_message_and_fields() {
        let lines =
            logged(Format::Text, || tracing::warn!(port = 5060u64, peer = "a\u{1b}b", "no answer\nyet"));
        let (ts, rest) = lines[0].split_once(' ').unwrap();
        assert_eq!((ts.len(), ts.ends_with('Z')), (24, true));
        assert_eq!(rest, "WARN  sink no answer\\nyet peer=a\\u{1b}b port=5060");
    }

    #[test]
    fn colour_is_of_level_and_role_and_only_of_text() {
        let shown = |format, level| {
            let look = Look { role: "sink", format, color: true };
            line(look, UNIX_EPOCH, level, "so".into(), Map::new())
        };
        let role = "\u{1b}[34msink\u{1b}[39m";
        assert!(
            shown(Format::Text, Level::ERROR).ends_with(&format!(" \u{1b}[31mERROR\u{1b}[39m {role} so"))
        );
        assert!(shown(Format::Text, Level::INFO).ends_with(&format!("Z INFO  {role} so")));
        assert!(!shown(Format::Json, Level::ERROR).contains('\u{1b}'));
    }

    #[test]
    fn json_lines_parse_and_keep_types() {
        let lines = logged(Format::Json, || tracing::info!(port = 5060u64, up = true, "hello \"you\""));
        let value: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(value["msg"], "hello \"you\"");
        assert_eq!((&value["level"], &value["role"]), (&"info".into(), &"sink".into()));
        assert_eq!((&value["port"], &value["up"]), (&5060.into(), &true.into()));
    }

    #[test]
    fn numbers_are_taken_out_of_messages_and_fields() {
        let mut fields = Fields { message: "no +442083661177".into(), ..Fields::default() };
        fields.rest.insert("to".into(), "sip:07700900123@h".into());
        let shown = fields.redacted(Redaction::Numbers);
        assert_eq!((shown.message.as_str(), &shown.rest["to"]), ("no +442…77", &"sip:077…23@h".into()));
    }

    #[test]
    fn levels_below_the_filter_are_left_out() {
        assert!(logged(Format::Text, || tracing::debug!("no")).is_empty());
    }

    #[test]
    fn timestamps_are_utc_with_milliseconds() {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(1_500)), "1970-01-01T00:00:01.500Z");
    }
}
