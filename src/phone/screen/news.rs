//! Applies the library's events to the model.

use super::super::report::{side_of, word};
use super::model::{Figures, Model, Stage};
use b2b_client::{CallState, ClientEvent, Quality, RegistrationState, RemoteIdentity};

impl From<&Quality> for Figures {
    fn from(quality: &Quality) -> Self {
        let &Quality { loss_pct, jitter_ms, rtt_ms, mos, .. } = quality;
        Figures { loss_pct, jitter_ms, rtt_ms, mos }
    }
}

impl Model {
    /// Applies an event. An outgoing call is in the model before its first event.
    pub fn news(&mut self, event: &ClientEvent) {
        match event {
            ClientEvent::Incoming { call, from, .. } => {
                self.say(format!("{from} calls"));
                self.begin(*call, from.clone(), Stage::RingsHere);
            }
            ClientEvent::State { call, state } => {
                let remote = self.line(*call).map(|line| line.remote.clone()).unwrap_or_default();
                match state {
                    CallState::Ended(cause) => {
                        self.say(format!("{remote}: {cause}"));
                        self.end(*call);
                    }
                    state => {
                        self.say(format!("{remote}: {}", word(state)));
                        let Some(line) = self.line(*call) else { return };
                        line.stage = match state {
                            CallState::Ringing if line.stage == Stage::Dialling => Stage::RingsThere,
                            CallState::Answered => Stage::Up,
                            _ => return,
                        };
                    }
                }
            }
            ClientEvent::Agreed { call, codec, .. } => {
                if let Some(line) = self.line(*call) {
                    line.codec = Some(codec.to_string());
                }
            }
            ClientEvent::Held { call, held } => {
                if let Some(line) = self.line(*call) {
                    line.held.1 = *held;
                }
            }
            ClientEvent::Identified { call, identity } => {
                let RemoteIdentity { name, uri, asserted } = identity;
                let mut words = name.as_ref().map_or_else(|| uri.clone(), |name| format!("{name} <{uri}>"));
                if !asserted {
                    words.push_str(" (says so itself)");
                }
                if let Some(line) = self.line(*call) {
                    let before = std::mem::replace(&mut line.remote, words.clone());
                    self.say(format!("{before}: it is {words} now"));
                }
            }
            ClientEvent::Digit { digit, .. } => self.say(format!("the far end pressed {digit}")),
            ClientEvent::Quality { call, quality, last: false } => self.measured(*call, quality.into()),
            ClientEvent::Level { call, heard_dbfs, sent_dbfs } => {
                if let Some(line) = self.line(*call) {
                    line.levels =
                        (heard_dbfs.unwrap_or(f64::NEG_INFINITY), sent_dbfs.unwrap_or(f64::NEG_INFINITY));
                }
            }
            ClientEvent::Registration { state } => self.registered(state),
            ClientEvent::Replaced { call, by } => {
                let [old, new] = [*call, *by]
                    .map(|call| self.line(call).map(|line| line.remote.clone()).unwrap_or_default());
                self.say(format!("{new} replaces {old}"));
            }
            ClientEvent::Recovery { step, .. } => self.say(step.to_string()),
            ClientEvent::RecordingEnded { path, outcome, .. } => {
                let path = path.display();
                self.say(match outcome {
                    Ok(recorded) => format!("{path}: {:.1} s recorded", recorded.length.as_secs_f64()),
                    Err(error) => error.to_string(),
                });
            }
            ClientEvent::Device { side, device, problem, works } => {
                let side = side_of(*side);
                let device = device.as_deref().unwrap_or("the default one");
                self.say(match (problem, works) {
                    (Some(problem), true) => format!("{side}: {problem}; {device} is used"),
                    (Some(problem), false) => format!("no {side}: {problem}"),
                    (None, _) => format!("{side}: {device} is used"),
                });
            }
            ClientEvent::Audio { problem, .. } => self.say(problem.to_string()),
            ClientEvent::Lost { count } => self.say(format!("{count} events were lost")),
            ClientEvent::MediaLost => self.say("the media thread has failed: restart the phone"),
            _ => {}
        }
    }

