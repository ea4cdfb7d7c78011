//! The refresher of sessions in calls of a gateway (RFC 4028), and which calls request a timer.

use std::time::Duration;

use b2b::sip::endpoint::{Invite, SessionRefresher, SessionTimers};
use b2b_testkit::{B2B, Body, PartyId, SESSION};

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const BOB: &str = "192.0.2.12:5060";
const ONE: &str = "192.0.2.21:5060";

struct Trunk {
    bench: Bench,
    ann: PartyId,
    carrier: PartyId,
}

impl Trunk {
    fn new(gateway: &str) -> Trunk {
        let mut bench = Bench::new(&format!(
            "[server]\ntrusted = [\"192.0.2.11\"]\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"{ONE}\"]\nsources = [\"192.0.2.21\"]\noptions_s = 0\n{gateway}\n\
             [[route]]\ncalled = \"200\"\nto = [\"sip:ann@{ANN}\"]\n[[route]]\nto = [\"gateway/carrier\"]\n"
        ));
        let timers = SessionTimers { expires: 600, min_se: 90 };
        let ann = bench.harness.party_with(ANN, |config| config.session_timers = None);
        let carrier = bench.harness.party_with(ONE, |config| config.session_timers = Some(timers));
        Trunk { bench, ann, carrier }
    }

    /// The value of Session-Expires in a message sent this way.
    fn said(&self, from: &str, to: &str, begins: &str) -> Option<String> {
        let at = |text: &str| text.parse().expect("an address");
        let mut sent = self.bench.harness.wire.iter();
        let found = sent.find(|it| it.from == at(from) && it.to == at(to) && it.line().starts_with(begins));
        found.unwrap_or_else(|| panic!("no {begins}")).field("Session-Expires")
    }

    /// Ann calls; returns the value in the INVITE to the carrier.
    fn out(&mut self) -> Option<String> {
        self.bench.harness.call(self.ann, "100", Some(SESSION));
        self.bench.harness.answer_next(self.carrier, SESSION);
        self.said(B2B, ONE, "INVITE")
    }

    /// The carrier calls, and names this refresher; returns the value in our 2xx.
    fn inward(&mut self, refresher: SessionRefresher) -> Option<String> {
        let (target, body) = (format!("sip:200@{B2B}").into(), Some(Body::sdp(SESSION)));
        self.bench.harness.invite(self.carrier, Invite { target, body, refresher, ..Invite::default() });
        self.bench.harness.answer_next(self.ann, SESSION);
        self.said(B2B, ONE, "SIP/2.0 200")
    }

    /// Number of refreshes sent by b2b, and by the carrier.
    fn refreshes(&mut self) -> (usize, usize) {
        self.bench.harness.wire.clear();
        self.bench.harness.run(Duration::from_secs(1_000));
        let from = |from: &str| {
            let from = from.parse().expect("an address");
            self.bench
                .harness
                .wire
                .iter()
                .filter(|it| it.from == from && it.line().starts_with("UPDATE"))
                .count()
        };
        (from(B2B), from(ONE))
    }
}

#[test]
fn calls_to_a_gateway_name_who_refreshes_and_it_is_so() {
    for (key, said, refreshes) in [
        ("", "1800", (3, 0)),
        ("session_refresher = \"auto\"", "1800", (3, 0)),
        ("session_refresher = \"us\"", "1800;refresher=uac", (3, 0)),
        ("session_refresher = \"them\"", "1800;refresher=uas", (0, 3)),
    ] {
        let mut trunk = Trunk::new(key);
        assert_eq!(trunk.out().as_deref(), Some(said), "{key}");
        assert_eq!(trunk.refreshes(), refreshes, "{key}");
    }
}

#[test]
fn a_call_of_the_gateways_is_refreshed_by_whom_it_names_and_else_as_is_written() {
    use SessionRefresher::{Either, Them, Us};
    for (key, named, said, refreshes) in [
        ("", Either, "600;refresher=uac", (0, 3)),
        ("session_refresher = \"them\"", Either, "600;refresher=uac", (0, 3)),
        ("session_refresher = \"us\"", Either, "600;refresher=uas", (3, 0)),
        // It insists (§9: the refresher chosen by the UAC stays).
        ("session_refresher = \"us\"", Us, "600;refresher=uac", (0, 3)),
        ("session_refresher = \"them\"", Them, "600;refresher=uas", (3, 0)),
    ] {
        let mut trunk = Trunk::new(key);
        assert_eq!(trunk.inward(named).as_deref(), Some(said), "{key} {named:?}");
        assert_eq!(trunk.refreshes(), refreshes, "{key} {named:?}");
    }
}

#[test]
fn a_gateway_that_gets_no_re_invites_gets_no_refreshes_either() {
    let mut trunk = Trunk::new("reinvites = false");
    assert_eq!(trunk.out(), None);
    assert_eq!(trunk.refreshes().0, 0);
    // It wants the callee to refresh, which then keeps no timer (RFC 4028 §9).
    let mut trunk = Trunk::new("reinvites = false");
    assert_eq!(trunk.inward(SessionRefresher::Them), None);
    assert_eq!(trunk.refreshes().0, 0);
}

#[test]
fn a_gateway_that_answers_for_itself_is_followed() {
    let mut trunk = Trunk::new("session_refresher = \"us\"");
    trunk.bench.harness.change_messages(|message| {
        if message.starts_with("SIP/2.0 200") && message.contains("INVITE") {
            message.replace("600;refresher=uac", "600;refresher=uas")
        } else {
            message.to_owned()
        }
    });
    trunk.out();
    assert_eq!(trunk.refreshes(), (0, 0), "both think that it is the other one");
}

#[test]
fn calls_to_a_users_phone_ask_for_a_timer_unless_its_table_says_no() {
    for (key, asks) in [("", true), ("session_timers = true", true), ("session_timers = false", false)] {
        let mut bench = Bench::new(&format!(
            "[server]\ntrusted = [\"192.0.2.11\"]\ndomains = [\"192.0.2.1\"]\n[[user]]\nname = \"1001\"\npassword = \"a good secret\"\n{key}\n\
             [[route]]\nto = [\"user/1001\"]\n"
        ));
        let (ann, bob) = (bench.harness.party(ANN), bench.harness.party(BOB));
        assert_eq!(bench.register(bob, "1001", "a good secret", 600), 200);
        bench.harness.call(ann, "100", Some(SESSION));
        let [invite] = &*bench.sent_to(BOB, "INVITE") else { panic!("one INVITE") };
        assert_eq!(invite.contains("\r\nSession-Expires: 1800\r\n"), asks, "{invite}");
        let supported = invite.lines().find(|line| line.starts_with("Supported: ")).expect("Supported");
        assert_eq!(supported.contains("timer"), asks, "{invite}");
    }
}
