//! The output of a scripted phone: one line per event, as text or JSON.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::junit::{self, Case, Wrong};
use b2b_base::util::lines::{visible, visible_json};
use b2b_client::{CallState, ClientEvent, DeviceSide, Quality, RegistrationState, RemoteIdentity, SipClient};

/// Writes lines to standard output, and collects results as test cases.
pub struct Report {
    json: bool,
    begun: Instant,
    /// RFC 3339.
    began: String,
    cases: RefCell<Vec<Case>>,
}

/// The result of a call of a script.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub remote: String,
    pub exit: Exit,
    /// Why it ended, and the remedy.
    pub cause: String,
    /// Time from the start of the call to its answer, ms; `None` if there was none.
    pub setup_ms: Option<f64>,
    /// Time from the answer to the end, ms.
    pub duration_ms: f64,
    /// The quality as measured by the library: codec, loss and so on.
    pub quality: Value,
}

impl Outcome {
    /// A call with this far end, without results yet.
    pub fn new(remote: &str) -> Self {
        let (remote, cause) = (remote.to_owned(), String::new());
        Outcome { remote, exit: Exit::Ok, cause, setup_ms: None, duration_ms: 0.0, quality: Value::Null }
    }
}

impl Report {
    /// Starts the clock.
    pub fn new(json: bool) -> Self {
        let began = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Report { json, begun: Instant::now(), began, cases: RefCell::default() }
    }

    /// Reports where calls reach this phone.
    pub fn ready(&self, client: &SipClient) {
        let sip = client.local().map(|local| local.to_string());
        self.line("ready", json!({ "sip": sip, "uri": client.uri() }));
    }

    /// Reports an event, if it is worth a line.
    pub fn event(&self, event: &ClientEvent) {
        if let Some((name, fields)) = described(event) {
            self.line(name, fields);
        }
    }

    /// Reports the result of a call.
    pub fn summary(&self, outcome: &Outcome) {
        let Outcome { remote, exit, cause, setup_ms, duration_ms, quality } = outcome;
        let fields = json!({
            "remote": remote, "exit": *exit as u8, "answered": setup_ms.is_some(), "cause": cause,
            "setup_ms": setup_ms, "duration_ms": duration_ms, "quality": quality,
        });
        self.line("summary", fields);
    }

    /// Adds a test case: a step, or a call.
    pub fn case(&self, name: String, took: Duration, wrong: Option<(Wrong, String)>) {
        let said = wrong.as_ref().map_or("ok", |(_, why)| why).to_owned();
        self.cases.borrow_mut().push(Case {
            name,
            group: String::new(),
            wrong,
            said,
            took_s: took.as_secs_f64(),
        });
    }

    /// Writes the test cases. What has ended the run before any of them is a test case by itself.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_junit(&self, path: &Path, ended: Option<&str>) -> Result<(), Failure> {
        if let Some(why) = ended {
            self.case("run".to_owned(), self.begun.elapsed(), Some((Wrong::Error, why.to_owned())));
        }
        let took = self.begun.elapsed().as_secs_f64();
        std::fs::write(path, junit::suite("phone", &self.cases.borrow(), &self.began, took)).map_err(
            |error| {
                let message =
                    format!("--junit {}: {error}; choose a file in an existing folder", path.display());
                Failure::new(Exit::Usage, message)
            },
        )
    }

    /// Writes one line: a name and its fields.
    pub fn line(&self, name: &str, fields: Value) {
        let t_ms = self.begun.elapsed().as_millis() as u64;
        // Names and reasons are the far end's words.
        let line = match self.json {
            true => visible_json(&as_json(t_ms, name, fields)),
            false => visible(&as_text(t_ms, name, &fields)),
        };
        // An error means that the pipe is closed.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

fn as_json(t_ms: u64, name: &str, fields: Value) -> String {
    let mut line = json!({ "t_ms": t_ms, "event": name });
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
    }
    line.to_string()
}

fn as_text(t_ms: u64, name: &str, fields: &Value) -> String {
    let mut line = format!("{:>9.3} s  {name}", t_ms as f64 / 1e3);
    for (name, value) in fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line.push_str(&format!("  {name}={value}"));
    }
    line
}

/// A call's state in a word.
pub fn word(state: &CallState) -> &'static str {
    match state {
        CallState::Dialling => "dialling",
        CallState::Ringing => "ringing",
        CallState::Answered => "answered",
        CallState::Ended(_) => "ended",
        _ => "unknown",
    }
}

