//! Emergency calls: the limits that they bypass, the resources reserved for them, and that the number gives
//! strangers no access.

use std::time::Duration;

use b2b::call::bus::Received;
use b2b::call::controller::{EndpointId, EndpointStats, MediaEvent};
use b2b::call::event::Event;
use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::endpoint::{Body, Invite, Termination, UsageId};
use b2b::sip::msg::Method;
use b2b_testkit::{PartyId, SESSION};

use super::bench::Bench;

/// A trusted address.
const ANN: &str = "192.0.2.11:5060";
/// A phone with a password.
const PHONE: &str = "198.51.100.7:5060";
const CARRIER: &str = "192.0.2.21:5060";
const BACKUP: &str = "192.0.2.22:5060";
const PEER: &str = "192.0.2.23:5060";

const EMERGENCY: &str = "[emergency]\nnumbers = [\"112\", \"911\"]\ngateways = [\"carrier\", \"backup\"]\n";

/// Two gateways for emergency calls and a peer whose identities are not trusted; all other numbers go to the
/// carrier.
fn text(limits: &str, carrier: &str, user: &str, emergency: &str) -> String {
    format!(
        "[server]\ntrusted = [\"192.0.2.11\"]\n[limits]\n{limits}\n{emergency}\
         [[user]]\nname = \"1001\"\npassword = \"secret\"\nclass = \"barred\"\n{user}\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{CARRIER}\"]\nsources = [\"192.0.2.21\"]\ntrust_identity = true\n\
         {carrier}\n\
         [[gateway]]\nname = \"backup\"\nhosts = [\"{BACKUP}\"]\noptions_s = 0\n\
         [[gateway]]\nname = \"peer\"\nhosts = [\"{PEER}\"]\nsources = [\"192.0.2.23\"]\noptions_s = 0\n\
         [[route]]\nclass = \"barred\"\nreject = 403\n[[route]]\nto = \"gateway/carrier\"\n"
    )
}

fn bench(limits: &str, carrier: &str, user: &str) -> (Bench, [PartyId; 4]) {
    let carrier = format!("options_s = 0\n{carrier}");
    let mut bench = Bench::new(&text(limits, &carrier, user, EMERGENCY));
    let parties = [ANN, PHONE, CARRIER, BACKUP].map(|at| bench.harness.party(at));
    (bench, parties)
}

/// User 1001 calls, with additional header fields.
fn user_calls(bench: &mut Bench, phone: PartyId, number: &str, fields: &[(&str, &str)]) -> UsageId {
    user_calls_with(bench, phone, number, fields, "secret")
}

fn user_calls_with(
    bench: &mut Bench,
    phone: PartyId,
    number: &str,
    fields: &[(&str, &str)],
    password: &str,
) -> UsageId {
    calls_as(bench, phone, ("1001", password), number, fields)
}

fn calls_as(
    bench: &mut Bench,
    phone: PartyId,
    (user, password): (&str, &str),
    number: &str,
    fields: &[(&str, &str)],
) -> UsageId {
    let target = format!("sip:{number}@192.0.2.1");
    let invite = |digest: Authorized| {
        let mut headers = digest.headers;
        headers
            .extend(fields.iter().map(|(name, value)| (name.to_string().into(), value.to_string().into())));
        Invite {
            target: target.clone().into(),
            from: Some(format!("\"Bo\" <sip:{user}@192.0.2.1>").into()),
            body: Some(Body::sdp(SESSION)),
            headers,
            ..Invite::default()
        }
    };
    let asked = bench.harness.invite(phone, invite(Authorized::default()));
    let Some(Termination::Failed { response }) = bench.harness.ended(phone, asked) else { panic!("no 407") };
    assert_eq!(response.status(), 407, "a password first, whatever is dialled");
    let mut digest = DigestClient::new(user, password, [9; 32]);
    digest.challenged(&response, &Authorized::default()).expect("a challenge");
    bench.harness.invite(phone, invite(digest.authorize(&Method::Invite, target.as_bytes())))
}

/// RTP of every party that is there has come.
fn all_talk(bench: &mut Bench) {
    let from = "198.51.100.7:4000".parse().expect("an address");
    for endpoint in 0..100 {
        bench.harness.media_event(MediaEvent::Started { endpoint: EndpointId(endpoint), from });
    }
}

fn refused(bench: &mut Bench, party: PartyId, call: UsageId) -> u16 {
    match bench.harness.ended(party, call) {
        Some(Termination::Failed { response }) => response.status(),
        other => panic!("{other:?}"),
    }
}

