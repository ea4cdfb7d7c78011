//! The identity of callers: users by their password, gateways by their address.

use std::task::{Context, Waker};
use std::time::Duration;

use b2b::call::service::ReferRequest;
use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::endpoint::{Body, Invite, Termination};
use b2b::sip::msg::Method;
use b2b_testkit::SESSION;

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const BOB: &str = "192.0.2.12:5060";
const CARRIER: &str = "192.0.2.21:5060";

#[test]
fn a_user_is_who_their_password_says_whatever_from_says() {
    let mut bench = Bench::new(&format!(
        "[[user]]\nname = \"1001\"\npassword = \"secret\"\n\
         [[user]]\nname = \"1002\"\npassword = \"secret\"\ncaller_id = \"+442079460000\"\n\
         [[route]]\nto = \"sip:bob@{BOB}\"\n"
    ));
    let (ann, _bob) = (bench.harness.party(ANN), bench.harness.party(BOB));
    for (user, shown) in [("1001", "1001"), ("1002", "+442079460000")] {
        let target = "sip:200@192.0.2.1";
        let invite = |digest: Authorized| Invite {
            target: target.into(),
            from: Some("<sip:999@police.example>".into()),
            body: Some(Body::sdp(SESSION)),
            headers: digest.headers,
            ..Invite::default()
        };
        let asked = bench.harness.invite(ann, invite(Authorized::default()));
        let Some(Termination::Failed { response }) = bench.harness.ended(ann, asked) else {
            panic!("no 407")
        };
        let mut digest = DigestClient::new(user, "secret", [9; 32]);
        digest.challenged(&response, &Authorized::default()).expect("a challenge");
        bench.harness.invite(ann, invite(digest.authorize(&Method::Invite, target.as_bytes())));
        let told = bench.sent_to(BOB, "INVITE ").pop().expect("an INVITE");
        let from = told.lines().find(|line| line.starts_with("From: ")).expect("From");
        assert!(from.starts_with(&format!("From: <sip:{shown}@")), "{from}");
    }
}

#[test]
fn a_gateway_that_calls_is_offered_no_codec_but_its_own() {
    let mut bench = Bench::new(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{CARRIER}\"]\nsources = [\"192.0.2.21\"]\n\
         codecs = [\"pcmu\"]\noptions_s = 0\n[[route]]\nto = \"sip:bob@{BOB}\"\nmode = \"transparent\"\n"
    ));
    let (carrier, bob) = (bench.harness.party(CARRIER), bench.harness.party(BOB));
    let call = bench.harness.call(carrier, "bob", Some(SESSION));
    let theirs = bench.harness.answer_next(bob, SESSION);
    assert!(bench.harness.is_up(carrier, call));
    let now = bench.harness.now();
    let again = Body::sdp(SESSION.replace(" 8 0 101", " 0 8 101"));
    bench.harness.endpoint(bob).reinvite(now, theirs, Some(again)).expect("it is up");
    bench.harness.settle();
    let told = bench.sent_to(CARRIER, "INVITE ").pop().expect("a re-INVITE");
    let line = told.lines().find(|line| line.starts_with("m=audio")).expect("audio");
    assert!(line.ends_with("RTP/AVP 0 101"), "{line}");
}

#[test]
fn records_name_the_gateway_that_a_leg_came_from_or_went_to() {
    let mut bench = Bench::new(&format!(
        "[server]\ntrusted = [\"192.0.2.12\"]\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{CARRIER}\"]\nsources = [\"192.0.2.21\"]\noptions_s = 0\n\
         [[route]]\nsource = \"gateway/carrier\"\nto = \"sip:bob@{BOB}\"\n[[route]]\nto = \"gateway/carrier\"\n"
    ));
    let (carrier, bob) = (bench.harness.party(CARRIER), bench.harness.party(BOB));
    for (from, to) in [(carrier, bob), (bob, carrier)] {
        let call = bench.harness.call(from, "100", Some(SESSION));
        bench.harness.answer_next(to, SESSION);
        bench.harness.hang_up(from, call);
        let records = bench.harness.records();
        let gateway = |party| (party == carrier).then(|| "carrier".to_owned());
        let named: Vec<_> = records.iter().map(|record| record.gateway.clone()).collect();
        assert_eq!(named, [gateway(from), gateway(to)], "who hangs up is over first");
    }
}

#[test]
fn a_user_may_say_another_name_for_those_they_talk_with_and_no_other_number() {
    let mut bench = Bench::new(
        "[server]\ntrusted = [\"192.0.2.11\"]\ndomains = [\"192.0.2.1\"]\n\
         [[user]]\nname = \"1001\"\npassword = \"a good secret\"\n[[route]]\nto = \"user/1001\"\n",
    );
    let (ann, bob) = (bench.harness.party(ANN), bench.harness.party(BOB));
    assert_eq!(bench.register(bob, "1001", "a good secret", 600), 200);
    bench.harness.call(ann, "1001", Some(SESSION));
    let theirs = bench.harness.answer_next(bob, SESSION);
    let now = bench.harness.now();
    let says = vec![("P-Asserted-Identity".into(), "\"The Boss\" <sip:110@police.example>".into())];
    bench.harness.endpoint(bob).update_with(now, theirs, says, None).expect("it is up");
    bench.harness.settle();
    let told = bench.sent_to(ANN, "UPDATE ").pop().expect("an UPDATE");
    let asserted =
        told.lines().find_map(|line| line.strip_prefix("P-Asserted-Identity: ")).expect("who it is");
    assert!(asserted.starts_with("\"The Boss\" <sip:1001@"), "{asserted}");
}

#[test]
fn who_is_sent_away_by_refer_is_told_by_whom_unless_that_stays_unknown() {
    for (privacy, told) in [("none", true), ("id", false)] {
        let mut bench = Bench::new(&format!(
            "[server]\ntrusted = [\"192.0.2.11\"]\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"{CARRIER}\"]\noptions_s = 0\n[[route]]\nto = \"gateway/carrier\"\n"
        ));
        let (ann, carrier) = (bench.harness.party(ANN), bench.harness.party(CARRIER));
        let invite = Invite {
            target: "sip:200@192.0.2.1".into(),
            from: Some("<sip:1234@pbx.example>".into()),
            body: Some(Body::sdp(SESSION)),
            headers: vec![("Privacy".into(), privacy.into())],
            ..Invite::default()
        };
        bench.harness.invite(ann, invite);
        bench.harness.answer_next(carrier, SESSION);
        let leg =
            bench.harness.snapshot()[0].legs.iter().find(|leg| leg.contact.is_none()).expect("Ann's").leg;
        let service = bench.harness.service();
        let request = ReferRequest { to: "tel:+4930123".to_owned(), headers: Vec::new(), own: false };
        let mut asks = Box::pin(async move { service.refer(leg, request).await });
        assert!(asks.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        bench.harness.wait(Duration::from_secs(1), std::future::ready(()));
        bench.harness.settle();
        let refer = bench.sent_to(CARRIER, "REFER ").pop().expect("a REFER");
        let by = refer.lines().find(|line| line.starts_with("Referred-By: "));
        assert_eq!(by.is_some_and(|it| it.contains("sip:1234@")), told, "{refer}");
        assert_eq!(by.is_some(), told, "{refer}");
    }
}
