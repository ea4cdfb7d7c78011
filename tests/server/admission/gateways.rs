//! Gateways: registrations at a provider, and the availability of its hosts.

use std::time::Duration;

use b2b::call::bus::{Received, Subscriber};
use b2b::call::event::Event;
use b2b::call::resolver::Health;
use b2b::server::board::Wanted;
use b2b::sip::auth::{Algorithm, Asked, Credentials, DigestConfig, DigestServer, Secret, Side, Verdict};
use b2b::sip::endpoint::{Event as Heard, Reply, Termination};
use b2b::sip::msg::{Name, Request};
use b2b_testkit::{PartyId, SESSION};

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const ONE: &str = "192.0.2.21:5060";
const TWO: &str = "192.0.2.22:5060";

fn config(gateway: &str) -> String {
    format!(
        "[server]\ntrusted = [\"192.0.2.11\"]\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{ONE}\"]\n{gateway}\n\
         [[gateway]]\nname = \"spare\"\nhosts = [\"{TWO}\"]\noptions_s = 0\n\
         [[route]]\nto = [\"gateway/carrier\", \"gateway/spare\"]\n"
    )
}

const REGISTERS: &str =
    "username = \"acme\"\npassword = \"secret\"\nregister = true\nexpires_s = 600\noptions_s = 0";

struct Account;

impl Credentials for Account {
    fn secret(&self, user: &str, _: &str, _: Algorithm) -> Option<Secret<'_>> {
        (user == "acme").then(|| Secret::Password("secret".into()))
    }
}

/// The registrar of a provider.
pub struct Provider {
    pub party: PartyId,
    digest: DigestServer,
    pub seen: Vec<Request>,
}

impl Provider {
    pub fn new(bench: &mut Bench, at: &str) -> Provider {
        let digest = DigestServer::new(DigestConfig::default(), [5; 32], bench.harness.now());
        Provider { party: bench.harness.party(at), digest, seen: Vec::new() }
    }

    /// Answers all requests received: challenges them, then grants this expiry.
    pub fn serve(&mut self, bench: &mut Bench, granted: u32) {
        loop {
            let asked = bench.asked(self.party);
            if asked.is_empty() {
                return;
            }
            for (transaction, request) in asked {
                let who = Asked {
                    source: [192, 0, 2, 1].into(),
                    realm: "provider",
                    side: Side::Server,
                    md5_only: false,
                };
                let reply = match self.digest.verify(bench.harness.now(), &request, who, &Account) {
                    Verdict::Authenticated { .. } => accepted(&request, granted),
                    Verdict::Challenge { status, headers } | Verdict::Rejected { status, headers, .. } => {
                        Reply { headers, ..Reply::status(status) }
                    }
                    Verdict::Malformed => panic!("{request:?}"),
                };
                self.seen.push(request);
                bench.answer(self.party, transaction, reply);
            }
        }
    }
}

/// 200 that lists our contact among others, as registrars do.
fn accepted(request: &Request, granted: u32) -> Reply {
    let contact = request.header(Name::Contact).map(|it| String::from_utf8_lossy(it).into_owned());
    let listed = match request.number::<u32>(Name::Expires) {
        Ok(Some(0)) => "<sip:acme@198.51.100.9>;expires=9999".to_owned(),
        _ => {
            format!("<sip:acme@198.51.100.9>;expires=9999, {};expires={granted}", contact.expect("a contact"))
        }
    };
    // The test's endpoint adds no Contact of its own outside calls.
    Reply { headers: vec![("Contact".into(), listed.into())], ..Reply::status(200) }
}

fn expires(request: &Request) -> Option<u32> {
    request.number(Name::Expires).ok().flatten()
}

fn told(events: &mut Subscriber) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv())
        .filter_map(|received| match received {
            Received::Event(published) => Some(published.event.clone()),
            Received::Lagged(_) => None,
        })
        .collect()
}