/// Ann's call to a number, which the carrier answers.
fn ordinary(bench: &mut Bench, ann: PartyId, carrier: PartyId) -> UsageId {
    let call = bench.harness.call(ann, "100", Some(SESSION));
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(ann, call));
    call
}

#[test]
fn a_users_call_for_help_passes_class_channels_rates_and_its_own_limit() {
    let (mut bench, [ann, phone, carrier, _]) =
        bench("calls_per_s = 1\nuser_calls_per_s = 1", "channels = 2\ncalls_per_s = 1", "max_calls = 1");
    // One of two channels is reserved.
    ordinary(&mut bench, ann, carrier);
    bench.harness.run(Duration::from_secs(1));
    let second = bench.harness.call(ann, "100", Some(SESSION));
    assert_eq!(refused(&mut bench, ann, second), 503);
    // In one second: above the limits of the user, the server and the carrier, from a class that may not call
    // anywhere.
    let barred = user_calls(&mut bench, phone, "100", &[]);
    assert_eq!(refused(&mut bench, phone, barred), 503, "the second has had its call");
    for number in ["112", "911"] {
        bench.harness.wire.clear();
        let call = user_calls(&mut bench, phone, number, &[]);
        bench.harness.answer_next(carrier, SESSION);
        assert!(bench.harness.is_up(phone, call));
        let invite = bench.sent_to(CARRIER, "INVITE ").pop().expect("an INVITE");
        assert!(invite.starts_with(&format!("INVITE sip:{number}@{CARRIER}")), "{invite}");
        all_talk(&mut bench);
    }
    let third = user_calls(&mut bench, phone, "112", &[]);
    assert_eq!(refused(&mut bench, phone, third), 480, "beyond its share it is a call like others");
    bench.harness.run(Duration::from_secs(1));
    let barred = user_calls(&mut bench, phone, "100", &[]);
    assert_eq!(refused(&mut bench, phone, barred), 480, "it has more calls than it may");
}

#[test]
fn the_last_place_is_kept_and_emergency_calls_come_beyond_it_and_while_the_server_drains() {
    let (mut bench, [ann, phone, carrier, _]) = bench("calls = 2", "", "");
    ordinary(&mut bench, ann, carrier);
    let second = bench.harness.call(ann, "100", Some(SESSION));
    assert_eq!(refused(&mut bench, ann, second), 503);
    let mut up = Vec::new();
    for _ in 0..2 {
        up.push(user_calls(&mut bench, phone, "112", &[]));
        bench.harness.answer_next(carrier, SESSION);
        all_talk(&mut bench);
    }
    let third = user_calls(&mut bench, phone, "112", &[]);
    assert_eq!(refused(&mut bench, phone, third), 503, "beyond its share it is a call like others");
    let trusted = bench.harness.call(ann, "112", Some(SESSION));
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(ann, trusted));
    bench.harness.drain();
    let late = bench.harness.call(ann, "911", Some(SESSION));
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(ann, late));
    assert!(up.iter().all(|call| bench.harness.is_up(phone, *call)));
    let ordinary = bench.harness.call(ann, "100", Some(SESSION));
    assert_eq!(refused(&mut bench, ann, ordinary), 503);
    // At the end of the drain, when calls are hung up, no call is accepted.
    bench.harness.hang_up_all();
    let late = bench.harness.call(ann, "112", Some(SESSION));
    assert_eq!(refused(&mut bench, ann, late), 503);
    assert_eq!(bench.parts.board.channels.all(), [], "no channel stays taken");
}

#[test]
fn without_the_table_nothing_is_kept_and_the_number_is_one_like_others() {
    let mut bench = Bench::new(&text("calls = 1", "options_s = 0\nchannels = 1", "", ""));
    let [ann, phone, carrier] = [ANN, PHONE, CARRIER].map(|at| bench.harness.party(at));
    let call = user_calls(&mut bench, phone, "112", &[]);
    assert_eq!(refused(&mut bench, phone, call), 403);
    ordinary(&mut bench, ann, carrier);
    let second = bench.harness.call(ann, "112", Some(SESSION));
    assert_eq!(refused(&mut bench, ann, second), 503);
}

