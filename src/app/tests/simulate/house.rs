//! The handlers of a world: a desk that knows the plans, and every application.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use b2b_app::Prompts;
use b2b_app::conference::{self, Conference, RoomConfig, Rooms};
use b2b_app::ivr::{self, AskUrl, DigitPlan, Does, Ivr, IvrFlow, Node, Say, Template};
use b2b_app::park::{LotConfig, Lots, Parking};
use b2b_app::queue::machine::values::{AgentNo, AgentPlan, QueuePlan};
use b2b_app::queue::sounds::QueueSounds;
use b2b_app::queue::{AgentSettings, Codes, DeskSettings, QueueDesk, QueueHandler, QueueSettings, WaysOut};
use b2b_app::test_numbers::{EchoNumber, Milliwatt};
use b2b_app::voice_agent::{
    AgentConfig, AgentSeats, Ask, Calling, Connecting, Line, Parting, Reach, Talk, Talking, Target,
    VoiceAgent,
};
use b2b_app::voicemail::{
    self, Age, FileWork, MailboxConfig, Mailboxes, Message, MessageFiles, VoicemailConfig,
};
use b2b_app::wrong_pins::WrongPins;
use b2b_base::util::secret::SecretText;
use b2b_base::util::wall::WallClock;
use b2b_call::handler::{
    ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall, Redirection, Referral,
};
use b2b_call::lookup::{
    LookupError, LookupFuture, LookupKind, LookupRequest, LookupResult, ResolvedContact, Resolver,
};
use b2b_call::service::{CallService, DialOptions, DialRequest, DialTo};
use b2b_call::{CallId, LegId};
use b2b_testkit::gateway;
use rand::RngExt;

use crate::plan::{AGENTS, APPS, ASKING, CALLERS, PHONES, Plan, Route, address, dice};
use crate::program::{self, steps};

/// The plans of calls, and the calls and legs that they have become.
#[derive(Clone)]
pub struct Desk {
    pub seed: u64,
    pub plans: Arc<Vec<Plan>>,
    pub legs: Arc<Mutex<HashMap<usize, (CallId, LegId)>>>,
}

/// The URI of a phone of a call.
pub fn uri(plans: &[Plan], call: usize, phone: usize) -> String {
    let party = plans.get(call).and_then(|plan| plan.phones.get(phone)).map_or(CALLERS, |it| it.party);
    format!("sip:c{call}p{phone}@{}", address(party))
}

