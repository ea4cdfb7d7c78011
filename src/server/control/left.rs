//! Lasting effects of finished commands: a recorded call, a party that is echoed or on hold. They end with
//! the program's part in the call. No I/O.

use super::command::{Command, Whole};

/// Lasting effects in a call that a program has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// The call is recorded; its leg is recorded by itself.
    pub recording: bool,
    pub leg_recording: bool,
    /// Its party is on hold.
    pub hold: bool,
    /// Its party's audio is echoed.
    pub echo: bool,
    /// Tone detection differs from the configuration.
    pub tones: bool,
}

/// Whether a command starts or ends a lasting effect.
pub fn leaves(command: &Command) -> bool {
    matches!(
        command,
        Command::Record { .. }
            | Command::StopRecording { .. }
            | Command::Echo { .. }
            | Command::HearTones { .. }
            | Command::Hold { .. }
            | Command::Resume {}
    )
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
            Command::Echo { on } => self.echo = *on,
            Command::HearTones { .. } => self.tones = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_is_left_until_it_is_ended() {
        let mut left = Left::default();
        let (call, said) = (Whole::Call, Whole::Said);
        let begins = [
            Command::Record { what: call },
            Command::Record { what: said },
            Command::Hold { class: None },
            Command::Echo { on: true },
            Command::HearTones { on: true },
        ];
        for command in &begins {
            assert!(leaves(command), "{command:?}");
            left.note(command);
        }
        assert_eq!(left, Left { recording: true, leg_recording: true, hold: true, echo: true, tones: true });
        left.note(&Command::StopRecording { what: call });
        assert!(left.leg_recording && !left.recording);
        left.note(&Command::StopRecording { what: Whole::Leg });
        left.note(&Command::Resume {});
        left.note(&Command::Echo { on: false });
        assert_eq!(left, Left { tones: true, ..Left::default() }, "they may have been on by configuration");
        assert!(!leaves(&Command::Answer { headers: Default::default() }));
    }
}