/// The name and the fields of an event; `None` if it gets no line.
pub fn described(event: &ClientEvent) -> Option<(&'static str, Value)> {
    Some(match event {
        ClientEvent::Incoming { call, from, to } => {
            ("incoming", json!({ "call": call.0, "from": from, "to": to }))
        }
        ClientEvent::State { call, state } => {
            let cause = match state {
                CallState::Ended(cause) => Some(cause.to_string()),
                _ => None,
            };
            ("state", json!({ "call": call.0, "state": word(state), "cause": cause }))
        }
        ClientEvent::Agreed { call, codec, ptime_ms, remote_rtp } => {
            let remote_rtp = remote_rtp.to_string();
            let fields = json!({ "call": call.0, "codec": codec.to_string(), "ptime_ms": ptime_ms, "remote_rtp": remote_rtp });
            ("agreed", fields)
        }
        ClientEvent::MediaStarted { call } => ("media", json!({ "call": call.0 })),
        ClientEvent::Held { call, held } => ("held", json!({ "call": call.0, "held": held })),
        ClientEvent::Digit { call, digit, duration_ms } => {
            ("digit", json!({ "call": call.0, "digit": digit.to_string(), "duration_ms": duration_ms }))
        }
        ClientEvent::Identified { call, identity } => {
            let RemoteIdentity { name, uri, asserted } = identity;
            ("identified", json!({ "call": call.0, "name": name, "uri": uri, "asserted": asserted }))
        }
        ClientEvent::Lost { count } => ("lost", json!({ "events": count })),
        ClientEvent::MediaLost => ("media_lost", json!({})),
        ClientEvent::Quality { call, quality, last: false } => {
            let mut fields = in_figures(quality);
            fields["call"] = json!(call.0);
            ("quality", fields)
        }
        ClientEvent::Progress { call, status, reason } => {
            ("progress", json!({ "call": call.0, "status": status, "reason": reason }))
        }
        ClientEvent::Registration { state } => ("registration", registration(state)),
        ClientEvent::Recovery { call, step } => {
            ("recovery", json!({ "call": call.0, "step": step.to_string() }))
        }
        ClientEvent::TransferRequested { call, target, attended } => {
            ("transfer_requested", json!({ "call": call.0, "target": target, "attended": attended }))
        }
        ClientEvent::Transferring { call, to } => ("transferring", json!({ "call": call.0, "to": to.0 })),
        ClientEvent::TransferEnded { call, status } => {
            ("transfer_ended", json!({ "call": call.0, "status": status }))
        }
        ClientEvent::Replaced { call, by } => ("replaced", json!({ "call": call.0, "by": by.0 })),
        ClientEvent::RecordingEnded { call, path, outcome } => {
            let (length_s, problem) = match outcome {
                Ok(recorded) => (Some(rounded(recorded.length.as_secs_f64())), None),
                Err(error) => (None, Some(error.to_string())),
            };
            ("recorded", json!({ "call": call.0, "path": path, "length_s": length_s, "problem": problem }))
        }
        ClientEvent::MediaStopped { call } => ("media_stopped", json!({ "call": call.0 })),
        ClientEvent::Audio { call, problem } => {
            ("audio", json!({ "call": call.0, "problem": problem.to_string() }))
        }
        ClientEvent::Device { side, device, problem, works } => (
            "device",
            json!({ "side": side_of(*side), "device": device, "problem": problem, "works": works }),
        ),
        _ => return None,
    })
}

/// The name of a side of the devices.
pub fn side_of(side: DeviceSide) -> &'static str {
    match side {
        DeviceSide::Microphone => "microphone",
        DeviceSide::Loudspeaker => "loudspeaker",
    }
}

fn registration(state: &RegistrationState) -> Value {
    match state {
        RegistrationState::Off => json!({ "state": "off" }),
        RegistrationState::Registering => json!({ "state": "registering" }),
        RegistrationState::Registered { expires, registrar, contact } => json!({
            "state": "registered", "expires_s": expires.as_secs(), "registrar": registrar, "contact": contact,
        }),
        RegistrationState::Failed { error, status, retry_in } => json!({
            "state": "failed", "cause": error.to_string(), "status": status,
            "retry_in_s": retry_in.map(|wait| rounded(wait.as_secs_f64())),
        }),
        _ => json!({ "state": "unknown" }),
    }
}

/// A call's quality as JSON: counts, percent, ms, dBFS.
pub fn in_figures(quality: &Quality) -> Value {
    json!({
        "codec": quality.codec.map(|codec| codec.to_string()),
        "sent": quality.sent, "received": quality.received, "lost": quality.lost, "late": quality.late,
        "concealed": quality.concealed, "loss_pct": rounded(quality.loss_pct),
        "remote_loss_pct": quality.remote_loss_pct.map(rounded), "jitter_ms": rounded(quality.jitter_ms),
        "rtt_ms": quality.rtt_ms.map(rounded), "delay_ms": quality.delay_ms.map(rounded),
        "mos": quality.mos.map(rounded), "heard_dbfs": quality.heard_dbfs.map(rounded),
        "sent_dbfs": quality.sent_dbfs.map(rounded),
    })
}

/// Rounds to the meaningful digits.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_client::{CallId, EndCause};

    #[test]
    fn a_line_is_one_object_or_one_sentence() {
        let state = CallState::Ended(EndCause::RemoteHangup);
        let (name, fields) = described(&ClientEvent::State { call: CallId(7), state }).expect("a line");
        let line: Value = serde_json::from_str(&as_json(12, name, fields.clone())).expect("JSON");
        let wanted = json!({ "t_ms": 12, "event": "state", "call": 7, "state": "ended", "cause": "the far end hung up" });
        assert_eq!(line, wanted);
        let text = as_text(1_500, name, &fields);
        assert!(text.contains("1.500 s  state") && text.contains("cause=the far end hung up"), "{text}");
    }
}
