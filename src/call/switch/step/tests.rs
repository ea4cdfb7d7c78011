//! One call from its INVITE to its end, without a switch, an endpoint, media, a runtime or a socket: events in, effects
//! out.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::questions::Questions;
use super::*;
use crate::bridge_fsm::BridgeMode;
use crate::call_fsm::CallState;
use crate::controller::{AddressFamily, Joined, Route};
use crate::handler::{HandlerAction, IncomingCall, Party};
use crate::identity::Reads;
use crate::leg_life::Life;
use crate::lookup::{LookupKind, LookupResult, ResolvedContact};
use crate::pace::Place;
use crate::service::command::{Command, Reply as Answering};
use crate::service::{CallError, DialError, DialRequest};
use crate::switch::admission::{Dialled, MediaRules, Outgoing, SessionRules};
use crate::switch::state::follow::Dialog;
use crate::switch::state::handing::Handing;
use crate::switch::state::input::CallInput;
use crate::switch::state::transfer::TransferLegs;
use crate::switch::state::waits::{Found, MediaAnswer, OnFound};
use b2b_sip::endpoint::{HopRule, ReferId, ReferTo, Termination, UsageEvent};
use b2b_sip::msg::number::Ours;
use b2b_sip::msg::{Limits, Message, Request, Response};

/// Answers as a switch without configuration does.
struct Plain;

impl Questions for Plain {
    fn ours(&self) -> &dyn Ours {
        &()
    }
    fn reads(&self, _: Option<&str>, _: Option<&str>, _: SocketAddr) -> Reads<'_> {
        Reads::default()
    }
    fn believes(&mut self, _: &Party) -> bool {
        false
    }
    fn is_told(&mut self, _: &Party) -> bool {
        true
    }
    fn take_isup(&mut self, _: &[&Party]) -> bool {
        false
    }
    fn has_credentials(&mut self, _: &Party) -> bool {
        false
    }
    fn session_rules(&mut self, _: &Party) -> SessionRules {
        SessionRules::default()
    }
    fn media_rules(&mut self, _: Instant, _: &Party) -> MediaRules {
        MediaRules::default()
    }
    fn hops_of(&mut self, _: &ResolvedContact) -> HopRule {
        HopRule::Kept
    }
    fn outgoing(&mut self, _: Instant, _: Dialled<'_>) -> Result<Outgoing, (u16, String)> {
        Ok(Outgoing::default())
    }
    fn waits(&mut self, _: Instant, _: Option<&Place>) -> Duration {
        Duration::ZERO
    }
    fn repeats(&mut self, _: EndpointId, _: &[u8]) -> bool {
        false
    }
    fn behind(&mut self, _: &[(LegId, EndpointId, EndpointId)]) -> Option<LegId> {
        None
    }
    fn takes_events(&mut self, _: EndpointId, _: bool) -> bool {
        true
    }
    fn wants_info(&mut self, configured: bool) -> bool {
        configured
    }
    fn knows_application(&mut self, name: &str) -> bool {
        name == "menu"
    }
    fn is_handled(&mut self, _: LegId) -> bool {
        true
    }
    fn is_heard(&mut self, _: CallId) -> bool {
        false
    }
    fn reaches(&mut self, _: Answering<Result<LegId, DialError>>, _: Result<LegId, DialError>) -> bool {
        true
    }
    fn is_unwanted(&mut self, _: Option<&Answering<Result<(), CallError>>>) -> bool {
        false
    }
    fn next_leg(&mut self) -> Option<LegId> {
        None
    }
    fn is_leg(&mut self, _: LegId) {}
    fn next_bridge(&mut self) -> Option<BridgeId> {
        None
    }
    fn is_bridge(&mut self, _: BridgeId) {}
}

/// A call, and what its steps have left.
struct Alone {
    call: Call,
    index: Index,
    config: SwitchConfig,
    out: Outcome,
    now: Instant,
    /// The effects since they were last looked at, in a word each.
    seen: Vec<String>,
    events: Vec<Event>,
    usages: u32,
    endpoints: u64,
    /// All that follows is done, and no leg is left.
    is_empty: bool,
}

const CALL: CallId = CallId(7);