/// Strangers, a gateway whose identities are not trusted, the gateway that takes the calls, and a wrong
/// password.
#[test]
fn who_only_says_the_number_gets_nothing_by_it() {
    let (mut bench, [ann, phone, carrier, backup]) = bench("calls = 3\nsource_challenges_per_s = 5", "", "");
    let stranger = bench.harness.party("203.0.113.9:5060");
    let peer = bench.harness.party(PEER);
    for _ in 0..2 {
        ordinary(&mut bench, ann, carrier);
    }
    bench.harness.wire.clear();
    let start = bench.harness.now();
    // The server is full except for the reserved place.
    let calls: Vec<_> = (0..300)
        .map(|n| {
            let from = format!("<sip:1001@192.0.2.1>;user={n}");
            let invite = Invite {
                target: "sip:112@192.0.2.1".into(),
                from: Some(from.into()),
                body: Some(Body::sdp(SESSION)),
                headers: vec![("P-Asserted-Identity".into(), "<tel:+44112>".into())],
                ..Invite::default()
            };
            bench.harness.invite(stranger, invite)
        })
        .collect();
    let answers = bench.sent_to("203.0.113.9:5060", "SIP/2.0 ");
    let asked = answers.iter().filter(|it| it.starts_with("SIP/2.0 407 ")).count();
    let others =
        answers.iter().filter(|it| !it.starts_with("SIP/2.0 407 ") && !it.starts_with("SIP/2.0 100 "));
    assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
    let budget = 51 + 5 * (bench.harness.now() - start).as_secs() as usize;
    assert!((1..=budget).contains(&asked), "of {} it gets {asked} answers in {budget}", calls.len());
    assert!(asked < calls.len());
    let wrong = user_calls_with(&mut bench, phone, "112", &[], "guess");
    assert_eq!(refused(&mut bench, phone, wrong), 407);
    for party in [peer, carrier] {
        let call = bench.harness.call(party, "112", Some(SESSION));
        assert_eq!(refused(&mut bench, party, call), 503);
    }
    assert!(bench.harness.incoming(carrier).is_empty() && bench.harness.incoming(backup).is_empty());
    assert_eq!(bench.sent_to(CARRIER, "INVITE ").len() + bench.sent_to(BACKUP, "INVITE ").len(), 0);
    // Authorised callers still can.
    let call = user_calls(&mut bench, phone, "112", &[]);
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(phone, call));
}

#[test]
fn so_many_at_once_pass_the_limits_and_those_beyond_have_those_of_others() {
    let emergency = format!("{EMERGENCY}calls = 2\n");
    let mut bench = Bench::new(&text("", "options_s = 0\nchannels = 4", "max_calls = 3", &emergency));
    let [phone, carrier] = [PHONE, CARRIER].map(|at| bench.harness.party(at));
    for _ in 0..3 {
        let call = user_calls(&mut bench, phone, "112", &[]);
        bench.harness.answer_next(carrier, SESSION);
        assert!(bench.harness.is_up(phone, call), "the third has the same way, whatever its class may");
    }
    let fourth = user_calls(&mut bench, phone, "112", &[]);
    assert_eq!(refused(&mut bench, phone, fourth), 480);
}

#[test]
fn the_caller_is_told_though_it_wants_to_stay_unknown_and_where_it_is() {
    let (mut bench, [_, phone, carrier, _]) =
        bench("", "identity = [\"pai\"]", "caller_id = \"+442071838750\"");
    let private = [("Privacy", "id"), ("Geolocation", "<https://lis.example/7>"), ("X-Own", "no")];
    let call = user_calls(&mut bench, phone, "112", &private);
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(phone, call));
    let invite = bench.sent_to(CARRIER, "INVITE ").pop().expect("an INVITE");
    let from = invite.lines().find(|line| line.starts_with("From: ")).expect("From");
    assert!(from.starts_with("From: <sip:+442071838750@"), "{from}");
    assert!(invite.contains("\r\nP-Asserted-Identity: <sip:+442071838750@192.0.2.21>\r\n"), "{invite}");
    assert!(invite.contains("\r\nGeolocation: <https://lis.example/7>\r\n"), "{invite}");
    assert!(
        !invite.contains("Privacy") && !invite.contains("onymous") && !invite.contains("X-Own"),
        "{invite}"
    );
}

