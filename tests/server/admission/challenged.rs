//! Providers that challenge requests inside calls, and other parties that ask for the password.

use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use b2b::call::service::{ReferOutcome, ReferRequest};
use b2b::sip::auth::{Algorithm, Asked, Credentials, DigestConfig, DigestServer, Secret, Side, Verdict};
use b2b::sip::endpoint::{Event, InDialog, UsageEvent, UsageId};
use b2b::sip::msg::{Limits, Message, Method, Name, Request};
use b2b_testkit::{Body, PartyId, SESSION, Sent};

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const ONE: &str = "192.0.2.21:5060";
/// A phone that is not a gateway.
const TWO: &str = "192.0.2.22:5060";
/// Tag of the hand-written far end, which no endpoint answers for.
const TAG: &str = "hand";

fn config(gateway: &str) -> String {
    format!(
        "[server]\ntrusted = [\"192.0.2.11\"]\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{ONE}\"]\nsources = [\"192.0.2.21\"]\nrealm = \"provider\"\n\
         options_s = 0\n{gateway}\n\
         [[route]]\ncalled = \"200\"\nto = [\"sip:ann@{ANN}\"]\nmode = \"transparent\"\n\
         [[route]]\ncalled = \"300\"\nto = [\"sip:bob@{TWO}\"]\nmode = \"transparent\"\n\
         [[route]]\nto = [\"gateway/carrier\"]\nmode = \"transparent\"\n"
    )
}

const PASSWORD: &str = "username = \"acme\"\npassword = \"secret\"";

struct Account;

impl Credentials for Account {
    fn secret(&self, user: &str, _: &str, _: Algorithm) -> Option<Secret<'_>> {
        (user == "acme").then(|| Secret::Password("secret".into()))
    }
}

/// A call between Ann and a hand-written far end.
struct Call {
    bench: Bench,
    ann: (PartyId, UsageId),
    at: &'static str,
    digest: DigestServer,
    realm: &'static str,
    /// Number of messages on the wire already examined.
    looked: usize,
}

