//! Calls of scenarios in virtual time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::effects::{CallEffect, CallEvent, Happening};
use super::fields::Fields;
use super::instance::Instance;
use super::known::Place;
use super::read::parse;
use crate::load::holding::Holding;
use crate::load::party::Outcome;
use b2b_sip::msg::{Limits, Message};

/// A call whose time the test controls.
pub(super) struct Scene {
    call: Instance,
    now: Instant,
    wake: Option<Instant>,
    pub(super) sent: Vec<String>,
    happened: Vec<Happening>,
    pub(super) logged: Vec<String>,
    pub(super) outcome: Option<Outcome>,
    gone: bool,
    pub(super) stopped: bool,
}

const HEAD: &str = "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nFrom: <sip:a@[local_ip]>;tag=f\n\
                    To: <sip:b@[remote_ip]>[peer_tag_param]\nCall-ID: [call_id]\n";
const REPLY: &str =
    "[last_Via:]\n[last_From:]\n[last_To:];tag=t\n[last_Call-ID:]\n[last_CSeq:]\n[last_Nothing:] X\n";

impl Scene {
    pub(super) fn new(steps: &str, call_id: Option<&str>) -> Scene {
        let text =
            format!("<scenario>\n{}\n</scenario>", steps.replace("HEAD", HEAD).replace("REPLY", REPLY));
        let fields = Fields::made("users.csv", "SEQUENTIAL\n1000;b [call_number]\n").unwrap();
        let line = fields.lines(1, || 0);
        let scenario = parse(Path::new("made.xml"), &text, &BTreeMap::new(), fields).unwrap();
        let place = Place {
            number: 1,
            began: Instant::now(),
            run: 7,
            local: ([127, 0, 0, 1], 5_061).into(),
            remote: ([127, 0, 0, 2], 5_060).into(),
            remote_host: "b.example".to_owned(),
            service: "1000".to_owned(),
            media: ([127, 0, 0, 1], 6_000).into(),
            account: Some(("ann".to_owned(), "secret".to_owned())),
            fields: line,
        };
        let call_id = call_id.map(|it| Bytes::copy_from_slice(it.as_bytes()));
        let chance = SmallRng::seed_from_u64(1);
        let call = Instance::new(Arc::new(scenario), place, call_id, Holding::Fixed(2.0), chance);
        let mut scene = Scene {
            call,
            now: Instant::now(),
            wake: None,
            sent: Vec::new(),
            happened: Vec::new(),
            logged: Vec::new(),
            outcome: None,
            gone: false,
            stopped: false,
        };
        scene.step(CallEvent::Begin);
        scene
    }

    fn step(&mut self, event: CallEvent) {
        let mut out = Vec::new();
        self.call.step(self.now, event, &mut out);
        for effect in out {
            match effect {
                CallEffect::Send(message) => self.sent.push(String::from_utf8(message.to_vec()).unwrap()),
                CallEffect::WakeAt(at) => self.wake = Some(at),
                CallEffect::Log(text) => self.logged.push(text),
                CallEffect::Happened(what) => self.happened.push(what),
                CallEffect::Over(outcome) => self.outcome = Some(outcome),
                CallEffect::Gone => self.gone = true,
                CallEffect::StopRun => self.stopped = true,
                CallEffect::Media(..) => {}
            }
        }
    }

    /// Delivers a message: its first line, CSeq, and further lines.
    pub(super) fn comes(&mut self, first: &str, cseq: &str, more: &str) {
        let call_id = String::from_utf8(self.call.call_id().to_vec()).unwrap();
        let text = format!(
            "{first}\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK1\r\nv: SIP/2.0/UDP 127.0.0.3\r\nFrom: <sip:a@x>;tag=f\r\n\
             To: <sip:b@x>;tag=far\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{more}\r\n"
        );
        let message = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
        self.step(CallEvent::Received(Box::new(message)));
    }