#[test]
fn a_gateway_that_is_down_is_the_last_resort_and_every_refusal_leads_on() {
    let mut bench = Bench::new(&text("", "options_s = 5", "", EMERGENCY));
    let [ann, phone, backup] = [ANN, PHONE, BACKUP].map(|at| bench.harness.party(at));
    let carrier = bench.harness.party(CARRIER);
    bench.harness.kill(carrier);
    bench.harness.run(Duration::from_secs(60));
    let (_, state, _) = bench.parts.board.snapshot().into_iter().find(|it| it.0 == "carrier").expect("known");
    assert!(!state.is_up());
    let ordinary = bench.harness.call(ann, "100", Some(SESSION));
    assert_eq!(refused(&mut bench, ann, ordinary), 503);
    bench.harness.revive(carrier);
    bench.harness.wire.clear();
    let mut events = bench.harness.bus().subscribe();
    let call = user_calls(&mut bench, phone, "112", &[]);
    assert_eq!(bench.sent_to(CARRIER, "INVITE ").len(), 0, "whoever is up comes first");
    let asked = bench.harness.next_call(backup);
    bench.harness.reject(backup, asked, 603);
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(phone, call));
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv())
        .filter_map(|received| match received {
            Received::Event(published) => match &published.event {
                Event::EmergencyCall(it) => Some((it.caller.clone(), it.number.clone(), it.gateway.clone())),
                _ => None,
            },
            Received::Lagged(_) => None,
        })
        .collect();
    let by = |gateway: &str| ("1001".to_owned(), "112".to_owned(), gateway.to_owned());
    assert_eq!(told, [by("backup"), by("carrier")]);
}

#[test]
fn it_lasts_for_as_long_as_its_parties_want_and_rings_for_three_minutes() {
    let (mut bench, [ann, phone, carrier, _]) = bench("call_s = 60\nring_s = 20", "", "");
    let usual = ordinary(&mut bench, ann, carrier);
    let call = user_calls(&mut bench, phone, "112", &[]);
    let asked = bench.harness.next_call(carrier);
    bench.harness.ring(carrier, asked, 180, None);
    bench.harness.run(Duration::from_secs(150));
    assert!(!bench.harness.is_up(ann, usual));
    bench.harness.answer(carrier, asked, Some(SESSION));
    assert!(bench.harness.is_up(phone, call));
    bench.harness.run(Duration::from_secs(600));
    assert!(bench.harness.is_up(phone, call));
    assert_eq!(bench.sent_to(CARRIER, "INVITE ").pop().map(|it| it.contains("Session-Expires")), Some(false));
    let answers = bench.sent_to(PHONE, "SIP/2.0 200");
    assert!(!answers.iter().any(|it| it.contains("Session-Expires")), "no refresh can end it");
    bench.harness.hang_up(phone, call);
    bench.harness.assert_nothing_left();
}

/// 30 users behind one address, and a stolen password whose calls for help nobody answers.
#[test]
fn while_a_stolen_password_floods_the_number_every_other_user_reaches_the_carrier() {
    let users: String = (0..30)
        .map(|n| {
            format!(
                "[[user]]\nname = \"20{n:02}\"\npassword = \"secret\"\nclass = \"barred\"\nmax_calls = 1\n"
            )
        })
        .collect();
    let limits =
        "calls = 10\ncalls_per_s = 2\nuser_calls_per_s = 2\nsource_calls = 4\nsource_calls_per_s = 3";
    let carrier = "options_s = 0\nchannels = 3\ncalls_per_s = 1";
    let mut bench = Bench::new(&text(limits, carrier, "", &format!("{EMERGENCY}{users}")));
    let [thief, office, _carrier] = ["203.0.113.66:5060", PHONE, CARRIER].map(|at| bench.harness.party(at));
    let of = |bench: &Bench, user: &str| {
        let from = format!("<sip:{user}@");
        let sent = bench.sent_to(CARRIER, "INVITE ");
        let calls = sent.iter().filter(|invite| invite.contains(&from));
        calls
            .map(|invite| invite.lines().find(|line| line.starts_with("Call-ID:")))
            .collect::<std::collections::HashSet<_>>()
            .len()
    };
    let start = bench.harness.now();
    for n in 0..30 {
        for _ in 0..10 {
            user_calls(&mut bench, thief, "112", &[]);
        }
        let user = format!("20{n:02}");
        calls_as(&mut bench, office, (&user, "secret"), "112", &[]);
        assert_eq!(of(&bench, &user), 1, "{user} reaches the carrier");
        bench.harness.run(Duration::from_millis(100));
    }
    let seconds = (bench.harness.now() - start).as_secs() as usize + 1;
    let flood = of(&bench, "1001");
    // Its burst, one a second beyond it, and the ordinary calls that its limits leave.
    assert!(flood <= 3 + seconds + 4, "{flood} of 300 in {seconds} s");
    assert!(bench.parts.board.channels.urgent("user/1001") <= 2);
}

