//! Limits of calls: simultaneous calls, calls per second, duration.

use std::time::Duration;

use b2b::sip::endpoint::{SessionTimers, Termination, UsageId};
use b2b_testkit::{PartyId, SESSION};

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const BOB: &str = "192.0.2.12:5060";

/// All addresses are trusted, and every number leads to Bob.
fn to_bob(limits: &str) -> (Bench, PartyId, PartyId) {
    let mut bench = Bench::new(&format!(
        "[server]\ntrusted = [\"192.0.2.0/24\"]\n[limits]\n{limits}\n[[route]]\nto = \"sip:bob@{BOB}\"\n"
    ));
    let (ann, bob) = (bench.harness.party(ANN), bench.harness.party(BOB));
    (bench, ann, bob)
}

fn call(bench: &mut Bench, from: PartyId, to: PartyId) -> UsageId {
    let call = bench.harness.call(from, "bob", Some(SESSION));
    bench.harness.answer_next(to, SESSION);
    assert!(bench.harness.is_up(from, call));
    call
}

fn refused(bench: &mut Bench, from: PartyId, number: &str) -> String {
    let call = bench.harness.call(from, number, Some(SESSION));
    match bench.harness.ended(from, call) {
        Some(Termination::Failed { response }) => String::from_utf8_lossy(response.as_bytes()).into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_ends_when_it_has_lasted_for_as_long_as_it_may_and_both_are_told_why() {
    let (mut bench, ann, bob) = to_bob("call_s = 60");
    let call = call(&mut bench, ann, bob);
    bench.harness.run(Duration::from_secs(58));
    assert!(bench.harness.is_up(ann, call));
    bench.harness.run(Duration::from_secs(3));
    assert!(!bench.harness.is_up(ann, call));
    for party in [ANN, BOB] {
        let [bye] = bench.sent_to(party, "BYE ").try_into().expect("one BYE");
        assert!(bye.contains("\r\nReason: Q.850;cause=102"), "{bye}");
    }
    assert_eq!(bench.harness.counters().too_long, 1);
    let records = bench.harness.records();
    assert_eq!(records.iter().map(|record| record.ending.q850).collect::<Vec<_>>(), [102, 102]);
    bench.harness.assert_nothing_left();
}

/// The Session-Expires that Ann receives after requesting this many seconds.
fn agreed(bench: &mut Bench, ann: PartyId, bob: PartyId) -> Option<String> {
    let now = bench.harness.wire.len();
    call(bench, ann, bob);
    let ok = bench
        .harness
        .wire
        .iter()
        .skip(now)
        .find(|it| it.line() == "SIP/2.0 200 OK" && it.to == ANN.parse().unwrap());
    ok.expect("a 200").field("Session-Expires")
}

#[test]
fn session_timers_are_as_configured_and_a_reload_changes_those_of_new_calls_alone() {
    let text = |timers: &str| {
        format!("[server]\ntrusted = [\"192.0.2.0/24\"]\n{timers}\n[[route]]\nto = \"sip:bob@{BOB}\"\n")
    };
    let mut bench = Bench::new(&text(""));
    let timers = |expires| Some(SessionTimers { expires, min_se: 90 });
    let ann = bench.harness.party_with(ANN, |config| config.session_timers = timers(300));
    let bob = bench.harness.party_with(BOB, |config| config.session_timers = None);
    let old = call(&mut bench, ann, bob);
    bench.reload(&text("session_expires_s = 700\nmin_se_s = 600"));
    // 422 with Min-SE: 600, and Ann tries again.
    assert_eq!(agreed(&mut bench, ann, bob).as_deref(), Some("600;refresher=uac"));
    let [first, .., last] = &*bench.sent_to(BOB, "INVITE ") else { panic!("two INVITEs") };
    assert!(first.contains("\r\nSession-Expires: 1800\r\n"), "{first}");
    assert!(last.contains("\r\nSession-Expires: 700\r\nMin-SE: 600\r\n"), "{last}");
    let refused = bench.sent_to(ANN, "SIP/2.0 422 ");
    assert!(matches!(&*refused, [one] if one.contains("\r\nMin-SE: 600\r\n")), "{refused:?}");
    // The established call is refreshed every 150 s as agreed.
    bench.harness.wire.clear();
    bench.harness.run(Duration::from_secs(200));
    assert!(bench.harness.is_up(ann, old));
    let kept: Vec<_> = bench.harness.wire.iter().filter(|it| it.to == ANN.parse().unwrap()).collect();
    assert!(matches!(&*kept, [one] if one.line() == "SIP/2.0 200 OK"
        && one.field("Session-Expires").as_deref() == Some("300;refresher=uac")));
}

#[test]
fn a_call_more_than_fit_is_503_with_retry_after_until_one_ends() {
    let (mut bench, ann, bob) = to_bob("calls = 1");
    let first = call(&mut bench, ann, bob);
    let refusal = refused(&mut bench, ann, "bob");
    assert!(refusal.starts_with("SIP/2.0 503 ") && refusal.contains("\r\nRetry-After: "), "{refusal}");
    bench.harness.hang_up(ann, first);
    call(&mut bench, ann, bob);
}

#[test]
fn more_calls_in_a_second_than_allowed_are_503_with_retry_after_and_the_next_second_is_better() {
    let (mut bench, ann, bob) = to_bob("calls_per_s = 2");
    let (first, second) = (call(&mut bench, ann, bob), call(&mut bench, ann, bob));
    let refusal = refused(&mut bench, ann, "bob");
    assert!(refusal.starts_with("SIP/2.0 503 ") && refusal.contains("\r\nRetry-After: 1\r\n"), "{refusal}");
    assert_eq!(bench.counted().over_rate, 1);
    bench.harness.run(Duration::from_secs(1));
    call(&mut bench, ann, bob);
    assert!(bench.harness.is_up(ann, first) && bench.harness.is_up(ann, second));
}

#[test]
fn a_gateway_without_a_free_channel_is_passed_over_and_refused_when_it_was_the_last() {
    let (carrier, spare) = ("192.0.2.21:5060", "192.0.2.22:5060");
    let mut bench = Bench::new(&format!(
        "[server]\ntrusted = [\"{}\"]\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{carrier}\"]\nsources = [\"192.0.2.21\"]\nchannels = 1\n\
         [[gateway]]\nname = \"spare\"\nhosts = [\"{spare}\"]\nchannels = 1\n\
         [[route]]\nsource = \"gateway/carrier\"\nto = \"sip:bob@{BOB}\"\n\
         [[route]]\nto = [\"gateway/carrier\", \"gateway/spare\"]\n",
        "192.0.2.11"
    ));
    let [ann, carrier, spare] = [ANN, carrier, spare].map(|at| bench.harness.party(at));
    let first = bench.harness.call(ann, "100", Some(SESSION));
    bench.harness.answer_next(carrier, SESSION);
    let second = bench.harness.call(ann, "100", Some(SESSION));
    bench.harness.answer_next(spare, SESSION);
    assert!(bench.harness.is_up(ann, first) && bench.harness.is_up(ann, second));
    assert!(refused(&mut bench, ann, "100").starts_with("SIP/2.0 503 "));
    // Its channels count in both directions.
    let refusal = refused(&mut bench, carrier, "bob");
    assert!(refusal.starts_with("SIP/2.0 503 "), "{refusal}");
    assert!(
        refusal.contains("\r\nRetry-After: ") && refusal.contains("\r\nReason: Q.850;cause=34"),
        "{refusal}"
    );
    bench.harness.hang_up(ann, first);
    let third = bench.harness.call(ann, "100", Some(SESSION));
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(ann, third));
    for call in [second, third] {
        bench.harness.hang_up(ann, call);
    }
    assert_eq!(bench.parts.board.channels.all(), [], "no channel stays taken");
}