    /// Advances time, handling what becomes due.
    pub(super) fn passes(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some(at) = self.wake.filter(|at| *at <= until) {
            (self.now, self.wake) = (at, None);
            self.step(CallEvent::Due);
        }
        self.now = until;
    }

    pub(super) fn failure(&self) -> (&str, &str) {
        match &self.outcome {
            Some(Outcome::Failed { step, why }) => (step, why),
            other => panic!("{other:?}"),
        }
    }
}

const CALL: &str = "<send retrans=\"500\"><![CDATA[
INVITE sip:[service]@[remote_host]:[remote_port] SIP/2.0
HEADCSeq: 1 INVITE
Content-Length: [len]

v=0
m=audio [media_port+2] [rtpstream_audio_port]
]]></send>
<recv response=\"100\" optional=\"true\"/>
<recv response=\"180\" optional=\"true\"/>
<recv response=\"486\" optional=\"true\" next=\"busy\"/>
<recv response=\"200\" rrs=\"true\"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
[routes]
HEADCSeq: 1 ACK
]]></send>
<pause/>
<send retrans=\"500\"><![CDATA[
BYE [next_url] SIP/2.0
HEADCSeq: 2 BYE
]]></send>
<recv response=\"200\"/>
<label id=\"busy\"/>";

#[test]
fn a_caller_goes_by_its_steps_and_knows_the_dialog() {
    let mut scene = Scene::new(CALL, None);
    let invite = &scene.sent[0];
    assert!(
        invite.starts_with("INVITE sip:1000@b.example:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5061;"),
        "{invite}"
    );
    assert!(invite.contains("Content-Length: 24\r\n\r\nv=0\r\nm=audio 6002 6000\r\n"), "{invite}");
    scene.comes("SIP/2.0 100 Trying", "1 INVITE", "");
    scene.comes("SIP/2.0 180 Ringing", "1 INVITE", "");
    let dialog = "Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\nContact: <sip:b@127.0.0.9>;x=y\r\n";
    scene.comes("SIP/2.0 200 OK", "1 INVITE", dialog);
    let ack = "ACK sip:b@127.0.0.9 SIP/2.0\r\nRoute: <sip:p2;lr>, <sip:p1;lr>\r\n";
    assert!(scene.sent[1].starts_with(ack) && scene.sent[1].contains(";tag=far\r\n"), "{}", scene.sent[1]);
    assert!(scene.sent[1].ends_with("CSeq: 1 ACK\r\n\r\n"), "{}", scene.sent[1]);
    // the pause takes the holding time
    scene.passes(1_999);
    assert_eq!(scene.sent.len(), 2);
    scene.passes(1);
    assert!(scene.sent[2].starts_with("BYE "));
    scene.comes("SIP/2.0 200 OK", "2 BYE", "");
    assert_eq!((&scene.outcome, scene.gone), (&Some(Outcome::Done), true));
    use Happening::{Answered, Dialled, Ended, HungUp, Rang};
    assert_eq!(scene.happened, [Dialled, Rang, Answered, HungUp, Ended]);
}

#[test]
fn a_request_is_sent_again_until_something_comes_or_it_is_given_up() {
    let mut scene = Scene::new(CALL, None);
    scene.passes(3_600);
    // after 0.5, 1.5 and 3.5 s
    assert_eq!(scene.sent.len(), 4);
    scene.comes("SIP/2.0 100 Trying", "1 INVITE", "");
    scene.passes(100_000);
    assert_eq!((scene.sent.len(), &scene.outcome), (4, &None));
    let mut scene = Scene::new(CALL, None);
    scene.passes(32_000);
    // seven of them, and a CANCEL
    assert_eq!((scene.sent.len(), scene.failure().0), (8, "line 2: send INVITE"));
    assert!(scene.failure().1.contains("nothing came") && scene.gone);
}