/// The call that a number belongs to, and the rest of the number.
pub fn number(text: &str) -> Option<(usize, &str)> {
    let text = text.strip_prefix('c')?;
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn user(uri: &str) -> &str {
    let uri = uri.strip_prefix("sip:").unwrap_or(uri);
    uri.split(['@', ';', '?']).next().unwrap_or(uri)
}

impl Desk {
    fn decide(&self, call: &IncomingCall, service: CallService) -> HandlerFuture {
        let called = call.called();
        let action = |action| -> HandlerFuture { Box::pin(std::future::ready(action)) };
        let Some((n, rest)) = number(&called).filter(|(n, _)| *n < self.plans.len()) else {
            return action(HandlerAction::Continue);
        };
        let plans = self.plans.clone();
        if rest == "q" {
            // The party it talks to has asked: to the fourth phone.
            return action(HandlerAction::TransferTo(uri(&plans, n, 3)));
        }
        let ids = (call.call, call.leg);
        self.legs.lock().unwrap_or_else(PoisonError::into_inner).insert(n, ids);
        let Some(plan) = plans.get(n) else { return action(HandlerAction::Continue) };
        match &plan.route {
            Route::Dial { phones, parallel, mode, record, direct, auto_hangup } => {
                let contact = |phone: usize| {
                    let priority = if *parallel { 0 } else { phone as u16 };
                    contact(&uri(&plans, n, phone), priority)
                };
                let options = DialOptions {
                    ring_timeout: Duration::from_secs(8),
                    mode: *mode,
                    record: *record,
                    direct: *direct,
                    auto_hangup: *auto_hangup,
                    ..DialOptions::default()
                };
                let to = DialTo::Contacts((0..*phones).map(contact).collect());
                action(HandlerAction::Dial(Box::new(DialRequest { to, options })))
            }
            Route::Nowhere => action(HandlerAction::TransferTo("sip:nobody@203.0.113.9".to_owned())),
            Route::App(app) => action(HandlerAction::Handle(APPS[*app].to_owned())),
            Route::Program(steps) => {
                Box::pin(program::run(steps.clone(), service, ids, move |phone| uri(&plans, n, phone)))
            }
            Route::Refuse(status) => action(HandlerAction::Reject { status: *status, reason: String::new() }),
            Route::Panic => panic!("a handler's own mistake"),
            Route::Originated(_) => action(HandlerAction::Disconnect),
        }
    }
}

impl ApplicationHandler for Desk {
    fn name(&self) -> &str {
        "desk"
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        self.decide(&call, service)
    }

    fn handle_referral(&self, referral: Referral) -> HandlerFuture {
        let target = user(&referral.target);
        let app = target.strip_prefix('a').and_then(|app| APPS.get(app.parse::<usize>().ok()?));
        let action = match (app, number(target)) {
            (Some(app), _) => HandlerAction::Handle((*app).to_owned()),
            (None, Some(_)) => HandlerAction::TransferTo(referral.target),
            (None, None) => HandlerAction::Reject { status: 403, reason: String::new() },
        };
        Box::pin(std::future::ready(action))
    }

    fn handle_redirect(&self, redirection: Redirection) -> HandlerFuture {
        let contact = contact(&redirection.target, 0);
        let dial = HandlerAction::Dial(Box::new(DialRequest::contacts(vec![contact])));
        Box::pin(std::future::ready(dial))
    }
}

/// `program/any`: its actions are random by the call's number.
struct Program(Desk);

impl ApplicationHandler for Program {
    fn name(&self) -> &str {
        "program/any"
    }

    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let steps = steps(&mut crate::plan::dice(self.0.seed, call.leg.0 + 2_000_000));
        let (plans, n) = (self.0.plans.clone(), number(&call.called()).map_or(0, |(n, _)| n));
        Box::pin(program::run(steps, service, (call.call, call.leg), move |phone| uri(&plans, n, phone)))
    }
}

/// The contact of a URI, through the gateway if it leads there.
fn contact(uri: &str, priority: u16) -> ResolvedContact {
    let host = address(ASKING[0]);
    let gateway = uri.ends_with(&host).then(|| gateway(&host));
    ResolvedContact { gateway, ..ResolvedContact::new(uri.to_owned(), priority) }
}

/// Targets are URIs. Most are found at once, others after a while, too late, or not at all.
pub struct Uris {
    pub seed: u64,
    pub service: Mutex<Option<CallService>>,
}

impl Uris {
    /// Look-ups wait by this service from now on.
    pub fn serves(&self, service: CallService) {
        *self.service.lock().unwrap_or_else(PoisonError::into_inner) = Some(service);
    }
}

impl Resolver for Uris {
    fn name(&self) -> &str {
        "uris"
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        let target = &request.target;
        let found = target
            .starts_with("sip:")
            .then(|| LookupResult::new(LookupKind::Direct, target, vec![contact(target, 0)]));
        let salt = target.bytes().fold(3_000_000_u64, |sum, it| sum.wrapping_mul(31) + u64::from(it));
        let mut it = dice(self.seed, salt);
        let (ms, fails) = match it.random_range(0..20) {
            0..=11 => return Box::pin(std::future::ready(Ok(found))),
            12..=16 => (it.random_range(1..3_000), false),
            17 => (it.random_range(3_000..15_000), false),
            18 => (it.random_range(1..3_000), true),
            _ => (30_000, true),
        };
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            if let Some(service) = service {
                let _ = service.sleep(Duration::from_millis(ms)).await;
            }
            let error = || LookupError::BadTarget { target: target.clone(), why: "nobody answers".into() };
            if fails { Err(error()) } else { Ok(found) }
        })
    }
}

/// A disk on which every operation succeeds.
struct Disk;

