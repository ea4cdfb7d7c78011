use serde_json::json;

use super::*;

#[test]
fn a_command_is_read_with_what_is_about_it() {
    let order = Order::parse(json!({
        "id": "a-1", "command": "play_and_collect", "leg": 4, "sound": "pin.wav", "max": 4, "deadline_s": 20,
    }))
    .unwrap();
    assert_eq!((order.id.as_deref(), order.leg, order.deadline_s), (Some("a-1"), Some(4), Some(20)));
    let Command::PlayAndCollect { digits, barge_in, times, .. } = order.command else { panic!() };
    assert_eq!((digits.max, digits.terminators.as_str(), barge_in, times), (4, "#", true, 1));
}

#[test]
fn what_is_wrong_with_a_command_is_said() {
    for (wrong, said) in [
        (json!([]), "JSON object"),
        (json!({ "command": "dance" }), "unknown variant"),
        (json!({ "call": 1 }), "missing field `command`"),
        (json!({ "command": "answer", "cal": 1 }), "unknown field `cal`"),
        (json!({ "command": "collect", "max": 4, "terminator": "#" }), "terminator"),
        (json!({ "command": "answer", "call": "x" }), "call"),
        (json!({ "command": "answer", "id": "a b" }), "id"),
        (json!({ "command": "answer", "deadline_s": 0 }), "deadline_s"),
        (json!({ "command": "collect", "max": 0 }), "max"),
        (json!({ "command": "reject", "status": 200 }), "300"),
        (json!({ "command": "send_digits", "digits": "1x" }), "digits"),
        (json!({ "command": "originate", "from": "user/1", "to": "user/2", "app": "echo" }), "keep one"),
        (json!({ "command": "play", "sound": "../etc/passwd" }), "folder"),
        (json!({ "command": "play", "sound": [] }), "something"),
        (json!({ "command": "hangup", "call": 1, "cause": 0 }), "cause"),
        (json!({ "command": "hangup", "call": 1, "cause": 128 }), "cause"),
        (json!({ "command": "hangup", "call": 1, "text": "later" }), "text"),
        (json!({ "command": "originate", "from": [] }), "from"),
        (json!({ "command": "dial", "leg": 1, "to": vec!["user/1"; 33] }), "to: 33"),
    ] {
        let error = Order::parse(wrong.clone()).unwrap_err();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

#[test]
fn the_word_of_a_command_is_the_one_that_json_has() {
    for command in [
        json!({ "command": "hangup" }),
        json!({ "command": "stop_playing" }),
        json!({ "command": "room_lock", "room": "blue", "locked": true }),
        json!({ "command": "agent", "agent": "ann", "state": "paused" }),
        json!({ "command": "send_digits", "digits": "1" }),
    ] {
        let order = Order::parse(command.clone()).unwrap();
        assert_eq!(json!(order.command.word()), command["command"]);
    }
}