#[test]
fn what_comes_again_gets_the_answer_of_before() {
    let mut scene = Scene::new(CALL, None);
    let answer =
        |scene: &mut Scene| scene.comes("SIP/2.0 200 OK", "1 INVITE", "Contact: <sip:b@127.0.0.9>\r\n");
    answer(&mut scene);
    answer(&mut scene);
    assert_eq!(scene.sent[1], scene.sent[2]);
    scene.passes(2_000);
    answer(&mut scene);
    assert_eq!((scene.sent.len(), &scene.sent[4]), (5, &scene.sent[1]));
}

#[test]
fn an_unexpected_message_fails_the_call_by_its_step_and_a_late_one_does_not() {
    let mut scene = Scene::new(CALL, None);
    scene.comes("SIP/2.0 503 Service Unavailable", "1 INVITE", "");
    assert_eq!(scene.failure(), ("line 14: recv 100", "unexpected 503"));
    let ack = &scene.sent[1];
    assert!(
        ack.starts_with("ACK sip:1000@b.example:5060 ") && ack.contains("To: <sip:b@x>;tag=far\r\n"),
        "{ack}"
    );
    let mut scene = Scene::new(CALL, None);
    scene.comes("SIP/2.0 200 OK", "1 INVITE", "Contact: <sip:b@127.0.0.9>\r\n");
    scene.comes("SIP/2.0 180 Ringing", "1 INVITE", "");
    scene.comes("SIP/2.0 200 OK", "1 INVITE", "X-Other: 1\r\n");
    assert_eq!(scene.outcome, None);
    scene.comes("BYE sip:a SIP/2.0", "1 BYE", "");
    assert_eq!(scene.failure().1, "unexpected BYE");
    assert!(scene.sent.last().unwrap().starts_with("SIP/2.0 200 OK\r\n"));
}

#[test]
fn an_answer_to_the_last_request_is_not_late_although_an_earlier_step_waited_for_its_like() {
    let invite =
        |n: u32| format!("<send><![CDATA[\nINVITE sip:b SIP/2.0\nHEADCSeq: {n} INVITE\n]]></send>\n");
    let steps = format!("{}<recv response=\"200\"/>\n{}<recv response=\"491\"/>", invite(1), invite(2));
    let mut scene = Scene::new(&steps, None);
    scene.comes("SIP/2.0 200 OK", "1 INVITE", "");
    assert_eq!((scene.sent.len(), &scene.outcome), (2, &None));
    scene.comes("SIP/2.0 200 OK", "2 INVITE", "");
    assert_eq!(scene.failure().1, "unexpected 200");
}