impl Alone {
    fn new() -> Self {
        let now = Instant::now();
        Alone {
            call: Call::new(now),
            index: Index::default(),
            config: SwitchConfig::default(),
            out: Outcome::default(),
            now,
            seen: Vec::new(),
            events: Vec::new(),
            usages: 0,
            endpoints: 0,
            is_empty: false,
        }
    }

    /// Takes a step, and all that follows from it.
    fn step(&mut self, act: impl FnOnce(&mut CallStep<'_>, Moment)) {
        let t = Moment { now: self.now, wall: SystemTime::UNIX_EPOCH };
        self.one(|step| act(step, t));
        loop {
            for (_, effect) in std::mem::take(&mut self.out.effects) {
                self.carry_out(effect);
            }
            match self.out.next() {
                Some(Follow::CallEmpty { .. }) => self.is_empty = self.call.legs.is_empty(),
                Some(next) => self.one(|step| step.step(t, CallInput::Follow(next))),
                None => break,
            }
            let dialling = self.call.dialling.as_ref();
            let is_found = dialling.is_none_or(|it| it.dial.is_none() || it.lookup.is_none());
            assert!(is_found, "the number of an answered look-up may be another's in the next process");
        }
    }

    fn one(&mut self, act: impl FnOnce(&mut CallStep<'_>)) {
        let Alone { call, index, config, out, .. } = self;
        act(&mut CallStep { id: CALL, call, index, config, asks: &mut Plain, out });
    }

    /// Sees an effect, and answers it as the network and media do when all is well.
    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Invite(calling) => {
                self.see(format!("INVITE {}", String::from_utf8_lossy(&calling.invite.target)));
                assert!(calling.invite.body.is_some(), "it carries an offer");
                let sent = Ok(Dialog { usage: self.usage(), call_id: Bytes::from_static(b"branch") });
                self.out.push(Follow::Invited { leg: calling.leg, then: calling.then, sent });
            }
            Effect::Accept { leg, reply, then, .. } => {
                self.see(format!("{} to {}", reply.status, leg.0));
                self.out.push(Follow::Accepted { leg, then, sent: Ok(()) });
            }
            Effect::Dialog { leg, command, .. } => {
                let word = match command {
                    DialogCommand::Ring(reply) | DialogCommand::Reply(reply) => reply.status.to_string(),
                    other => {
                        format!("{other:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned()
                    }
                };
                self.see(format!("{word} to {}", leg.0));
            }
            Effect::AnswerRefer { status, .. } => self.see(format!("{status} to the REFER")),
            Effect::NotifyRefer { status, .. } => self.see(format!("NOTIFY {status}")),
            Effect::OpenEndpoint { then, .. } => {
                self.endpoints += 1;
                self.answer(then, MediaAnswer::Endpoint(EndpointId(self.endpoints)));
            }
            Effect::Media { verb, then } => {
                let name = format!("{verb:?}").split([' ', '{']).next().unwrap_or_default().to_owned();
                let relays = || Route::Relay { encoding: "PCMA".to_owned() };
                let answer = match &*verb {
                    Verb::Bridge { .. } => {
                        MediaAnswer::Joined(Joined { forward: relays(), backward: relays() })
                    }
                    Verb::Unbridge { .. } | Verb::ApplyRemote { .. } | Verb::Echo { .. } => MediaAnswer::Done,
                    // Counters come later than the call is looked at here.
                    Verb::Stats { .. } => return,
                    _ => MediaAnswer::Description(name.clone().into()),
                };
                self.see(name);
                self.answer(then, answer);
            }
            Effect::Release { endpoint, .. } => self.see(format!("Release {}", endpoint.0)),
            Effect::Tell(event) => self.events.push(event),
            Effect::Note { note: Note::LegOver { leg, record, .. }, .. } => {
                self.see(format!("record of {}: {:?}", leg.0, record.ending.by));
            }
            Effect::AskHandlers(asked) => {
                self.see("asks the handlers".to_owned());
                let mut request = DialRequest::to("bob");
                request.options.mode = BridgeMode::Intercepting;
                let action = HandlerAction::Dial(Box::new(request));
                self.decide(OnFound::Decide(asked), action);
            }
            Effect::AskWhere { referral, asked_by, next } => {
                let action = HandlerAction::TransferTo("carol".to_owned());
                self.decide(OnFound::Referral { referral, asked_by, next }, action);
            }
            Effect::LookUp { call, request } => {
                let contact = ResolvedContact::new(format!("sip:{}@192.0.2.9", request.target), 0);
                let found = LookupResult::new(LookupKind::User, &request.target, vec![contact]);
                let found = Ok(Found::Contacts(Ok(found)));
                self.out.push(Follow::LookingUp { call, request: 1 });
                self.out.push(Follow::Found { then: OnFound::Dial { call }, found });
            }
            Effect::HandTo(asked) => {
                self.see(format!("hands to {}", asked.by_name.as_deref().unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn see(&mut self, word: String) {
        self.seen.push(word);
    }

    fn usage(&mut self) -> UsageId {
        self.usages += 1;
        let text = format!(r#"{{"generation":1,"slot":{}}}"#, self.usages);
        serde_json::from_str(&text).expect("an id")
    }

    fn answer(&mut self, then: OnMedia, answer: MediaAnswer) {
        self.out.push(Follow::Media { then, result: Ok(answer) });
    }

    fn decide(&mut self, then: OnFound, action: HandlerAction) {
        self.out.push(Follow::Found { then, found: Ok(Found::Action(action)) });
    }

    /// An event of the dialog of a leg, and the effects that it leads to.
    fn hear(&mut self, leg: LegId, event: UsageEvent) -> Vec<String> {
        self.step(|step, t| step.step(t, CallInput::Signalled { leg, event }));
        std::mem::take(&mut self.seen)
    }

    fn call_states(&self) -> Vec<CallState> {
        let to = |event: &Event| match event {
            Event::CallState { to, .. } => Some(*to),
            _ => None,
        };
        self.events.iter().filter_map(to).collect()
    }
}

fn message(first: &str, more: &str, body: &str) -> Message {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let text = format!(
        "{first}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: \"Ann\" <sip:ann@192.0.2.1>;tag=a\r\n\
         To: <sip:bob@192.0.2.2>;tag=b\r\nCall-ID: c\r\nMax-Forwards: 70\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    Message::parse(Bytes::from(text), &Limits::default()).expect("a message")
}

fn request(method: &str, more: &str, body: &str) -> Request {
    let first = format!("{method} sip:bob@192.0.2.2 SIP/2.0");
    match message(&first, &format!("CSeq: 1 {method}\r\n{more}"), body) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a request"),
    }
}

fn response(status: &str, body: &str) -> Response {
    match message(&format!("SIP/2.0 {status}"), "CSeq: 1 INVITE\r\n", body) {
        Message::Response(response) => response,
        Message::Request(_) => panic!("a response"),
    }
}

const SESSION: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";

#[test]
fn a_call_is_dialled_held_transferred_given_to_an_application_and_ends() {
    let mut alone = Alone::new();
    let invite = request("INVITE", "Contact: <sip:ann@192.0.2.1>\r\n", SESSION);
    let mut leg = Leg::new(Life::incoming(invite.clone()), AddressFamily::V4);
    leg.identity.called = Some("bob".into());
    let (mut ann, usage, at) = (LegId(0), alone.usage(), alone.now);
    alone.step(|step, t| {
        ann = step.new_leg(leg);
        step.set_usage(ann, usage);
        step.call.a = ann;
        step.record_incoming(t, ann, &invite, SocketAddr::from(([192, 0, 2, 1], 5060)));
        step.advance_call(CallEvent::Incoming);
        let call = IncomingCall {
            call: CALL,
            leg: ann,
            request: invite,
            source: SocketAddr::from(([192, 0, 2, 1], 5060)),
            at,
            identity: None,
            gateway: None,
            who: Default::default(),
            number: "bob".into(),
            answered: false,
            outbound: false,
            early: false,
            resumed: false,
        };
        step.effect(Effect::AskHandlers(Box::new(Handing::new(call))));
    });
    assert_eq!(
        std::mem::take(&mut alone.seen),
        ["asks the handlers", "PairOffer", "INVITE sip:bob@192.0.2.9"]
    );
    let bob = alone.call.legs.ids().find(|leg| *leg != ann).expect("Bob's leg");
    let (a, b) = (ann.0, bob.0);

    let ringing = UsageEvent::Provisional { response: response("180 Ringing", ""), prack_wanted: false };
    assert_eq!(alone.hear(bob, ringing), [format!("180 to {a}")]);
    let answered = UsageEvent::Answered { response: response("200 OK", SESSION), ack_wanted: false };
    assert_eq!(
        alone.hear(bob, answered),
        ["PairAnswer".to_owned(), format!("200 to {a}"), "Bridge".to_owned()]
    );
    assert_eq!(alone.call.state, CallState::Bridged);

    let held = request("INVITE", "", &format!("{SESSION}a=sendonly\r\n"));
    assert_eq!(
        alone.hear(ann, UsageEvent::ReInvite { request: held }),
        ["LocalAnswer".to_owned(), format!("200 to {a}")]
    );
    assert!(alone.call.leg(ann).is_some_and(|it| it.hold.wanted), "Ann has put the call on hold");

    // Bob sends Ann to Carol.
    let refer = request("REFER", "Refer-To: <sip:carol@192.0.2.3>\r\n", "");
    let to = ReferTo::of(&refer).expect("a target");
    let party = PartyRefer { usage, refer: serde_json::from_str::<ReferId>("1").expect("an id") };
    alone.step(|step, t| step.referred(t, TransferLegs { leaves: bob, stays: ann }, party, &to, &refer));
    let sent = std::mem::take(&mut alone.seen);
    assert_eq!(sent, ["202 to the REFER", "LocalOffer", "INVITE sip:carol@192.0.2.9"]);
    let carol = alone.call.legs.ids().find(|leg| ![ann, bob].contains(leg)).expect("Carol's leg");
    let answered = UsageEvent::Answered { response: response("200 OK", SESSION), ack_wanted: false };
    let sent = alone.hear(carol, answered).join(", ");
    let joined = "ApplyRemote, Unbridge, Bridge, NOTIFY 200, LocalOffer, Offer to ";
    assert_eq!(sent, format!("{joined}{a}"));
    assert_eq!(alone.call.bridged(ann).map(|(other, _)| other), Some(carol));
    let bye = UsageEvent::Terminated { cause: Termination::RemoteBye { request: request("BYE", "", "") } };
    let sent = alone.hear(bob, bye).join(", ");
    assert_eq!(sent, format!("Release 2, record of {b}: Local"), "he was sent away");

    // A program takes Ann from Carol, and gives her to an application.
    let agreed = UsageEvent::ReInviteAnswered { response: response("200 OK", SESSION), ack_wanted: false };
    alone.hear(ann, agreed);
    alone.step(|step, t| {
        step.step(t, CallInput::Command(Command::LetGo { leg: ann, reply: Answering::default() }))
    });
    let sent = std::mem::take(&mut alone.seen).join(", ");
    assert!(sent.contains(&format!("Bye to {}", carol.0)), "{sent}");
    let give = Command::Give {
        leg: ann,
        name: "menu".to_owned(),
        number: Some("700".to_owned()),
        reply: Answering::default(),
    };
    alone.step(|step, t| step.step(t, CallInput::Command(give)));
    assert_eq!(std::mem::take(&mut alone.seen), ["hands to menu"]);
    assert_eq!(alone.call.application.as_deref(), Some("menu"));

    let over = UsageEvent::Terminated { cause: Termination::LocalBye };
    alone.hear(carol, over);
    let bye = UsageEvent::Terminated { cause: Termination::RemoteBye { request: request("BYE", "", "") } };
    let sent = alone.hear(ann, bye).join(", ");
    assert_eq!(sent, format!("Release 1, record of {a}: Remote"));
    assert!(alone.is_empty, "no leg is left");
    assert_eq!(alone.out.counters.impossible, 0);
    assert_eq!(alone.out.counters.illegal, 0);
    let states = alone.call_states();
    assert_eq!(states.first(), Some(&CallState::IncomingCall));
    assert!(states.contains(&CallState::Transferring), "{states:?}");
}
