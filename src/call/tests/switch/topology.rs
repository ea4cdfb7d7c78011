//! Nothing of one leg's identity or topology is visible on the other.

use b2b_sip::endpoint::{Body, EndpointConfig, Invite};
use b2b_testkit::{B2B, SESSION};
use bytes::Bytes;

use crate::routed::{ANN, BOB, to_bob};

#[test]
fn a_call_goes_across_with_nothing_of_the_other_leg_in_it() {
    let mut harness = to_bob();
    let says = |name: &'static str| move |it: &mut EndpointConfig| it.user_agent = name.to_owned();
    let (ann, bob) = (harness.party_with(ANN, says("Anns-1")), harness.party_with(BOB, says("Bobs-2")));
    let a = harness.invite(
        ann,
        Invite {
            target: Bytes::from(format!("sip:bob@{B2B}")),
            from: Some("\"Ann\" <sip:1001@phones.example>".into()),
            max_forwards: Some(20),
            headers: vec![("Subject".into(), "lunch".into()), ("X-Secret".into(), "10.9.8.7".into())],
            body: Some(Body::sdp(SESSION)),
            ..Invite::default()
        },
    );
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    harness.answer(bob, b, Some(&SESSION.replace("198.51.100.7", "203.0.113.9")));
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(ann, a);
    assert!(harness.ended(bob, b).is_some());

    let (ann, bob) = (ANN.parse().unwrap(), BOB.parse().unwrap());
    let call_id_of = |address| {
        let sent = harness.wire.iter().find(|it| it.from == address || it.to == address).unwrap();
        sent.field("Call-ID").unwrap()
    };
    assert_ne!(call_id_of(ann), call_id_of(bob));
    for sent in &harness.wire {
        let text = sent.text();
        let other = if sent.to == bob {
            ["192.0.2.11", "198.51.100.7", "Anns-1"]
        } else {
            ["192.0.2.12", "203.0.113.9", "Bobs-2"]
        };
        if sent.to == ann || sent.to == bob {
            assert!(!other.iter().any(|it| text.contains(it)), "{text}");
            assert!(
                !text.contains("X-Secret") && !text.contains("phones.example") || sent.to == ann,
                "{text}"
            );
        }
    }
    let invite = harness.wire.iter().find(|it| it.to == bob && it.line().starts_with("INVITE")).unwrap();
    assert!(invite.field("From").unwrap().starts_with("\"Ann\" <sip:1001@b2b.invalid>"), "{}", invite.text());
    assert_eq!(invite.field("Max-Forwards").unwrap(), "19");
    assert_eq!(invite.field("Subject").unwrap(), "lunch");
    harness.assert_nothing_left();
}