#[test]
fn a_call_that_fails_is_ended_at_the_far_end() {
    let begins = |scene: &Scene| {
        scene.sent.iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // neither answered nor refused
    let mut scene = Scene::new(CALL, None);
    scene.comes("SIP/2.0 180 Ringing", "1 INVITE", "");
    scene.passes(180_000);
    assert_eq!(begins(&scene), ["INVITE", "CANCEL"]);
    let branch = |text: &str| text.split("branch=").nth(1).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(branch(&scene.sent[0]), branch(&scene.sent[1]));
    // answered, followed by a failing step
    let mut scene = Scene::new(CALL, None);
    let dialog = "Record-Route: <sip:p1;lr>\r\nContact: <sip:b@127.0.0.9>\r\n";
    scene.comes("SIP/2.0 200 OK", "1 INVITE", dialog);
    scene.comes("INFO sip:a SIP/2.0", "7 INFO", "");
    assert_eq!(begins(&scene), ["INVITE", "ACK", "SIP/2.0", "BYE"]);
    assert!(scene.sent[2].starts_with("SIP/2.0 500 ") && scene.sent[2].contains("CSeq: 7 INFO\r\n"));
    let bye = &scene.sent[3];
    assert!(
        bye.starts_with("BYE sip:b@127.0.0.9 SIP/2.0\r\n") && bye.contains("Route: <sip:p1;lr>\r\n"),
        "{bye}"
    );
    assert!(bye.contains("To: <sip:b@x>;tag=far\r\n") && bye.contains("CSeq: 2 BYE\r\n"), "{bye}");
    // a callee, before and after its answer
    let mut scene = Scene::new(&ANSWER.replace("sip:([a-z]+)", "tel:([0-9]+)"), Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    assert!(scene.sent[0].starts_with("SIP/2.0 500 "), "{}", scene.sent[0]);
    let mut scene = Scene::new(&ANSWER.replace("\"ACK\"", "\"ACK\" timeout=\"3000\""), Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "Contact: <sip:a@127.0.0.8>\r\n");
    scene.passes(3_000);
    let bye = scene.sent.last().unwrap();
    assert!(bye.starts_with("BYE sip:a@127.0.0.8 SIP/2.0\r\n"), "{bye}");
    assert!(bye.contains("From: <sip:b@x>;tag=far;tag=t\r\nTo: <sip:a@x>;tag=f\r\n"), "{bye}");
}

#[test]
fn an_optional_message_may_lead_elsewhere() {
    let mut scene = Scene::new(CALL, None);
    scene.comes("SIP/2.0 486 Busy Here", "1 INVITE", "");
    assert_eq!(scene.outcome, Some(Outcome::Done));
}

const ANSWER: &str = "<recv request=\"INVITE\"><action>
<ereg regexp=\"sip:([a-z]+)@(.)\" search_in=\"hdr\" header=\"From:\" check_it=\"true\" assign_to=\"all,user,host\"/>
<log message=\"[$user] at [$host]\"/></action></recv>
<send retrans=\"500\"><![CDATA[
SIP/2.0 200 OK
REPLYX: [$all]
]]></send>
<recv request=\"ACK\"/>
<recv request=\"BYE|INFO\" regexp_match=\"true\"/>
<send><![CDATA[
SIP/2.0 200 OK
REPLY
]]></send>
<timewait milliseconds=\"4000\"/>";

#[test]
fn a_callee_answers_with_what_came_and_stays_for_what_comes_again() {
    let mut scene = Scene::new(ANSWER, Some("far-1"));
    scene.passes(10_000_000);
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    let ok = &scene.sent[0];
    let vias = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK1\r\nv: SIP/2.0/UDP 127.0.0.3\r\n";
    assert!(ok.starts_with(vias) && ok.ends_with("CSeq: 1 INVITE\r\nX: sip:a@x\r\n\r\n"), "{ok}");
    assert_eq!(scene.logged, ["a at x"]);
    scene.passes(600);
    assert_eq!(scene.sent.len(), 2);
    scene.comes("ACK sip:b SIP/2.0", "1 ACK", "");
    scene.comes("BYE sip:b SIP/2.0", "2 BYE", "");
    assert_eq!((scene.sent.len(), &scene.outcome, scene.gone), (3, &Some(Outcome::Done), false));
    scene.comes("BYE sip:b SIP/2.0", "2 BYE", "");
    assert_eq!(scene.sent[3], scene.sent[2]);
    scene.passes(4_000);
    assert!(scene.gone);
}