fn request(sent: &Sent) -> Option<Request> {
    match Message::parse(sent.data.clone(), &Limits::default()) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

fn digest(now: Instant) -> DigestServer {
    DigestServer::new(DigestConfig::default(), [5; 32], now)
}

impl Call {
    /// Ann calls a number, and the far end answers.
    fn out(gateway: &str, number: &str, at: &'static str) -> Call {
        Call::out_by(&config(gateway), number, at)
    }

    fn out_by(config: &str, number: &str, at: &'static str) -> Call {
        let mut bench = Bench::new(config);
        let ann = bench.harness.party(ANN);
        let a = bench.harness.call(ann, number, Some(SESSION));
        let digest = digest(bench.harness.now());
        let mut call = Call { bench, ann: (ann, a), at, digest, realm: "provider", looked: 0 };
        let invite = call.next("INVITE");
        call.reply(&invite, "200 OK", &[], SESSION);
        call.settled()
    }

    /// The provider calls Ann.
    fn inward(gateway: &str) -> Call {
        let mut bench = Bench::new(&config(gateway));
        let ann = bench.harness.party(ANN);
        let invite = format!(
            "INVITE sip:200@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {ONE};branch=z9hG4bKin\r\nMax-Forwards: 70\r\n\
             From: <sip:100@{ONE}>;tag={TAG}\r\nTo: <sip:200@192.0.2.1>\r\nCall-ID: in\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:trunk@{ONE}>\r\nAllow: INVITE, ACK, BYE, UPDATE, REFER, INFO\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SESSION}",
            SESSION.len()
        );
        bench.harness.send_raw(ONE, &invite);
        let a = bench.harness.answer_next(ann, SESSION);
        let answer = bench.sent_to(ONE, "SIP/2.0 200").pop().expect("it is answered");
        let to = answer.lines().find_map(|line| line.strip_prefix("To: ")).expect("To");
        let ack = format!(
            "ACK sip:b2b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {ONE};branch=z9hG4bKack\r\nMax-Forwards: 70\r\n\
             From: <sip:100@{ONE}>;tag={TAG}\r\nTo: {to}\r\nCall-ID: in\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
        );
        bench.harness.send_raw(ONE, &ack);
        let digest = digest(bench.harness.now());
        Call { bench, ann: (ann, a), at: ONE, digest, realm: "provider", looked: 0 }.settled()
    }

    fn settled(mut self) -> Call {
        self.bench.harness.settle();
        self.bench.harness.take(self.ann.0);
        self.looked = self.bench.harness.wire.len();
        assert!(self.bench.harness.is_up(self.ann.0, self.ann.1));
        self
    }

    /// The next request of this method to the far end.
    fn next(&mut self, method: &str) -> Sent {
        self.find(method).unwrap_or_else(|| panic!("no {method}: {:#?}", self.lines()))
    }

    fn lines(&self) -> Vec<String> {
        self.bench.harness.wire.iter().map(|it| format!("{} {}", it.to, it.line())).collect()
    }

    fn find(&mut self, method: &str) -> Option<Sent> {
        let at = self.at.parse().expect("an address");
        let mut rest = self.bench.harness.wire.iter().enumerate().skip(self.looked);
        let (index, sent) = rest.find(|(_, it)| it.to == at && it.line().starts_with(method))?;
        self.looked = index + 1;
        Some(sent.clone())
    }

    /// The far end's response to a request.
    fn reply(&mut self, to: &Sent, status: &str, fields: &[(String, String)], body: &str) {
        let text = to.text();
        let field = |name: &str| to.field(name).unwrap_or_else(|| panic!("no {name}: {text}"));
        let to_field = field("To");
        let tag = if to_field.contains(";tag=") { String::new() } else { format!(";tag={TAG}") };
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let response = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to_field}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:trunk@{}>\r\nAllow: INVITE, ACK, BYE, UPDATE, REFER, INFO\r\n{fields}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            field("Via"),
            field("From"),
            field("Call-ID"),
            field("CSeq"),
            self.at,
            body.len()
        );
        self.bench.harness.send_raw(self.at, &response);
    }

    /// The challenge of the far end's digest to a request; `None` if its credentials are valid.
    fn judged(&mut self, sent: &Sent) -> Option<Vec<(String, String)>> {
        let source = [192, 0, 2, 1].into();
        let who = Asked { source, realm: self.realm, side: Side::Server, md5_only: false };
        let request = request(sent).expect("a request");
        match self.digest.verify(self.bench.harness.now(), &request, who, &Account) {
            Verdict::Authenticated { .. } => None,
            Verdict::Challenge { headers, .. } | Verdict::Rejected { headers, .. } => {
                let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
                Some(headers.iter().map(|(name, value)| (text(name), text(value))).collect())
            }
            Verdict::Malformed => panic!("{}", sent.text()),
        }
    }

    /// Challenges a request of this method, checks that it is repeated with valid credentials, and sends this
    /// response.
    fn challenges(&mut self, method: &str, status: &str, fields: &[(String, String)], body: &str) -> Sent {
        let first = self.next(method);
        let asked = self.judged(&first).expect("no credentials before they are asked for");
        self.reply(&first, "401 Unauthorized", &asked, "");
        let again = self.next(method);
        assert_eq!(self.judged(&again), None, "{}", again.text());
        let parsed = request(&again).expect("a request");
        let credentials = parsed.header(Name::Authorization).map(String::from_utf8_lossy).expect("them");
        assert!(
            credentials.contains(&format!("uri=\"sip:trunk@{}\"", self.at)),
            "its Request-URI: {credentials}"
        );
        let number = |sent: &Sent| request(sent).and_then(|it| Some(it.cseq().ok()?.number)).expect("CSeq");
        assert!(number(&again) > number(&first));
        self.reply(&again, status, fields, body);
        self.bench.harness.settle();
        assert!(self.find(method).is_none(), "once");
        again
    }

    /// Challenges a request of this method, and checks that no credentials follow.
    fn keeps_it(&mut self, method: &str) {
        let first = self.next(method);
        let asked = self.judged(&first).expect("no credentials");
        self.reply(&first, "401 Unauthorized", &asked, "");
        self.bench.harness.run(Duration::from_secs(5));
        assert!(self.find(method).is_none());
        assert!(!self.bench.harness.wire.iter().any(|it| it.text().contains("Digest username")));
    }

    fn ann_reinvites(&mut self) {
        let (now, (ann, a)) = (self.bench.harness.now(), self.ann);
        let held = SESSION.replace("t=0 0", "t=0 0\r\na=sendonly");
        self.bench.harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(held))).expect("the call is up");
        self.bench.harness.settle();
    }

    fn ann_says(&mut self, method: Method) {
        let (now, (ann, a)) = (self.bench.harness.now(), self.ann);
        let body = Some(Body { content_type: "text/plain".into(), data: "hello".into() });
        let request = InDialog { method, headers: Vec::new(), body };
        self.bench.harness.endpoint(ann).request(now, a, request).expect("the call is up");
        self.bench.harness.settle();
    }

    /// The response that Ann received to her one request.
    fn ann_heard(&mut self) -> u16 {
        let heard: Vec<u16> = self.bench.harness.take(self.ann.0).into_iter().filter_map(status).collect();
        let [status] = heard[..] else { panic!("{heard:?}") };
        status
    }

    fn ends(mut self) {
        self.bench.harness.hang_up(self.ann.0, self.ann.1);
        self.challenges("BYE", "200 OK", &[], "");
        self.bench.harness.run(Duration::from_secs(60));
        self.bench.harness.assert_nothing_left();
    }
}

