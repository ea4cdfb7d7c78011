//! Lasting effects, and what ends them.

use super::*;
use b2b_call::controller::EndpointId;

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
    assert!(left.recording && left.leg_recording && left.hold && left.settings.len() == 2);
    left.note(&Command::StopRecording { what: call });
    assert!(left.leg_recording && !left.recording);
    left.note(&Command::StopRecording { what: Whole::Leg });
    left.note(&Command::Resume {});
    left.note(&Command::Echo { on: false });
    let settings = vec![Verb::HearTones { endpoint: EndpointId::OF_LEG, on: None }];
    assert_eq!(left, Left { settings, ..Left::default() }, "they may have been on by configuration");
    assert!(!leaves(&Command::Answer { headers: Default::default() }));
}
