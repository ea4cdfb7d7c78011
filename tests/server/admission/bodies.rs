//! Bodies of several parts: what is the session, what is refused, and who gets what belongs to neither.

use b2b::sip::endpoint::{Body, Event, InDialog, Invite, Reply, Termination, UsageEvent, UsageId};
use b2b::sip::msg::{Method, Name};
use b2b_testkit::{PartyId, SESSION};

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const EXCHANGE: &str = "192.0.2.21:5060";
const SWITCH: &str = "192.0.2.22:5060";
const PROVIDER: &str = "192.0.2.23:5060";
const RESCUE: &str = "192.0.2.24:5060";

const ISUP: (&str, &str) =
    ("application/isup;version=gr-394", "Content-Disposition: signal;handling=optional\r\n");
const NEEDED: (&str, &str) = ("application/x-odd", "Content-Disposition: signal;handling=required\r\n");
const PLACE: (&str, &str) = ("application/pidf+xml", "Content-ID: <place@ann.example>\r\n");

/// `exchange` and `switch` take ISUP; `rescue` takes emergency calls.
fn bench() -> (Bench, [PartyId; 5]) {
    let gateway = |name: &str, at: &str, keys: &str| {
        let source = at.split(':').next().unwrap_or_default();
        format!(
            "[[gateway]]\nname = \"{name}\"\nhosts = [\"{at}\"]\nsources = [\"{source}\"]\noptions_s = 0\n{keys}\n"
        )
    };
    let gateways = [
        gateway("exchange", EXCHANGE, "isup = true"),
        gateway("switch", SWITCH, "isup = true"),
        gateway("provider", PROVIDER, ""),
        gateway("rescue", RESCUE, ""),
    ];
    let mut bench = Bench::new(&format!(
        "[server]\ntrusted = [\"192.0.2.11\"]\n[emergency]\nnumbers = [\"112\"]\ngateways = [\"rescue\"]\n{}\
         [[route]]\ncalled = \"1.*\"\nto = \"gateway/switch\"\n[[route]]\nto = \"gateway/provider\"\n",
        gateways.concat()
    ));
    let parties = [ANN, EXCHANGE, SWITCH, PROVIDER, RESCUE].map(|at| bench.harness.party(at));
    (bench, parties)
}

/// A session with another part.
fn with((content_type, fields): (&str, &str)) -> Body {
    let data = format!(
        "--cut\r\n{fields}Content-Type: {content_type}\r\n\r\npart-of-it\r\n--cut\r\nContent-Type: application/sdp\r\n\
         \r\n{SESSION}\r\n--cut--\r\n"
    );
    Body { content_type: "multipart/mixed; boundary=cut".into(), data: data.into() }
}

fn calls(bench: &mut Bench, party: PartyId, number: &str, body: Body) -> UsageId {
    let target = format!("sip:{number}@192.0.2.1").into();
    let headers = vec![("Geolocation".into(), "<cid:place@ann.example>".into())];
    bench.harness.invite(party, Invite { target, headers, body: Some(body), ..Invite::default() })
}

fn refusal(bench: &mut Bench, party: PartyId, call: UsageId) -> (u16, String) {
    let Some(Termination::Failed { response }) = bench.harness.ended(party, call) else {
        panic!("no refusal")
    };
    let accept = response.header(Name::Accept).map(|it| String::from_utf8_lossy(it).into_owned());
    (response.status(), accept.unwrap_or_default())
}

#[test]
fn a_part_that_nobody_needs_refuses_no_call_and_goes_to_nobody() {
    for part in [ISUP, PLACE, ("text/plain", "")] {
        let (mut bench, [ann, _, switch, ..]) = bench();
        let call = calls(&mut bench, ann, "100", with(part));
        bench.harness.answer_next(switch, SESSION);
        assert!(bench.harness.is_up(ann, call), "{part:?}");
        let invite = bench.sent_to(SWITCH, "INVITE ").pop().expect("an INVITE");
        assert!(
            invite.contains("\r\nContent-Type: application/sdp\r\n") && invite.contains("m=audio"),
            "{invite}"
        );
        assert!(!invite.contains("part-of-it"), "{invite}");
    }
}

#[test]
fn a_part_that_has_to_be_understood_refuses_a_call_with_415() {
    let (mut bench, [ann, ..]) = bench();
    let call = calls(&mut bench, ann, "100", with(NEEDED));
    let (status, accept) = refusal(&mut bench, ann, call);
    assert!(
        status == 415 && accept.contains("application/sdp") && accept.contains("multipart/mixed"),
        "{accept}"
    );
    let call = calls(&mut bench, ann, "100", Body { content_type: "multipart/mixed".into(), ..with(ISUP) });
    assert_eq!(refusal(&mut bench, ann, call).0, 400, "nobody knows where its parts end");
}

