//! Subscriptions in virtual time, at an endpoint without sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::document::MessageCounts;
use super::resource::Watcher;
use super::state::{Mailbox, NotifierCounters, NotifierState};
use super::{Asking, Notifier};
use crate::board::GatewayBoard;
use crate::config::parse_alone;
use crate::in_force::Settings;
use crate::registrar::{MemoryStore, Registrar, RegistrarConfig};
use b2b_call::LegId;
use b2b_call::call_fsm::CallDirection;
use b2b_call::leg_fsm::LegState;
use b2b_call::switch::Turn;
use b2b_sip::endpoint::{Endpoint, EndpointConfig, Event, Flow, FlowId, HopRule, Input, Output, Transport};
use b2b_sip::msg::{Limits, Message, Method, Name, Request, Response, ResponseWriter};

const CONFIG: &str = "[server]\nlisten = [\"udp:192.0.2.1:5060\"]\ndomains = [\"b2b.example\"]\n\
                      [[user]]\nname = \"1001\"\npassword = \"x\"\n[[user]]\nname = \"1002\"\npassword = \"x\"\n";

/// The notifier with its endpoint, and what it sends to the one phone there is.
struct Scene {
    now: Instant,
    sip: Endpoint,
    notifier: Notifier,
    state: NotifierState,
    settings: Settings,
    requests: Vec<Request>,
    responses: Vec<Response>,
    count: u32,
}

impl Scene {
    fn new() -> Scene {
        let now = Instant::now();
        let store = Box::new(MemoryStore::new());
        let registrar = Registrar::new(RegistrarConfig::default(), store, now);
        let config = parse_alone(CONFIG).unwrap();
        let settings =
            Settings::new(config, Arc::new(Mutex::new(registrar)), GatewayBoard::default()).unwrap();
        let endpoint = EndpointConfig { outside: vec![Method::Subscribe], ..EndpointConfig::new([7; 32]) };
        let state = NotifierState::default();
        Scene {
            now,
            sip: Endpoint::new(endpoint),
            notifier: Notifier::new(state.clone()),
            state,
            settings,
            requests: Vec::new(),
            responses: Vec::new(),
            count: 0,
        }
    }

    fn input(&mut self, data: impl Into<bytes::Bytes>) {
        let (local, remote): (SocketAddr, SocketAddr) =
            ("192.0.2.1:5060".parse().unwrap(), "192.0.2.9:5060".parse().unwrap());
        let flow = Flow { transport: Transport::Udp, local, remote, id: FlowId(1) };
        self.sip.handle_input(self.now, Input::Datagram { flow, data: data.into() });
    }

