use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;

fn published(event: Event) -> Published {
    Published { seq: 7, ..Published::new(UNIX_EPOCH + Duration::from_micros(1_500_250), event) }
}

#[test]
fn an_event_is_flat_json_with_number_and_time() {
    let event = published(Event::LegState {
        call: CallId(3),
        leg: LegId(4),
        from: LegState::Ringing,
        to: LegState::Failed,
        cause: Some(TerminationCause::Failed { status: 486, reason: "Busy Here".into() }),
    });
    assert_eq!(
        serde_json::to_value(&event).unwrap(),
        json!({
            "seq": 7, "time": "1970-01-01T00:00:01.500250Z", "type": "leg_state", "call": 3, "leg": 4,
            "from": "ringing", "to": "failed",
            "cause": { "failed": { "status": 486, "reason": "Busy Here" } },
        })
    );
}

#[test]
fn what_is_written_is_read_back() {
    let (call, leg) = (CallId(1), LegId(2));
    let address = "192.0.2.1:5060".parse().unwrap();
    let events = [
        Event::CallState {
            call,
            from: CallState::Bridged,
            to: CallState::IncomingCall,
            event: CallEvent::Release(CallDirection::Inbound),
        },
        Event::BridgeState {
            call,
            bridge: BridgeId(5),
            from: BridgeState::Active,
            to: BridgeState::Held,
            held_by: HeldBy::A,
        },
        Event::Lookup { call: None, target: "user/1001".into(), kind: LookupKind::User, contacts: 2 },
        Event::Digit { call, leg, digit: Some('#'), duration_ms: 120, by: DigitBy::Info },
        Event::Quality { call, leg, quality: Quality { jitter_ms: 1.5, ..Quality::default() } },
        Event::MediaStarted { call, leg, from: address },
        Event::Banned { source: address.ip(), for_s: 60, reason: "12 wrong passwords".into() },
        Event::Application {
            call: None,
            app: "queue".into(),
            name: "agent".into(),
            data: json!({"id": [1]}),
        },
        Event::Reloaded { error: None },
    ];
    for event in events {
        let event = published(event);
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Published>(&text).unwrap(), event, "{text}");
    }
}

#[test]
fn keys_are_told_only_to_whom_they_may_be_told() {
    let (call, leg) = (CallId(9), LegId(1));
    let digit = Event::Digit { call, leg, digit: Some('1'), duration_ms: 80, by: DigitBy::Info };
    let collected = |result| Event::CommandCompleted {
        id: "a".into(),
        command: "collect".into(),
        call: Some(call),
        result,
    };
    let app =
        |data| Event::Application { call: Some(call), app: "conference/a".into(), name: "key".into(), data };
    for (event, key) in [
        (digit, "digit"),
        (collected(json!({ "digits": "1", "end": "full" })), "result/digits"),
        (app(json!({ "leg": 1, "key": "1" })), "data/key"),
    ] {
        let event = published(event);
        let value =
            |text: Option<Bytes>| serde_json::from_slice::<serde_json::Value>(&text.unwrap()).unwrap();
        let (whole, bare) = (value(event.json()), value(event.json_without_keys()));
        let at = format!("/{key}");
        assert_eq!(whole.pointer(&at).and_then(|it| it.as_str()), Some("1"), "{whole}");
        assert_eq!((bare.pointer(&at), &bare["seq"], &bare["type"]), (None, &whole["seq"], &whole["type"]));
    }
    for event in [collected(json!({ "end": "full" })), app(json!(null)), Event::Draining { calls: 1 }] {
        let event = published(event);
        assert_eq!(event.json(), event.json_without_keys());
    }
}

#[test]
fn a_consumer_can_tell_the_plane_and_the_call() {
    let digit = Event::Digit {
        call: CallId(9),
        leg: LegId(1),
        digit: Some('1'),
        duration_ms: 80,
        by: DigitBy::TelephoneEvent,
    };
    assert_eq!((digit.plane(), digit.call()), (Plane::Media, Some(CallId(9))));
    let drain = Event::Draining { calls: 3 };
    assert_eq!((drain.plane(), drain.call()), (Plane::System, None));
    let lookup =
        Event::LookupFailed { call: Some(CallId(2)), target: "x".into(), status: 404, error: "-".into() };
    assert_eq!((lookup.plane(), lookup.call()), (Plane::Sip, Some(CallId(2))));
}
