//! Who calls: users by their password, gateways by their address.

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::endpoint::{Body, Invite, Termination};
use b2b::sip::msg::Method;
use b2b_testkit::SESSION;

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const BOB: &str = "192.0.2.12:5060";
const CARRIER: &str = "192.0.2.21:5060";

#[test]
fn a_user_is_who_his_password_says_whatever_from_says() {
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