    /// Applies a state of the registration.
    pub fn registered(&mut self, state: &RegistrationState) {
        let good = matches!(state, RegistrationState::Registered { .. });
        let words = match state {
            RegistrationState::Off => "not registered".to_owned(),
            RegistrationState::Registering => "registering".to_owned(),
            RegistrationState::Registered { registrar, .. } => format!("registered at {registrar}"),
            RegistrationState::Failed { error, .. } => format!("not registered: {error}"),
            _ => "unknown".to_owned(),
        };
        // Refreshes are not logged.
        if self.registration.0 != words {
            self.say(words.clone());
        }
        self.registration = (words, good);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_client::{CallId, DeviceSide, EndCause};

    #[test]
    fn a_device_that_fails_and_one_that_takes_its_place_are_told() {
        let said = |device: Option<&str>, problem: Option<&str>, works| {
            let mut model = Model::new("sip:a@127.0.0.1".to_owned(), "");
            let (device, problem) = (device.map(str::to_owned), problem.map(str::to_owned));
            model.news(&ClientEvent::Device { side: DeviceSide::Microphone, device, problem, works });
            model.log.back().cloned().unwrap_or_default()
        };
        let gone = Some("\"hw:1\": unplugged");
        assert_eq!(said(None, gone, true), "microphone: \"hw:1\": unplugged; the default one is used");
        assert_eq!(said(None, gone, false), "no microphone: \"hw:1\": unplugged");
        assert_eq!(said(Some("hw:1"), None, true), "microphone: hw:1 is used");
    }

    #[test]
    fn who_takes_the_place_of_whom_is_said_before_the_old_call_ends() {
        let mut model = Model::new("sip:a@127.0.0.1".to_owned(), "");
        let names = ["sip:old@127.0.0.1", "sip:new@127.0.0.1"];
        for (id, from) in (1..).zip(names) {
            model.news(&ClientEvent::Incoming { call: CallId(id), from: from.to_owned(), to: String::new() });
        }
        model.news(&ClientEvent::Replaced { call: CallId(1), by: CallId(2) });
        let said = model.log.back().map(String::as_str);
        assert_eq!(said, Some("sip:new@127.0.0.1 replaces sip:old@127.0.0.1"));
    }

    #[test]
    fn who_is_there_after_a_transfer_takes_the_line_of_the_call() {
        let mut model = Model::new("sip:a@127.0.0.1".to_owned(), "");
        let call = CallId(1);
        model.news(&ClientEvent::Incoming { call, from: "sip:old@127.0.0.1".to_owned(), to: String::new() });
        let mut shown = |name: Option<&str>, asserted| {
            let (name, uri) = (name.map(str::to_owned), "sip:7@127.0.0.1".to_owned());
            model.news(&ClientEvent::Identified { call, identity: RemoteIdentity { name, uri, asserted } });
            model.line(call).map(|line| line.remote.clone()).unwrap_or_default()
        };
        assert_eq!(shown(Some("Carol"), true), "Carol <sip:7@127.0.0.1>");
        assert_eq!(shown(None, false), "sip:7@127.0.0.1 (says so itself)");
    }

    #[test]
    fn a_call_goes_from_the_first_ring_to_its_end() {
        let mut model = Model::new("sip:a@127.0.0.1".to_owned(), "");
        let call = CallId(3);
        model.news(&ClientEvent::Incoming { call, from: "sip:b@127.0.0.1".to_owned(), to: String::new() });
        assert_eq!(model.calls[0].stage, Stage::RingsHere);
        model.news(&ClientEvent::State { call, state: CallState::Answered });
        model.news(&ClientEvent::Held { call, held: true });
        let quality = Quality { jitter_ms: 2.0, ..Quality::default() };
        model.news(&ClientEvent::Quality { call, quality, last: false });
        let line = &model.calls[0];
        assert_eq!((&line.stage, line.held, line.jitter.back()), (&Stage::Up, (false, true), Some(&2)));
        model.news(&ClientEvent::State { call, state: CallState::Ended(EndCause::RemoteHangup) });
        assert!(model.calls.is_empty());
        assert_eq!(model.log.back().map(String::as_str), Some("sip:b@127.0.0.1: the far end hung up"));
    }
}