impl MessageFiles for Disk {
    fn rename(&self, _: &Path, _: &Path) -> FileWork {
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove(&self, _: &Path) -> FileWork {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A voice agent that ends the talk after a while, in which it may consult a phone.
#[derive(Clone)]
struct Ada(AgentSeats, Desk);

impl Reach for Ada {
    fn connect(&self, _: &Arc<AgentConfig>, _: Calling) -> Connecting {
        let line: Box<dyn Line> = Box::new(self.clone());
        Box::pin(std::future::ready(Ok(line)))
    }

    fn seats(&self) -> &AgentSeats {
        &self.0
    }
}

impl Line for Ada {
    fn talk(self: Box<Self>, talk: Talk) -> Talking {
        Box::pin(async move {
            let (leg, Ada(_, desk)) = (talk.leg.0, *self);
            let consults = number(&talk.called).filter(|_| leg % 2 == 0);
            if let Some(to) = consults.map(|(n, _)| uri(&desk.plans, n, 2)) {
                talk.consulting.ask(Ask::Consult(Target { to, headers: Vec::new() }));
            }
            let _ = talk.service.sleep(Duration::from_millis(500 + leg % 7 * 800)).await;
            if leg % 5 == 0 {
                talk.consulting.ask(Ask::Return);
                let _ = talk.service.sleep(Duration::from_millis(leg % 11 * 10)).await;
            }
            match leg % 3 {
                0 => Parting::Stopped { transfer: None },
                1 => Parting::Stopped {
                    transfer: Some(Target { to: "queue/sales".to_owned(), headers: Vec::new() }),
                },
                _ => Parting::Failed { code: None, why: "it has gone".to_owned() },
            }
        })
    }
}

fn queue() -> QueueDesk {
    let agent = |n: usize| AgentSettings {
        plan: AgentPlan::new(format!("agent{n}")),
        target: format!("sip:agent{n}@{}", address(CALLERS + PHONES + n)),
        user: None,
    };
    let s = Duration::from_secs;
    let plan = QueuePlan {
        priority: 1,
        ring: s(6),
        wrap_up: s(2),
        rest: s(1),
        misses: 0,
        announce: Some(s(10)),
        patience: Some(s(20)),
        most: 4,
        digits: vec!['9'],
        ..QueuePlan::new("sales", (0..AGENTS).map(AgentNo))
    };
    let sounds = QueueSounds {
        welcome: Some(Path::new("welcome.wav").into()),
        music: Some("jazz".to_owned()),
        ..QueueSounds::default()
    };
    let ways_out = WaysOut {
        timeout: Some("voicemail/1001".to_owned()),
        full: Some("milliwatt".to_owned()),
        no_agents: None,
        digits: BTreeMap::from([('9', "conference/blue".to_owned())]),
    };
    QueueDesk::new(DeskSettings {
        agents: (0..AGENTS).map(agent).collect(),
        queues: vec![QueueSettings { plan, sounds, ways_out }],
        codes: Codes::default(),
    })
}

/// `shop`: who presses 9 has their order taken by a web server.
fn tree(desk: &Desk, shop: Option<Arc<dyn AskUrl>>) -> Ivr {
    let prompts = Prompts::new("/p");
    let says = |file: &str| vec![Say::Part(prompts.file(file))];
    let bye = || Some("bye".to_owned());
    let ask =
        ivr::Ask { no_input: bye(), invalid: bye(), ..ivr::Ask::new(says("menu.wav"), DigitPlan::new(1)) };
    let mut choices = vec![
        ("1", "queue"),
        ("2", "operator"),
        ("3", "box"),
        ("4", "room"),
        ("5", "park"),
        ("6", "program"),
        ("7", "agent"),
        ("8", "bye"),
    ];
    choices.extend(shop.iter().map(|_| ("9", "shop")));
    let choices = choices.into_iter().map(|(key, to)| (key.to_owned(), to.to_owned())).collect();
    let template = |text: &str| Template::new(text).unwrap_or_else(|error| panic!("{error}"));
    let to = template(&uri(&desk.plans, 0, 0));
    let mut nodes = vec![
        ("hello", Does::PlayPrompt { prompt: says("hello.wav"), next: Some("menu".to_owned()) }),
        ("menu", ivr::menu(ask, choices)),
        ("queue", Does::Hand { app: template("queue/sales") }),
        ("operator", Does::Transfer { to, ring: None, early_media: true, failed: bye() }),
        ("box", Does::Hand { app: template("voicemail/1001") }),
        ("room", Does::Hand { app: template("conference/blue") }),
        ("park", Does::Hand { app: template("park/lot") }),
        ("program", Does::Hand { app: template("program/any") }),
        ("agent", Does::Hand { app: template("voice_agent/ada") }),
        ("bye", Does::PlayPrompt { prompt: says("bye.wav"), next: None }),
    ];
    let order = || Does::Http {
        url: template("https://shop.example.com/order"),
        fields: Vec::new(),
        timeout: Duration::from_secs(5),
        next: Some("hello".to_owned()),
        failed: bye(),
        may_name: Vec::new(),
    };
    nodes.extend(shop.iter().map(|_| ("shop", order())));
    let nodes = nodes.into_iter().map(|(name, does)| Node { name: name.to_owned(), does }).collect();
    let flow = IvrFlow { name: "main".to_owned(), start: "hello".to_owned(), nodes };
    ivr::check(&flow, &prompts, &|_| Ok(())).unwrap_or_else(|error| panic!("{error}"));
    let ivr = Ivr::new(flow, prompts);
    match shop {
        Some(shop) => ivr.with_urls(shop),
        None => ivr,
    }
}

fn room(name: &str, pin: Option<&str>, rooms: &Rooms) -> Arc<dyn ApplicationHandler> {
    let mut config = RoomConfig::new(name);
    for word in conference::Word::ALL {
        config.words.set(*word, format!("{}.wav", word.as_str()));
    }
    config.pin = pin.map(SecretText::new);
    config.moderator_pin = pin.map(|_| SecretText::new("9"));
    config.then = pin.map(|_| "ivr/main".to_owned());
    config.most = 6;
    Arc::new(Conference::new(config, rooms))
}

/// Every handler, and the queues' desk, which is to be started.
pub fn handlers(
    desk: &Desk,
    now: Instant,
    shop: Option<Arc<dyn AskUrl>>,
) -> (Vec<Arc<dyn ApplicationHandler>>, QueueDesk) {
    let queues = queue();
    let rooms = Rooms::new("start", WrongPins::default());
    let lot = LotConfig {
        slots: 701..=703,
        timeout: Duration::from_secs(10),
        ring: Duration::from_secs(5),
        music: Some("jazz".to_owned()),
        ..LotConfig::new("lot")
    };
    let mut boxes = VoicemailConfig::new("/vm");
    for word in voicemail::Word::ALL {
        boxes.words.set(*word, format!("{}.wav", word.as_str()));
    }
    boxes.mailboxes.push(MailboxConfig::new("1001", SecretText::new("4711")));
    let mailboxes = Mailboxes::default();
    mailboxes.set(["1001"], |_| vec![Message { file: "1.wav".to_owned(), age: Age::New }]);
    let clock = WallClock::new(now, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
    let agent = AgentConfig {
        calls: 2,
        wait: Duration::from_secs(2),
        fallback: Some("ivr/main".to_owned()),
        ..AgentConfig::new("ada", "ws://127.0.0.1:1/".parse().unwrap_or_else(|_| panic!("a URL")))
    };
    let mut all: Vec<Arc<dyn ApplicationHandler>> = vec![
        Arc::new(desk.clone()),
        Arc::new(Program(desk.clone())),
        Arc::new(tree(desk, shop)),
        room("blue", None, &rooms),
        room("pin", Some("1"), &rooms),
        Arc::new(Parking::new(lot, &Lots::new())),
        Arc::new(VoiceAgent::new(agent, Arc::new(Ada(AgentSeats::default(), desk.clone())))),
        Arc::new(EchoNumber),
        Arc::new(Milliwatt),
    ];
    all.extend(QueueHandler::all(&queues));
    all.extend(voicemail::applications(boxes, &mailboxes, Arc::new(Disk), clock));
    (all, queues)
}