#[test]
fn a_redial_takes_the_place_of_an_attempt_of_the_same_user() {
    let (mut bench, [_, phone, carrier, _]) = bench("", "", "max_calls = 1");
    let first = user_calls(&mut bench, phone, "112", &[]);
    let asked = bench.harness.next_call(carrier);
    bench.harness.ring(carrier, asked, 180, None);
    let second = user_calls(&mut bench, phone, "112", &[]);
    bench.harness.answer_next(carrier, SESSION);
    all_talk(&mut bench);
    let third = user_calls(&mut bench, phone, "112", &[]);
    bench.harness.answer_next(carrier, SESSION);
    assert_eq!(refused(&mut bench, phone, first), 480);
    assert_eq!(bench.sent_to(CARRIER, "CANCEL ").len(), 1);
    assert!(bench.harness.is_up(phone, second) && bench.harness.is_up(phone, third));
    // The third has no media: the fourth takes its place, not that of a conversation.
    bench.harness.run(Duration::from_secs(3));
    let fourth = user_calls(&mut bench, phone, "112", &[]);
    bench.harness.answer_next(carrier, SESSION);
    all_talk(&mut bench);
    assert!(bench.harness.is_up(phone, second) && bench.harness.is_up(phone, fourth));
    assert!(!bench.harness.is_up(phone, third));
    bench.harness.run(Duration::from_secs(3));
    let fifth = user_calls(&mut bench, phone, "112", &[]);
    assert_eq!(refused(&mut bench, phone, fifth), 480, "both talk");
    for call in [second, fourth] {
        bench.harness.hang_up(phone, call);
    }
    bench.harness.assert_nothing_left();
    assert_eq!(bench.parts.board.channels.all(), []);
}

#[test]
fn the_last_rtp_ports_are_for_emergency_calls() {
    let (mut bench, [ann, phone, carrier, _]) = bench("[media]\nports = \"20000-20031\"", "", "");
    for _ in 0..7 {
        ordinary(&mut bench, ann, carrier);
    }
    let eighth = bench.harness.call(ann, "100", Some(SESSION));
    assert_eq!(refused(&mut bench, ann, eighth), 503);
    let call = user_calls(&mut bench, phone, "112", &[]);
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(phone, call));
}

#[test]
fn the_last_rtp_ports_are_for_who_has_no_other_emergency_call() {
    let users = "[[user]]\nname = \"1002\"\npassword = \"secret\"\nclass = \"barred\"\n";
    let emergency = format!("[media]\nports = \"20000-20063\"\n{EMERGENCY}{users}");
    let mut bench = Bench::new(&text("", "options_s = 0", "", &emergency));
    let [ann, phone, carrier] = [ANN, PHONE, CARRIER].map(|at| bench.harness.party(at));
    for _ in 0..14 {
        ordinary(&mut bench, ann, carrier);
    }
    let first = user_calls(&mut bench, phone, "112", &[]);
    bench.harness.answer_next(carrier, SESSION);
    all_talk(&mut bench);
    let second = user_calls(&mut bench, phone, "112", &[]);
    assert_eq!(refused(&mut bench, phone, second), 503, "it has one");
    let other = calls_as(&mut bench, phone, ("1002", "secret"), "112", &[]);
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(phone, first) && bench.harness.is_up(phone, other));
}

#[test]
fn an_emergency_call_ends_by_silence_once_neither_rtp_nor_rtcp_comes_from_anybody() {
    let (mut bench, [_, phone, carrier, _]) = bench("", "", "");
    let call = user_calls(&mut bench, phone, "112", &[]);
    bench.harness.answer_next(carrier, SESSION);
    // The caller's endpoint comes first; the service sends RTP, then RTCP only, then nothing.
    let counted = |bench: &Bench, rtp: u64, rtcp: u32| {
        let mut stats = EndpointStats::new(bench.harness.now());
        (stats.received.packets, stats.rtcp.received) = (rtp, rtcp);
        bench.harness.media().set_stats(EndpointId(2), stats);
    };
    counted(&bench, 500, 3);
    bench.harness.media_event(MediaEvent::Timeout { endpoint: EndpointId(1) });
    for n in 1..=20 {
        counted(&bench, 500 + 50 * n.min(10), 3 + n as u32);
        bench.harness.run(Duration::from_secs(50));
        assert!(bench.harness.is_up(phone, call), "{n}");
    }
    bench.harness.run(Duration::from_secs(300));
    assert!(!bench.harness.is_up(phone, call));
    assert_eq!(bench.sent_to(PHONE, "BYE ").len(), 1);
    assert_eq!(bench.sent_to(CARRIER, "BYE ").len(), 1);
    bench.harness.assert_nothing_left();
}