#[test]
fn what_does_not_come_in_time_leads_elsewhere_or_fails_the_call() {
    let lost = "<nop next=\"end\"/>\n<label id=\"lost\"/>\n<nop><action><log message=\"no ACK\"/></action></nop>\n\
                <label id=\"end\"/>";
    let steps = ANSWER.replace("<timewait milliseconds=\"4000\"/>", lost);
    let steps = steps.replace("\"ACK\"", "\"ACK\" timeout=\"3000\" ontimeout=\"lost\"");
    let mut scene = Scene::new(&steps, Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    scene.passes(3_000);
    assert_eq!(
        (&scene.outcome, scene.logged.last().map(String::as_str)),
        (&Some(Outcome::Done), Some("no ACK"))
    );
    let mut scene = Scene::new(&steps.replace(" ontimeout=\"lost\"", ""), Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    scene.passes(3_000);
    assert_eq!(scene.failure(), ("line 15: recv ACK", "it did not come in time"));
}

#[test]
fn an_expression_that_is_checked_fails_the_call() {
    let mut scene = Scene::new(&ANSWER.replace("sip:([a-z]+)", "tel:([0-9]+)"), Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    assert_eq!(scene.failure().0, "line 2: recv INVITE");
    assert!(scene.failure().1.contains("line 3: the expression \"tel:"), "{:?}", scene.failure());
}

#[test]
fn a_challenge_is_answered_and_a_branch_is_that_of_a_step() {
    let steps = "<send><![CDATA[
REGISTER sip:[remote_ip] SIP/2.0
HEADCSeq: [cseq] REGISTER
]]></send>
<recv response=\"401\" auth=\"true\"/>
<send><![CDATA[
REGISTER sip:[remote_ip] SIP/2.0
HEADX-First: [branch-2]
CSeq: [cseq] REGISTER
[authentication]
]]></send>
<recv response=\"200\"/>";
    let mut scene = Scene::new(steps, None);
    let challenge = "WWW-Authenticate: Digest realm=\"b\", nonce=\"n\", algorithm=MD5\r\n";
    scene.comes("SIP/2.0 401 Unauthorized", "1 REGISTER", challenge);
    let again = &scene.sent[1];
    assert!(
        again.contains("CSeq: 2 REGISTER\r\nAuthorization: Digest username=\"ann\", realm=\"b\""),
        "{again}"
    );
    let branch = |text: &str, field: &str| {
        let rest = text.split(field).nth(1).unwrap().to_owned();
        rest.lines().next().unwrap().to_owned()
    };
    assert_eq!(branch(&scene.sent[0], "branch="), branch(again, "X-First: "));
    assert_ne!(branch(&scene.sent[0], "branch="), branch(again, "branch="));
    scene.comes("SIP/2.0 200 OK", "2 REGISTER", "");
    assert_eq!(scene.outcome, Some(Outcome::Done));
    assert_eq!(scene.happened, [Happening::Dialled, Happening::Answered]);
}

#[test]
fn a_loop_without_a_wait_fails_the_call() {
    let steps = "<recv request=\"INVITE\"/>\n<label id=\"a\"/>\n<nop next=\"a\"/>";
    let mut scene = Scene::new(steps, Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    assert!(scene.failure().1.contains("loops without waiting"));
}

#[test]
fn variables_are_computed_and_compared_as_in_sipp() {
    let steps = "<recv request=\"INVITE\">\n<action>\n\
                 <ereg regexp=\"q=([0-9]+)\" search_in=\"hdr\" header=\"X-Q\" assign_to=\"all,q\"/>\n\
                 <ereg regexp=\"[0-9]$\" search_in=\"var\" variable=\"q\" assign_to=\"last\"/>\n\
                 <todouble assign_to=\"n\" variable=\"q\"/>\n<add assign_to=\"n\" value=\"-2\"/>\n\
                 <multiply assign_to=\"n\" variable=\"n\"/>\n<divide assign_to=\"n\" value=\"0\"/>\n\
                 <test assign_to=\"big\" variable=\"n\" compare=\"greater_than\" value=\"1599\"/>\n\
                 <test assign_to=\"text\" variable=\"q\" compare=\"not_equal\" value=\"0\"/>\n\
                 <assignstr assign_to=\"said\" value=\" [$q] of [call_number] \"/>\n<trim assign_to=\"said\"/>\n\
                 <strcmp assign_to=\"order\" variable=\"said\" value=\"42 of 1\"/>\n\
                 <log message=\"[$all];[$last];[$n];[$big];[$text];[$said];[$order]\"/>\n</action></recv>\n\
                 <nop next=\"end\" test=\"order\"/>\n<nop next=\"end\" test=\"text\"/>\n\
                 <nop test=\"big\"><action>\n<strcmp variable=\"said\" value=\"43\" check_it=\"true\"/></action></nop>\n\
                 <label id=\"end\"/>";
    let mut scene = Scene::new(steps, Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "X-Q: q=42\r\n");
    assert_eq!(scene.logged, ["q=42;2;1600.000000;true;false;42 of 1;0.000000"]);
    assert_eq!(scene.failure().1, "line 20: the comparison of \"42 of 1\" and \"43\" does not hold");
}

#[test]
fn an_error_fails_the_call_with_its_words() {
    let steps =
        "<recv request=\"INVITE\"/>\n<nop><action><error message=\"no [call_number]\"/></action></nop>";
    let mut scene = Scene::new(steps, Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    assert_eq!(scene.failure(), ("line 3: nop", "no 1"));
}

#[test]
fn an_expression_of_a_send_searches_what_is_sent() {
    let steps = "<send><![CDATA[\nOPTIONS sip:b SIP/2.0\nHEADCSeq: [cseq] OPTIONS\n]]>\n<action>\n\
                 <ereg regexp=\".*\" search_in=\"hdr\" header=\"CSeq\" assign_to=\"1\"/>\n\
                 <log message=\"CSeq[$1]\"/></action></send>\n<recv response=\"200\"/>";
    assert_eq!(Scene::new(steps, None).logged, ["CSeq: 1 OPTIONS"]);
}

#[test]
fn a_response_of_a_named_transaction_is_that_of_its_branch() {
    let steps = "<send start_txn=\"a\"><![CDATA[\nOPTIONS sip:b SIP/2.0\nHEADCSeq: [cseq] OPTIONS\n]]></send>\n\
                 <recv response=\"200\" response_txn=\"a\"/>";
    let mut scene = Scene::new(steps, None);
    scene.comes("SIP/2.0 200 OK", "1 OPTIONS", "");
    assert_eq!(scene.failure().1, "unexpected 200", "its branch is another");
}

#[test]
fn a_response_has_the_number_of_the_request_that_came() {
    let reply = "SIP/2.0 487 Request Terminated\n[last_Via]\n[last_From]\n[last_To]\n[last_Call-ID]\nCSeq: [cseq] INVITE\n";
    let steps =
        format!("<recv request=\"INVITE\"/>\n<send><![CDATA[\n{reply}]]></send>\n<recv request=\"ACK\"/>");
    let mut scene = Scene::new(&steps, Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "12 INVITE", "");
    assert!(scene.sent[0].contains("Via: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK1\r\n"), "{}", scene.sent[0]);
    assert!(scene.sent[0].ends_with("CSeq: 12 INVITE\r\n\r\n"), "{}", scene.sent[0]);
}

#[test]
fn a_response_that_cannot_be_read_fails_the_call_at_once() {
    let mut scene = Scene::new(CALL, None);
    scene.step(CallEvent::Unreadable("invalid To".to_owned()));
    assert_eq!(scene.failure().1, "a message cannot be read: invalid To");
}

#[test]
fn the_response_to_an_invite_counts_as_the_answer_whatever_came_since() {
    let ok = |cseq: &str| {
        format!(
            "<send><![CDATA[\nSIP/2.0 200 OK\nFrom: <sip:a@x>;tag=f\nTo: <sip:b@x>;tag=t\nCall-ID: [call_id]\nCSeq: {cseq}\n]]></send>\n"
        )
    };
    let steps = format!(
        "<recv request=\"INVITE\"/>\n<recv request=\"PRACK\"/>\n{}{}<recv request=\"ACK\"/>",
        ok("2 PRACK"),
        ok("1 INVITE")
    );
    let mut scene = Scene::new(&steps, Some("far-1"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    scene.comes("PRACK sip:b SIP/2.0", "2 PRACK", "");
    assert_eq!(scene.happened, [Happening::Answered]);
}
