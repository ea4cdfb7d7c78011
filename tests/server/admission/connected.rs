//! Identities of the connected party as given by gateways during a call, some of them false.

use b2b::sip::endpoint::{Body, HeaderFields};
use b2b_testkit::SESSION;
use bytes::Bytes;

use super::bench::Bench;

const BOB: &str = "192.0.2.12:5060";
const CARRIER: &str = "192.0.2.21:5060";

/// The identities that Bob receives when the carrier claims to be Bob's bank.
fn told(trust: &str) -> Vec<String> {
    let mut bench = Bench::new(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{CARRIER}\"]\nsources = [\"192.0.2.21\"]\noptions_s = 0\n{trust}\
         [[route]]\nto = \"sip:bob@{BOB}\"\nmode = \"transparent\"\n"
    ));
    let (carrier, bob) = (bench.harness.party(CARRIER), bench.harness.party(BOB));
    let call = bench.harness.call(carrier, "bob", Some(SESSION));
    let theirs = bench.harness.answer_next(bob, SESSION);
    let says = |number: &str| -> HeaderFields {
        let bank = Bytes::from(format!("\"Your Bank\" <sip:{number}@carrier.example>"));
        let party: Bytes = format!("\"Your Bank\" <sip:{number}@carrier.example>;party=calling").into();
        vec![("P-Asserted-Identity".into(), bank), ("Remote-Party-ID".into(), party)]
    };
    let now = bench.harness.now();
    bench.harness.endpoint(carrier).update_with(now, call, says("7777"), None).expect("it is up");
    bench.harness.settle();
    let offer = Body::sdp(format!("{SESSION}a=sendonly\r\n"));
    bench.harness.endpoint(carrier).reinvite_with(now, call, says("8888"), Some(offer)).expect("it is up");
    bench.harness.settle();
    bench.harness.answer(bob, theirs, Some(&format!("{SESSION}a=recvonly\r\n")));
    assert!(bench.harness.is_up(carrier, call));
    let asked = [bench.sent_to(BOB, "UPDATE "), bench.sent_to(BOB, "INVITE ")].concat();
    let fields = asked.iter().flat_map(|it| it.lines()).filter(|line| line.contains("Your Bank"));
    fields.map(str::to_owned).collect()
}

#[test]
fn only_a_trusted_gateway_is_believed_who_its_party_is_while_the_call_is_up() {
    assert_eq!(told(""), [""; 0]);
    assert_eq!(told("trust_identity = false\n"), [""; 0]);
    let believed = told("trust_identity = true\n");
    for number in ["7777", "8888"] {
        let line = format!("P-Asserted-Identity: \"Your Bank\" <sip:{number}@");
        assert!(believed.iter().any(|it| it.starts_with(&line)), "{number}: {believed:?}");
    }
}
