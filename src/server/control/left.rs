//! Lasting effects of finished commands: a recorded call, a party that is echoed or on hold. They end with
//! the program's part in the call. No I/O.

use super::command::{Command, Whole};
use super::media::Setting;
use b2b_call::controller::Verb;

/// Lasting effects in a call that a program has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Left {
    /// The call is recorded; its leg is recorded by itself.
    pub recording: bool,
    pub leg_recording: bool,
    /// Its party is on hold.
    pub hold: bool,
    /// The verbs that restore the changed settings of its party's media.
    pub settings: Vec<Verb>,
}

/// Whether a command starts or ends a lasting effect.
pub fn leaves(command: &Command) -> bool {
    let is_kept = matches!(
        command,
        Command::Record { .. } | Command::StopRecording { .. } | Command::Hold { .. } | Command::Resume {}
    );
    is_kept || command.setting().is_some()
}

impl Left {
    /// Notes that a command is done.
    pub fn note(&mut self, command: &Command) {
        match command {
            Command::Record { what: Whole::Call } => self.recording = true,
            Command::StopRecording { what: Whole::Call } => self.recording = false,
            Command::Record { .. } => self.leg_recording = true,
            Command::StopRecording { .. } => self.leg_recording = false,
            Command::Hold { .. } => self.hold = true,
            Command::Resume {} => self.hold = false,
            _ => {}
        }
        if let Some(Setting { usual, is_changed }) = command.setting() {
            self.settings.retain(|it| *it != usual);
            self.settings.extend(is_changed.then_some(usual));
        }
    }
}

#[cfg(test)]
mod tests;