fn status(event: Event) -> Option<u16> {
    match event {
        Event::Usage { event: UsageEvent::ReInviteAnswered { response, .. }, .. } => Some(response.status()),
        Event::Usage { event: UsageEvent::ReInviteFailed { status, .. }, .. } => Some(status),
        Event::Usage { event: UsageEvent::Response { result, .. }, .. } => {
            Some(result.expect("an answer").status())
        }
        Event::Usage { event: UsageEvent::ReferAnswered { result, .. }, .. } => {
            Some(result.expect("an answer").status())
        }
        _ => None,
    }
}

#[test]
fn whatever_is_challenged_inside_a_call_goes_again_whoever_called() {
    for called_us in [false, true] {
        let mut call = if called_us { Call::inward(PASSWORD) } else { Call::out(PASSWORD, "100", ONE) };
        call.ann_reinvites();
        call.challenges("INVITE", "200 OK", &[], SESSION);
        assert_eq!(call.ann_heard(), 200, "{called_us}");
        for method in [Method::Message, Method::Info] {
            call.ann_says(method.clone());
            call.challenges(&method.to_string(), "202 Accepted", &[], "");
            assert_eq!(call.ann_heard(), 202, "{called_us}");
        }
        call.ends();
    }
}

#[test]
fn a_refer_is_sent_again_and_its_notify_names_the_one_that_was_taken() {
    let mut call = Call::out(PASSWORD, "100", ONE);
    let leg = call.bench.harness.snapshot()[0].legs.iter().find(|leg| leg.contact.is_none()).unwrap().leg;
    let service = call.bench.harness.service();
    let request = ReferRequest { to: "tel:+4930123".to_owned(), headers: Vec::new(), own: false };
    let mut asks = Box::pin(async move { service.refer(leg, request).await });
    assert!(asks.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    call.bench.harness.wait(Duration::from_secs(1), std::future::ready(()));
    call.bench.harness.settle();
    let taken = call.challenges("REFER", "202 Accepted", &[], "");
    assert_eq!(taken.field("Refer-To").as_deref(), Some("<tel:+4930123>"));
    let field = |name: &str| taken.field(name).expect("it has one");
    let cseq = field("CSeq").replace(" REFER", "");
    call.bench.harness.send_raw(
        ONE,
        &format!(
            "NOTIFY sip:b2b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {ONE};branch=z9hG4bKnotify\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 7 NOTIFY\r\nContact: <sip:trunk@{ONE}>\r\n\
             Event: refer;id={cseq}\r\nSubscription-State: terminated;reason=noresource\r\n\
             Content-Type: message/sipfrag\r\nContent-Length: 14\r\n\r\nSIP/2.0 200 OK",
            field("To"),
            field("From"),
            field("Call-ID")
        ),
    );
    let outcome = call.bench.harness.wait(Duration::from_secs(5), asks);
    assert_eq!(outcome, Ok(ReferOutcome { status: 200, confirmed: true }));
}

#[test]
fn a_refresh_of_the_session_is_sent_again_with_credentials() {
    let mut call = Call::out(PASSWORD, "100", ONE);
    // The timer is negotiated in a re-INVITE.
    let timer = [("Session-Expires".to_owned(), "600;refresher=uac".to_owned())];
    call.ann_reinvites();
    call.challenges("INVITE", "200 OK", &timer, SESSION);
    for _ in 0..3 {
        call.bench.harness.run(Duration::from_secs(300));
        call.challenges("UPDATE", "200 OK", &timer, "");
    }
    assert!(call.bench.harness.is_up(call.ann.0, call.ann.1));
    call.ends();
}

#[test]
fn who_does_not_take_the_update_of_a_refresh_is_refreshed_by_a_reinvite() {
    for refusal in ["403 Forbidden", "420 Bad Extension", "488 Not Acceptable Here", "501 Not Implemented"] {
        let mut call = Call::out(PASSWORD, "100", ONE);
        let timer = [("Session-Expires".to_owned(), "600;refresher=uac".to_owned())];
        call.ann_reinvites();
        call.challenges("INVITE", "200 OK", &timer, SESSION);
        call.bench.harness.run(Duration::from_secs(300));
        let update = call.next("UPDATE");
        call.reply(&update, refusal, &[], "");
        call.challenges("INVITE", "200 OK", &timer, SESSION);
        call.bench.harness.run(Duration::from_secs(200));
        assert!(call.find("UPDATE").is_none(), "{refusal}");
        call.ends();
    }
}

#[test]
fn nonces_that_are_too_old_cost_three_more_rounds_and_a_wrong_password_none() {
    let mut call = Call::out(PASSWORD, "100", ONE);
    call.ann_says(Method::Info);
    let first = call.next("INFO");
    let asked = call.judged(&first).expect("it has none");
    call.reply(&first, "401 Unauthorized", &asked, "");
    let stale: Vec<_> = asked
        .iter()
        .map(|(name, value)| (name.clone(), value.replace("Digest ", "Digest stale=true, ")))
        .collect();
    for _ in 0..4 {
        let again = call.next("INFO");
        call.reply(&again, "401 Unauthorized", &stale, "");
    }
    call.bench.harness.run(Duration::from_secs(5));
    assert!(call.find("INFO").is_none(), "once, and three times more");
    assert_eq!(call.ann_heard(), 488);
    // A repeated challenge means that the password is wrong.
    call.ann_says(Method::Info);
    for _ in 0..2 {
        let sent = call.next("INFO");
        call.reply(&sent, "401 Unauthorized", &asked, "");
    }
    call.bench.harness.run(Duration::from_secs(5));
    assert!(call.find("INFO").is_none());
    assert_eq!(call.ann_heard(), 488);
    call.ends();
}

#[test]
fn nobody_else_gets_the_password() {
    // Another realm than that of the gateway.
    let mut call = Call::out(PASSWORD, "100", ONE);
    call.realm = "evil.example";
    call.ann_reinvites();
    call.keeps_it("INVITE");
    assert_eq!(call.ann_heard(), 488);
    call.ann_says(Method::Info);
    call.keeps_it("INFO");
    // A phone that is not a gateway, though it knows the realm.
    let mut call = Call::out(PASSWORD, "300", TWO);
    call.ann_reinvites();
    call.keeps_it("INVITE");
    assert_eq!(call.ann_heard(), 488);
    call.ann_says(Method::Info);
    call.keeps_it("INFO");
    // A gateway without a password.
    let mut call = Call::out("", "100", ONE);
    call.ann_reinvites();
    call.keeps_it("INVITE");
    // A phone that has the address of a gateway, but was not called through it.
    let text =
        config(PASSWORD).replace("sources = [\"192.0.2.21\"]", "sources = [\"192.0.2.21\", \"192.0.2.22\"]");
    let mut call = Call::out_by(&text, "300", TWO);
    call.ann_reinvites();
    call.keeps_it("INVITE");
}
