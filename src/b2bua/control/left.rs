//! What commands leave behind that are over: a call that is recorded, a party that hears itself. It
//! ends with the part of the program that wanted it. No I/O.

use super::command::Command;

/// What is left in a call that somebody has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// It is recorded.
    pub recording: bool,
    /// Its party hears itself.
    pub echo: bool,
    /// Whether tones are digits is not as configured.
    pub tones: bool,
}

/// Whether a command leaves something behind, or takes it away.
pub fn leaves(command: &Command) -> bool {
    matches!(
        command,
        Command::Record {} | Command::StopRecording {} | Command::Echo { .. } | Command::HearTones { .. }
    )
}

impl Left {
    /// This is done.
    pub fn note(&mut self, command: &Command) {
        match command {
            Command::Record {} => self.recording = true,
            Command::StopRecording {} => self.recording = false,
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
        let begins = [Command::Record {}, Command::Echo { on: true }, Command::HearTones { on: true }];
        for command in &begins {
            assert!(leaves(command), "{command:?}");
            left.note(command);
        }
        assert_eq!(left, Left { recording: true, echo: true, tones: true });
        left.note(&Command::StopRecording {});
        left.note(&Command::Echo { on: false });
        assert_eq!(left, Left { tones: true, ..Left::default() }, "they may have been on by configuration");
        assert!(!leaves(&Command::Answer {}));
    }
}