#[test]
fn isup_goes_between_gateways_that_take_it_both_ways() {
    let (mut bench, [_, exchange, switch, provider, _]) = bench();
    let needed = ("application/ISUP", "Content-Disposition: signal;handling=required\r\n");
    let call = calls(&mut bench, exchange, "100", with(needed));
    let invite = bench.sent_to(SWITCH, "INVITE ").pop().expect("an INVITE");
    assert!(invite.contains("multipart/mixed") && invite.contains("application/ISUP"), "{invite}");
    assert!(invite.contains("part-of-it") && invite.contains("signal;handling=required"), "{invite}");
    let usage = bench.harness.next_call(switch);
    let now = bench.harness.now();
    let reply = Reply { body: Some(with(ISUP)), ..Reply::status(200) };
    bench.harness.endpoint(switch).reply(now, usage, reply).unwrap();
    bench.harness.settle();
    assert!(bench.harness.is_up(exchange, call));
    let answer = bench.sent_to(EXCHANGE, "SIP/2.0 200").pop().expect("a 200");
    assert!(answer.contains("part-of-it") && answer.contains("m=audio"), "{answer}");

    let info = Body { content_type: "application/isup".into(), data: "part-of-it".into() };
    let info = InDialog { method: Method::Info, headers: Vec::new(), body: Some(info) };
    bench.harness.endpoint(exchange).request(now, call, info).unwrap();
    bench.harness.settle();
    let info = bench.sent_to(SWITCH, "INFO ").pop().expect("an INFO");
    assert!(
        info.contains("\r\nContent-Type: application/isup\r\n") && info.ends_with("part-of-it"),
        "{info}"
    );

    let call = calls(&mut bench, exchange, "200", with(needed));
    bench.harness.answer_next(provider, SESSION);
    assert!(bench.harness.is_up(exchange, call), "it is understood, and ends here");
    let invite = bench.sent_to(PROVIDER, "INVITE ").pop().expect("an INVITE");
    assert!(!invite.contains("part-of-it"), "{invite}");
}

#[test]
fn the_callers_place_goes_to_emergency_services_and_no_part_refuses_the_call() {
    for part in [
        PLACE,
        (
            "application/pidf+xml",
            "Content-ID: <place@ann.example>\r\nContent-Disposition: x;handling=required\r\n",
        ),
    ] {
        let (mut bench, [ann, .., rescue]) = bench();
        let call = calls(&mut bench, ann, "112", with(part));
        bench.harness.answer_next(rescue, SESSION);
        assert!(bench.harness.is_up(ann, call), "{part:?}");
        let invite = bench.sent_to(RESCUE, "INVITE ").pop().expect("an INVITE");
        assert!(
            invite.contains("part-of-it") && invite.contains("Content-ID: <place@ann.example>\r\n"),
            "{invite}"
        );
        assert!(invite.contains("\r\nGeolocation: <cid:place@ann.example>\r\n"), "{invite}");
    }
    let broken = Body { content_type: "multipart/mixed".into(), ..with(PLACE) };
    for body in [with(NEEDED), broken] {
        let (mut bench, [ann, .., rescue]) = bench();
        calls(&mut bench, ann, "112", body);
        bench.harness.next_call(rescue);
        let invite = bench.sent_to(RESCUE, "INVITE ").pop().expect("an INVITE");
        assert!(!invite.contains("part-of-it"), "{invite}");
    }
}

#[test]
fn later_offers_and_answers_may_have_parts_too() {
    let (mut bench, [ann, _, switch, ..]) = bench();
    let call = calls(&mut bench, ann, "100", Body::sdp(SESSION));
    let usage = bench.harness.next_call(switch);
    let now = bench.harness.now();
    let reply = Reply { body: Some(with(ISUP)), ..Reply::status(200) };
    bench.harness.endpoint(switch).reply(now, usage, reply).unwrap();
    bench.harness.settle();
    assert!(bench.harness.is_up(ann, call));
    bench.harness.take(ann);

    bench.harness.endpoint(ann).reinvite(now, call, Some(with(PLACE))).unwrap();
    bench.harness.settle();
    let events = bench.harness.take(ann);
    let answered =
        |event: &Event| matches!(event, Event::Usage { event: UsageEvent::ReInviteAnswered { .. }, .. });
    assert!(events.iter().any(answered), "{events:?}");

    let updates = [
        (Body { content_type: "text/plain".into(), data: "x".into() }, "SIP/2.0 415"),
        (with(ISUP), "SIP/2.0 200"),
    ];
    for (body, expected) in updates {
        bench.harness.wire.clear();
        bench.harness.endpoint(ann).update(now, call, body).unwrap();
        bench.harness.settle();
        let response = bench.sent_to(ANN, expected).pop().unwrap_or_else(|| panic!("no {expected}"));
        assert_eq!(response.contains("\r\nAccept: application/sdp"), expected.contains("415"), "{response}");
    }
}
