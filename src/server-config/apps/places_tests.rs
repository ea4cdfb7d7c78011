use std::path::Path;

use crate::parse_made;
use b2b_app::conference::Role;

const ROOMS: &str = r#"
[[music]]
name = "calm"
tone = "440"
[[conference]]
name = "blue"
most = 12
rate_hz = 8000
pin = "4711"
moderator_pin = "8150"
needs_moderator = true
music = "calm"
announced = false
recordings = "rooms"
recorded = true
prompts = { joined = "joined.wav" }
[[park]]
name = "lot"
slots = "801-810"
timeout_s = 30
ring_s = 10
back_to = "sip:desk@192.0.2.1"
music = "calm"
"#;

#[test]
fn rooms_and_lots_become_what_they_say_and_bad_ones_are_refused() {
    let apps = parse_made(ROOMS).expect("a configuration").apps;
    let (room, lot) = (&apps.conferences[0], &apps.lots[0]);
    assert_eq!((room.most, room.rate_hz, room.needs_moderator, room.announced), (12, 8_000, true, false));
    assert_eq!(room.role_for("8150"), Some(Role::Moderator));
    assert_eq!((room.role_for("4711"), room.role_for("1")), (Some(Role::Participant), None));
    assert_eq!(room.recordings.as_deref(), Some(Path::new("/etc/b2b/rooms")));
    assert_eq!(room.words.files().count(), 1);
    assert_eq!((&lot.slots, lot.timeout.as_secs(), lot.ring.as_secs()), (&(801..=810), 30, 10));
    for (keys, told) in [
        ("pin = \"1\"", "short_pin = true"),
        ("pin = \"1111\"\nmoderator_pin = \"1111\"", "the same as pin"),
        ("pin = \"12a\"", "1 to 16 digits"),
        ("needs_moderator = true", "moderator_pin"),
        ("recorded = true", "recordings"),
        ("rate_hz = 11025", "8000 or 16000"),
        ("then = \"ivr/none\"", "ivr/none"),
        ("music = \"none\"", "none"),
        ("prompts = { hello = \"a.wav\" }", "choose one of ask_pin"),
        ("prompts = { joined = \"missing.wav\" }", "there is no file"),
    ] {
        let error = parse_made(&format!("[[conference]]\nname = \"a\"\n{keys}\n")).unwrap_err().to_string();
        assert!(error.contains(told), "{keys}: {error}");
    }
    for slots in ["701", "720-701", "701-1702", "0-5", "0701-0720"] {
        let error = parse_made(&format!("[[park]]\nname = \"a\"\nslots = \"{slots}\"\n"));
        assert!(error.unwrap_err().to_string().contains("park.slots"), "{slots}");
    }
}