    /// What the switch would do with what the endpoint says.
    fn settle(&mut self) {
        while let Some(output) = self.sip.poll_output() {
            let mut t = Turn { now: self.now, wall: SystemTime::UNIX_EPOCH, sip: &mut self.sip };
            match output {
                Output::Transmit { data, .. } => match Message::parse(data, &Limits::default()) {
                    Ok(Message::Request(request)) => self.requests.push(request),
                    Ok(Message::Response(response)) => self.responses.push(response),
                    Err(error) => panic!("{error:?}"),
                },
                Output::Event(Event::Request { transaction, request, flow }) => {
                    let watcher = Watcher { user: Some("1001"), address: flow.remote.ip() };
                    let asking = Asking { settings: &self.settings, watcher };
                    if let Err(reply) =
                        self.notifier.subscribe(&mut t, transaction, &request, asking, HopRule::Follow)
                    {
                        t.sip.respond(t.now, transaction, reply).unwrap();
                    }
                }
                Output::Event(Event::Resubscribe { subscription, transaction, request }) => {
                    self.notifier.resubscribe(&mut t, subscription, transaction, &request);
                }
                Output::Event(Event::Response { request, result, .. }) => {
                    assert!(self.notifier.answered(&mut t, request, &result));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn work(&mut self) {
        let mut t = Turn { now: self.now, wall: SystemTime::UNIX_EPOCH, sip: &mut self.sip };
        self.notifier.work(&mut t);
        self.settle();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = [self.sip.next_timeout(), self.notifier.next_timeout(self.now)];
            let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.sip.handle_input(self.now, Input::Timeout);
            self.settle();
            self.work();
        }
        self.now = end;
    }

    fn ask(&mut self, uri: &str, to: &str, fields: &str) {
        self.count += 1;
        let count = self.count;
        self.input(format!(
            "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKs{count};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1001@b2b.example>;tag=a\r\nTo: {to}\r\nCall-ID: watch\r\n\
             CSeq: {count} SUBSCRIBE\r\nContact: <sip:1001@192.0.2.9>\r\n{fields}Content-Length: 0\r\n\r\n"
        ));
    }

    /// SUBSCRIBE; the status, and the To with its tag.
    fn subscribe(&mut self, user: &str, fields: &str) -> (u16, String) {
        let uri = format!("sip:{user}@b2b.example");
        self.ask(&uri, &format!("<{uri}>"), fields);
        self.settle();
        let response = self.responses.pop().unwrap();
        (response.status(), String::from_utf8_lossy(response.header(Name::To).unwrap()).into_owned())
    }

    fn response(request: &Request, status: u16) -> bytes::Bytes {
        ResponseWriter::reply_to(request, status, "Status", None).finish().unwrap()
    }

    fn answer(&mut self, request: &Request, status: u16) {
        self.input(Scene::response(request, status));
        self.settle();
    }

    /// The NOTIFY that has come, and no other one; answers it.
    fn told(&mut self) -> (String, String) {
        let [request] = &std::mem::take(&mut self.requests)[..] else { panic!("not one NOTIFY") };
        self.answer(request, 200);
        let state = String::from_utf8_lossy(request.header(Name::SubscriptionState).unwrap()).into_owned();
        (state, String::from_utf8_lossy(&request.body()).into_owned())
    }

    fn is_empty(&self) -> bool {
        assert_eq!(self.sip.holdings().subscriptions, self.state.subscriptions());
        self.notifier.is_empty()
            && self.state.subscriptions() == 0
            && self.notifier.watching.is_empty()
            && self.notifier.of_subscriber.is_empty()
            && self.notifier.notifies.is_empty()
            && self.notifier.timers.is_empty()
    }
}

const DIALOG: &str = "Event: dialog\r\nExpires: 600\r\n";

#[test]
fn a_subscription_ends_with_its_time_and_leaves_nothing() {
    let mut scene = Scene::new();
    assert_eq!(scene.subscribe("1002", DIALOG).0, 200);
    assert_eq!(scene.told().0, "active;expires=600");
    scene.run(Duration::from_secs(599));
    assert!(scene.requests.is_empty());
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.told().0, "terminated;reason=timeout");
    assert!(scene.is_empty());
}

#[test]
fn a_refresh_gives_more_time() {
    let mut scene = Scene::new();
    let (_, to) = scene.subscribe("1002", DIALOG);
    scene.told();
    scene.run(Duration::from_secs(500));
    scene.ask("sip:192.0.2.1", &to, DIALOG);
    scene.settle();
    assert_eq!(scene.responses.pop().unwrap().status(), 200);
    assert_eq!(scene.told().0, "active;expires=600");
    scene.run(Duration::from_secs(599));
    assert!(scene.requests.is_empty());
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.told().0, "terminated;reason=timeout");
}

#[test]
fn notifies_are_a_tenth_of_a_second_apart_and_the_newest_state_is_told() {
    let mut scene = Scene::new();
    scene.subscribe("1002", DIALOG);
    scene.told();
    scene.run(Duration::from_secs(1));
    scene.state.leg_began(LegId(1), "1002", CallDirection::Outbound);
    scene.work();
    assert!(scene.told().1.contains("trying"), "after a rest at once");
    scene.state.leg_moved(LegId(1), LegState::Ringing);
    scene.work();
    scene.run(Duration::from_millis(90));
    scene.state.leg_moved(LegId(1), LegState::Answered);
    scene.work();
    assert!(scene.requests.is_empty());
    scene.run(Duration::from_millis(10));
    let (_, document) = scene.told();
    assert!(document.contains("version=\"2\"") && document.contains("confirmed"), "{document}");
    scene.run(Duration::from_secs(10));
    assert!(scene.requests.is_empty());
}

#[test]
fn a_phone_that_answers_nothing_is_forgotten() {
    let mut scene = Scene::new();
    scene.subscribe("1002", DIALOG);
    scene.run(Duration::from_secs(33));
    assert!(scene.requests.len() > 5, "sent again and again");
    assert!(scene.is_empty());
}

#[test]
fn who_asks_again_while_it_is_forgotten_is_told_at_once() {
    let mut scene = Scene::new();
    let (_, to) = scene.subscribe("1002", DIALOG);
    let notify = scene.requests.pop().unwrap();
    // Both arrive before either is processed.
    scene.input(Scene::response(&notify, 481));
    scene.ask("sip:192.0.2.1", &to, DIALOG);
    scene.settle();
    assert_eq!(scene.responses.pop().unwrap().status(), 481);
    assert!(scene.is_empty());
}

#[test]
fn messages_are_told_as_they_come_until_the_mailbox_is_no_more() {
    let mut scene = Scene::new();
    let fields = "Event: message-summary\r\nAccept: application/simple-message-summary\r\n";
    assert_eq!(scene.subscribe("1001", fields).0, 404);
    let mailbox = |name: &str, new, old| Mailbox {
        name: format!("box-{name}"),
        users: vec![name.to_owned()],
        counts: MessageCounts { new, old },
    };
    scene.state.set_mailboxes([mailbox("1001", 0, 2), mailbox("1002", 1, 0)].into_iter());
    assert_eq!(scene.subscribe("1002", fields).0, 403, "another one's");
    assert_eq!(scene.subscribe("1001", fields).0, 200);
    let body = |waiting, counts| {
        format!(
            "Messages-Waiting: {waiting}\r\nMessage-Account: sip:1001@b2b.example\r\n\
             Voice-Message: {counts} (0/0)\r\n"
        )
    };
    assert_eq!(scene.told(), ("active;expires=3600".to_owned(), body("no", "0/2")));
    scene.run(Duration::from_secs(1));
    scene.state.set_mailboxes([mailbox("1001", 1, 2), mailbox("1002", 2, 0)].into_iter());
    scene.work();
    assert_eq!(scene.told().1, body("yes", "1/2"));
    scene.run(Duration::from_secs(1));
    scene.state.set_mailboxes([mailbox("1002", 2, 0)].into_iter());
    scene.work();
    assert_eq!(scene.told().0, "terminated;reason=noresource");
    assert!(scene.is_empty());
}

#[test]
fn what_becomes_of_subscriptions_is_counted() {
    let mut scene = Scene::new();
    // Once only; refused; until the watcher wants no more.
    assert_eq!(scene.subscribe("1002", "Event: dialog\r\nExpires: 0\r\n").0, 200);
    scene.told();
    assert_eq!(scene.subscribe("1009", DIALOG).0, 404);
    let (_, to) = scene.subscribe("1002", DIALOG);
    scene.told();
    for fields in [DIALOG, "Event: dialog\r\nExpires: 0\r\n"] {
        scene.ask("sip:192.0.2.1", &to, fields);
        scene.settle();
        scene.responses.pop();
        scene.told();
    }
    // Until its time is over; until a NOTIFY is refused.
    scene.subscribe("1002", DIALOG);
    scene.told();
    scene.run(Duration::from_secs(600));
    scene.told();
    scene.subscribe("1002", DIALOG);
    let notify = scene.requests.pop().unwrap();
    scene.answer(&notify, 481);
    assert!(scene.is_empty());
    let wanted = NotifierCounters {
        begun: 4,
        refreshed: 1,
        refused: 1,
        ended: 2,
        expired: 1,
        untold: 1,
        notifies: 7,
        ..NotifierCounters::default()
    };
    assert_eq!(scene.state.counters(), wanted);
}

#[test]
fn at_the_stop_everybody_is_told_and_nobody_may_begin() {
    let mut scene = Scene::new();
    scene.subscribe("1002", DIALOG);
    scene.told();
    scene.notifier.drain();
    assert_eq!(scene.notifier.next_timeout(scene.now), Some(scene.now), "there is something to do");
    scene.work();
    assert_eq!(scene.told().0, "terminated;reason=deactivated");
    assert_eq!(scene.subscribe("1002", DIALOG).0, 503);
    assert!(scene.is_empty());
    let NotifierCounters { stopped, over_limit, .. } = scene.state.counters();
    assert_eq!((stopped, over_limit), (1, 1));
}