fn is_registered(bench: &Bench) -> bool {
    let (_, state, _) = bench.parts.board.snapshot().into_iter().find(|it| it.0 == "carrier").expect("known");
    state.registration.is_some_and(|it| it.registered)
}

/// Lets time pass, with the provider answering.
fn pass(bench: &mut Bench, provider: &mut Provider, time: Duration, granted: u32) {
    let end = bench.harness.now() + time;
    while bench.harness.now() < end {
        bench.harness.run(Duration::from_secs(1));
        provider.serve(bench, granted);
    }
}

#[test]
fn it_registers_with_its_password_refreshes_in_time_and_takes_it_back_at_the_stop() {
    let mut bench = Bench::new(&config(REGISTERS));
    let mut events = bench.parts.bus.subscribe();
    let mut provider = Provider::new(&mut bench, ONE);
    bench.harness.settle();
    provider.serve(&mut bench, 120);
    assert!(is_registered(&bench));
    let [first, with_password] = &provider.seen[..] else { panic!("{:?}", provider.seen) };
    assert!(first.header(Name::Authorization).is_none());
    assert!(with_password.header(Name::Authorization).is_some());
    assert_eq!(first.call_id().unwrap(), with_password.call_id().unwrap());
    assert_eq!(with_password.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(with_password.to().unwrap().uri.user, Some(&b"acme"[..]));
    assert_eq!(with_password.contact().unwrap().unwrap().uri.user, Some(&b"acme"[..]));
    assert_eq!(expires(with_password), Some(600));
    // Our contact is granted 120 s, independently of the other one.
    pass(&mut bench, &mut provider, Duration::from_secs(600), 120);
    let refreshes = provider.seen.len() - 2;
    assert!((9..=13).contains(&refreshes), "{refreshes} in ten minutes of two");
    assert!(is_registered(&bench));
    let registered = |event: &Event| matches!(event, Event::GatewayRegistration { registered: true, .. });
    assert_eq!(told(&mut events).iter().filter(|it| registered(it)).count(), 1, "refreshes are no news");
    bench.harness.drain();
    assert!(!bench.harness.is_idle(), "the end of the registration is still to come");
    bench.harness.settle();
    provider.serve(&mut bench, 120);
    assert_eq!(expires(provider.seen.last().unwrap()), Some(0));
    assert!(bench.harness.is_idle());
}

#[test]
fn a_provider_that_wants_longer_registrations_gets_them() {
    let mut bench = Bench::new(&config(REGISTERS));
    let provider = Provider::new(&mut bench, ONE);
    bench.harness.settle();
    let [(transaction, _)] = bench.asked(provider.party).try_into().unwrap();
    let headers = vec![("Min-Expires".into(), "1800".into())];
    bench.answer(provider.party, transaction, Reply { headers, ..Reply::status(423) });
    let [(transaction, again)] = bench.asked(provider.party).try_into().unwrap();
    assert_eq!(expires(&again), Some(1_800));
    bench.answer(provider.party, transaction, accepted(&again, 1_800));
    assert!(is_registered(&bench));
}

#[test]
fn a_refused_registration_takes_the_gateway_out_of_use_and_is_not_insisted_on() {
    let mut bench = Bench::new(&config(REGISTERS));
    let mut events = bench.parts.bus.subscribe();
    let provider = Provider::new(&mut bench, ONE);
    let (ann, spare) = (bench.harness.party(ANN), bench.harness.party(TWO));
    bench.harness.settle();
    let [(transaction, _)] = bench.asked(provider.party).try_into().unwrap();
    bench.answer(provider.party, transaction, Reply::status(403));
    assert!(matches!(
        &told(&mut events)[..],
        [Event::GatewayRegistration { registered: false, status: Some(403), .. }]
    ));
    let call = bench.harness.call(ann, "100", Some(SESSION));
    assert!(bench.harness.incoming(provider.party).is_empty());
    bench.harness.answer_next(spare, SESSION);
    assert!(bench.harness.is_up(ann, call));
    // The first wait is one to two minutes, then it doubles each time.
    let mut waits = Vec::new();
    for _ in 0..5 {
        let mut waited = 0;
        let asked = loop {
            bench.harness.run(Duration::from_secs(1));
            waited += 1;
            let asked = bench.asked(provider.party);
            if let Ok([asked]) = <[_; 1]>::try_from(asked) {
                break asked;
            }
            assert!(waited <= 900, "after {waits:?}");
        };
        bench.answer(provider.party, asked.0, Reply::status(404));
        waits.push(waited);
    }
    for (waited, least) in waits.iter().zip([60, 120, 240, 450, 450]) {
        assert!((least..=(2 * least).min(901)).contains(waited), "{waits:?}");
    }
}

#[test]
fn a_refused_registration_is_tried_at_once_when_somebody_asks() {
    for wanted in [Wanted::Failed, Wanted::At("carrier".to_owned())] {
        let mut bench = Bench::new(&config(REGISTERS));
        let mut provider = Provider::new(&mut bench, ONE);
        bench.harness.settle();
        let [(transaction, _)] = bench.asked(provider.party).try_into().unwrap();
        bench.answer(provider.party, transaction, Reply::status(404));
        for others in [Wanted::At("spare".to_owned()), Wanted::At("none".to_owned())] {
            bench.parts.board.register(others);
        }
        bench.harness.reconfigure();
        assert!(bench.asked(provider.party).is_empty(), "of another one");
        bench.parts.board.register(wanted);
        bench.harness.reconfigure();
        provider.serve(&mut bench, 600);
        assert!(is_registered(&bench));
        // A registration in force has not failed.
        bench.parts.board.register(Wanted::Failed);
        bench.harness.reconfigure();
        assert!(bench.asked(provider.party).is_empty());
    }
}

#[test]
fn a_wrong_password_is_a_refusal() {
    let mut bench = Bench::new(&config(&REGISTERS.replace("secret", "wrong")));
    let mut provider = Provider::new(&mut bench, ONE);
    bench.harness.settle();
    provider.serve(&mut bench, 600);
    assert_eq!(provider.seen.len(), 2, "no second try with the same password");
    assert!(!is_registered(&bench));
}

#[test]
fn a_nonce_that_has_run_out_costs_one_more_round_and_no_registration() {
    let mut bench = Bench::new(&config(REGISTERS));
    let mut provider = Provider::new(&mut bench, ONE);
    provider
        .digest
        .reconfigure(DigestConfig { nonce_lifetime: Duration::from_secs(30), ..DigestConfig::default() });
    bench.harness.settle();
    pass(&mut bench, &mut provider, Duration::from_secs(240), 120);
    assert!(is_registered(&bench));
    // Each refresh was challenged again.
    let refreshes = provider.seen.len() - 2;
    assert!(refreshes >= 6 && refreshes.is_multiple_of(2), "{refreshes}");
}

#[test]
fn silence_is_answered_with_ever_longer_waits_and_the_gateway_is_used_again_when_it_is_back() {
    let mut bench = Bench::new(&config(REGISTERS));
    let mut provider = Provider::new(&mut bench, ONE);
    bench.harness.kill(provider.party);
    bench.harness.run(Duration::from_secs(600));
    let attempts: Vec<Duration> =
        bench.harness.wire.iter().filter(|it| it.data.starts_with(b"REGISTER ")).map(|it| it.at).collect();
    // Retransmissions within 32 s belong to one attempt.
    let mut begun = Vec::new();
    for at in attempts {
        if begun.last().is_none_or(|last| at > *last + Duration::from_secs(33)) {
            begun.push(at);
        }
    }
    let gaps: Vec<u64> = begun.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(gaps.len() >= 3 && gaps.len() <= 8, "{gaps:?}");
    assert!(gaps.last() > gaps.first(), "{gaps:?}");
    let ann = bench.harness.party(ANN);
    let spare = bench.harness.party(TWO);
    bench.harness.revive(provider.party);
    pass(&mut bench, &mut provider, Duration::from_secs(400), 600);
    assert!(is_registered(&bench));
    let call = bench.harness.call(ann, "100", Some(SESSION));
    bench.harness.answer_next(provider.party, SESSION);
    assert!(bench.harness.is_up(ann, call) && bench.harness.incoming(spare).is_empty());
}

#[test]
fn the_second_host_takes_the_registration_that_the_first_does_not_answer() {
    let two = format!("hosts = [\"{ONE}\", \"192.0.2.23:5060\"]");
    let text = config(REGISTERS).replacen(&format!("hosts = [\"{ONE}\"]"), &two, 1);
    let mut bench = Bench::new(&text);
    let mut second = Provider::new(&mut bench, "192.0.2.23:5060");
    pass(&mut bench, &mut second, Duration::from_secs(36), 600);
    assert!(is_registered(&bench));
}

#[test]
fn a_host_that_does_not_answer_options_is_passed_over_until_it_does() {
    let mut bench = Bench::new(&config("options_s = 30"));
    let mut events = bench.parts.bus.subscribe();
    let [ann, carrier, spare] = [ANN, ONE, TWO].map(|at| bench.harness.party(at));
    bench.harness.run(Duration::from_secs(10));
    let health = |bench: &Bench| bench.parts.board.snapshot()[0].1.hosts[0].1;
    assert_eq!(health(&bench), Health::Up);
    bench.harness.kill(carrier);
    bench.harness.run(Duration::from_secs(60));
    assert_eq!(health(&bench), Health::Down);
    let began = bench.harness.now();
    let call = bench.harness.call(ann, "100", Some(SESSION));
    bench.harness.answer_next(spare, SESSION);
    assert!(bench.harness.is_up(ann, call));
    assert!(bench.harness.now() - began < Duration::from_secs(1), "nobody waits for the dead host");
    bench.harness.revive(carrier);
    bench.harness.run(Duration::from_secs(60));
    assert_eq!(health(&bench), Health::Up);
    let ups: Vec<bool> = told(&mut events)
        .into_iter()
        .filter_map(|event| if let Event::GatewayHealth { up, .. } = event { Some(up) } else { None })
        .collect();
    assert_eq!(ups, [true, false, true]);
    let call = bench.harness.call(ann, "100", Some(SESSION));
    bench.harness.answer_next(carrier, SESSION);
    assert!(bench.harness.is_up(ann, call));
}

#[test]
fn a_host_that_answers_options_with_503_is_down_and_one_that_refuses_otherwise_is_up() {
    for (answer, expected) in [("503 Full", Health::Down), ("405 Not Here", Health::Up)] {
        let mut bench = Bench::new(&config("options_s = 30"));
        let _carrier = bench.harness.party(ONE);
        bench.harness.change_messages(move |message| match message.contains("\r\nCSeq: ") {
            true if message.contains(" OPTIONS\r\n") => {
                message.replace("SIP/2.0 200 OK", &format!("SIP/2.0 {answer}"))
            }
            _ => message.to_owned(),
        });
        bench.harness.run(Duration::from_secs(60));
        assert_eq!(bench.parts.board.snapshot()[0].1.hosts[0].1, expected, "{answer}");
    }
}

#[test]
fn with_every_gateway_down_the_caller_gets_503_at_once() {
    let text = config("options_s = 30")
        .replace("to = [\"gateway/carrier\", \"gateway/spare\"]", "to = \"gateway/carrier\"");
    let mut bench = Bench::new(&text);
    let ann = bench.harness.party(ANN);
    bench.harness.run(Duration::from_secs(60));
    let call = bench.harness.call(ann, "100", Some(SESSION));
    let ended = bench.harness.ended(ann, call);
    assert!(
        matches!(&ended, Some(Termination::Failed { response }) if response.status() == 503),
        "{ended:?}"
    );
}

#[test]
fn a_reload_keeps_what_did_not_change_and_moves_what_did() {
    let mut bench = Bench::new(&config(REGISTERS));
    let mut provider = Provider::new(&mut bench, ONE);
    bench.harness.settle();
    provider.serve(&mut bench, 600);
    assert_eq!(provider.seen.len(), 2);
    // A changed number of channels does not affect the provider.
    bench.reload(&config(&format!("{REGISTERS}\nchannels = 5")));
    provider.serve(&mut bench, 600);
    assert_eq!(provider.seen.len(), 2);
    assert!(is_registered(&bench));
    // A changed expiry does: the old registration is removed, a new one made.
    bench.reload(&config(&REGISTERS.replace("600", "700")));
    provider.serve(&mut bench, 700);
    let asked: Vec<_> = provider.seen[2..].iter().filter_map(expires).collect();
    // Sequentially: removing the old one must not remove the new one.
    assert_eq!(asked, [0, 700, 700], "the end, the new one, and that with its password");
    assert!(is_registered(&bench));
    // So does a changed password, here the previous one.
    let before = provider.seen.len();
    bench.reload(&config(&REGISTERS.replace("secret", "old").replace("600", "700")));
    provider.serve(&mut bench, 700);
    let asked: Vec<_> = provider.seen[before..].iter().filter_map(expires).collect();
    assert_eq!((asked.first(), is_registered(&bench)), (Some(&0), false), "{asked:?}");
    bench.reload(&config(&REGISTERS.replace("600", "700")));
    provider.serve(&mut bench, 700);
    assert!(is_registered(&bench));
    // The registration of a removed gateway is removed.
    let before = provider.seen.len();
    bench.reload("[server]\ntrusted = [\"192.0.2.11\"]\n");
    provider.serve(&mut bench, 700);
    assert_eq!(provider.seen[before..].iter().filter_map(expires).collect::<Vec<_>>(), [0]);
    assert!(bench.parts.board.snapshot().is_empty());
}

/// Challenges every incoming INVITE; returns the number of challenges until one is answered, and whether any
/// was.
fn calls_with_password(bench: &mut Bench, carrier: PartyId, realm: &str) -> (usize, bool) {
    calls_when_asked_by(DigestConfig::default(), bench, carrier, realm)
}

/// The same with this digest configuration.
fn calls_when_asked_by(
    config: DigestConfig,
    bench: &mut Bench,
    carrier: PartyId,
    realm: &str,
) -> (usize, bool) {
    let mut digest = DigestServer::new(config, [5; 32], bench.harness.now());
    for asked in 0..4 {
        let invite = bench.harness.take(carrier).into_iter().find_map(|event| match event {
            Heard::Incoming { usage, request, .. } => Some((usage, request)),
            _ => None,
        });
        let Some((usage, request)) = invite else { return (asked, false) };
        let source = [192, 0, 2, 1].into();
        let who = Asked { source, realm, side: Side::Proxy, md5_only: false };
        let now = bench.harness.now();
        match digest.verify(now, &request, who, &Account) {
            Verdict::Authenticated { .. } => {
                bench.harness.answer(carrier, usage, Some(SESSION));
                return (asked, true);
            }
            Verdict::Challenge { status, headers } | Verdict::Rejected { status, headers, .. } => {
                let reply = Reply { headers, ..Reply::status(status) };
                bench.harness.endpoint(carrier).reply(now, usage, reply).expect("it waits");
                bench.harness.settle();
            }
            Verdict::Malformed => panic!("{request:?}"),
        }
    }
    panic!("it tries again and again");
}

#[test]
fn a_gateway_that_asks_a_call_for_its_password_gets_it_and_a_wrong_one_only_once() {
    for (password, asked) in [("secret", (1, true)), ("wrong", (2, false))] {
        let account = format!("username = \"acme\"\npassword = \"{password}\"\noptions_s = 0");
        let mut bench = Bench::new(&config(&account));
        let [ann, carrier] = [ANN, ONE].map(|at| bench.harness.party(at));
        let call = bench.harness.call(ann, "100", Some(SESSION));
        assert_eq!(calls_with_password(&mut bench, carrier, "provider"), asked, "{password}");
        match bench.harness.ended(ann, call) {
            None => assert!(bench.harness.is_up(ann, call), "{password}"),
            // The wrong password of a gateway is not reported to the caller.
            Some(Termination::Failed { response }) => {
                assert_eq!((password, response.status()), ("wrong", 502))
            }
            other => panic!("{other:?}"),
        }
        let told = bench.sent_to(ANN, "").concat();
        assert!(!told.contains("provider") && !told.contains("acme"), "{told}");
    }
}

#[test]
fn a_callee_behind_a_carrier_that_asks_for_its_password_does_not_get_it() {
    let mut bench = Bench::new(&config(REGISTERS));
    let mut events = bench.parts.bus.subscribe();
    let mut provider = Provider::new(&mut bench, ONE);
    let ann = bench.harness.party(ANN);
    bench.harness.settle();
    provider.serve(&mut bench, 600);
    assert!(is_registered(&bench));
    bench.harness.call(ann, "100", Some(SESSION));
    assert_eq!(calls_with_password(&mut bench, provider.party, "evil.example"), (1, false));
    let invites = bench.sent_to(ONE, "INVITE ").concat();
    assert!(!invites.is_empty() && !invites.contains("uthorization: "), "{invites}");
    let alarm = told(&mut events).into_iter().find_map(|event| match event {
        Event::Error { component, message } if component == "gateway_realm" => Some(message),
        _ => None,
    });
    let line = "realm = [\"provider\", \"evil.example\"]";
    assert!(alarm.as_ref().is_some_and(|it| it.contains(line)), "{alarm:?}");
    // The provider's own realm is answered as before.
    bench.harness.call(ann, "100", Some(SESSION));
    assert_eq!(calls_with_password(&mut bench, provider.party, "provider"), (1, true));
}

#[test]
fn the_realms_of_the_configuration_get_the_password_and_weak_challenges_need_not() {
    let account = |more: &str| format!("username = \"acme\"\npassword = \"secret\"\noptions_s = 0\n{more}");
    for (more, realm, answered) in [
        ("realm = \"provider\"", "provider", true),
        ("realm = [\"one\", \"two\"]", "two", true),
        ("realm = [\"one\", \"two\"]", "three", false),
        ("min_algorithm = \"sha-256\"", "provider", true),
    ] {
        let mut bench = Bench::new(&config(&account(more)));
        let [ann, carrier] = [ANN, ONE].map(|at| bench.harness.party(at));
        bench.harness.call(ann, "100", Some(SESSION));
        assert_eq!(calls_with_password(&mut bench, carrier, realm), (1, answered), "{more} {realm}");
        let sent = bench.sent_to(ONE, "INVITE ").concat();
        assert!(!sent.contains("algorithm=MD5"), "the strongest that is offered: {sent}");
    }
    for (more, answered) in [("min_algorithm = \"sha-256\"", false), ("", true)] {
        let mut bench = Bench::new(&config(&account(more)));
        let [ann, carrier] = [ANN, ONE].map(|at| bench.harness.party(at));
        bench.harness.call(ann, "100", Some(SESSION));
        let md5 = DigestConfig { algorithms: vec![Algorithm::Md5], ..DigestConfig::default() };
        assert_eq!(calls_when_asked_by(md5, &mut bench, carrier, "provider"), (1, answered), "{more} of MD5");
    }
}
