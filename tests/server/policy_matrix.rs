//! Destinations that a party may choose, verified on the wire: 3xx, Refer-To and the Request-URI, for users,
//! gateways, trusted hosts and users behind a named proxy; one table of attacks and everyday use for each.
//! Strangers are challenged before any of it.

use b2b::call::channels::Holder;
use b2b::call::event::Event;
use b2b::server::counters::AdmissionCounters;
use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::endpoint::{Body, Invite, Reply, Termination, UsageEvent, UsageId};
use b2b::sip::msg::Method;
use b2b_testkit::{PartyId, SESSION};
use bytes::Bytes;

use crate::server::admission::bench::Bench;

pub const ANN: &str = "192.0.2.11:5060";
pub const GUEST: &str = "192.0.2.12:5060";
pub const USER: &str = "192.0.2.13:5060";
pub const CARRIER: &str = "192.0.2.21:5060";
pub const OTHER: &str = "192.0.2.22:5060";
/// The `sip:` target of a route.
pub const HOST: &str = "192.0.2.40:5060";
/// A phone behind a named proxy, seen as that proxy.
pub const PROXIED: &str = "192.0.2.50:5060";
/// An unrelated address.
pub const ELSEWHERE: &str = "192.0.2.99:5060";

const EVERYBODY: [&str; 8] = [ANN, GUEST, USER, CARRIER, OTHER, HOST, PROXIED, ELSEWHERE];

/// The number that reaches each party.
fn number_of(party: &str) -> &'static str {
    match party {
        GUEST => "1002",
        USER => "1003",
        PROXIED => "1004",
        CARRIER => "81",
        HOST => "71",
        other => panic!("nobody calls {other}"),
    }
}

/// A server with all these parties. `carrier`: additional keys of that gateway.
pub struct World {
    pub bench: Bench,
    parties: Vec<PartyId>,
}

impl World {
    pub fn new(carrier: &str) -> World {
        let mut bench = Bench::new(&format!(
            "[server]\ndomains = [\"b2b.example\", \"192.0.2.1\"]\n\
             [registrar]\nproxies = [\"192.0.2.50\"]\n\
             [[user]]\nname = \"1001\"\npassword = \"secret\"\n\
             [[user]]\nname = \"1002\"\npassword = \"secret\"\nclass = \"guest\"\n\
             [[user]]\nname = \"1003\"\npassword = \"secret\"\n\
             [[user]]\nname = \"1004\"\npassword = \"secret\"\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"{CARRIER}\"]\nsources = [\"192.0.2.21\"]\n\
             options_s = 0\n{carrier}\n\
             [[gateway]]\nname = \"other\"\nhosts = [\"{OTHER}\"]\nsources = [\"192.0.2.22\"]\noptions_s = 0\n\
             [[route]]\nname = \"out\"\ncalled = '\\+\\d+'\nclass = \"internal\"\nto = \"gateway/carrier\"\n\
             [[route]]\nname = \"carrier\"\ncalled = '8\\d+'\nto = \"gateway/carrier\"\n\
             [[route]]\nname = \"host\"\ncalled = '7\\d+'\nto = \"sip:desk@{HOST}\"\n\
             [[route]]\nname = \"inside\"\ncalled = '1\\d+'\nto = \"user/$0\"\n"
        ));
        let parties: Vec<_> = EVERYBODY.iter().map(|address| bench.harness.party(address)).collect();
        let mut world = World { bench, parties };
        for (address, user) in [(ANN, "1001"), (GUEST, "1002"), (USER, "1003"), (PROXIED, "1004")] {
            let party = world.party(address);
            assert_eq!(world.bench.register(party, user, "secret", 3_600), 200, "{user}");
        }
        world
    }

    pub fn party(&self, address: &str) -> PartyId {
        let at = EVERYBODY.iter().position(|it| *it == address).expect("one of everybody");
        self.parties[at]
    }

    /// A party calls with a user's password.
    pub fn call_as(&mut self, address: &str, user: &str, invite: Invite) -> UsageId {
        let party = self.party(address);
        let asked = self.bench.harness.invite(party, invite.clone());
        let Some(Termination::Failed { response }) = self.bench.harness.ended(party, asked) else {
            panic!("no 407")
        };
        let mut digest = DigestClient::new(user, "secret", [9; 32]);
        digest.challenged(&response, &Authorized::default()).expect("a challenge");
        let mut headers = digest.authorize(&Method::Invite, &invite.target).headers;
        headers.extend(invite.headers.clone());
        self.bench.harness.invite(party, Invite { headers, ..invite })
    }

    /// Ann calls a number.
    pub fn call(&mut self, number: &str) -> UsageId {
        self.call_as(ANN, "1001", invite(&format!("sip:{number}@192.0.2.1")))
    }

    /// The INVITEs of new calls that b2b has sent after this many messages: destination and text.
    pub fn called_since(&self, messages: usize) -> Vec<(String, String)> {
        let sent = self.bench.harness.wire.iter().skip(messages);
        let sent =
            sent.filter(|it| it.from.to_string() == "192.0.2.1:5060" && it.line().starts_with("INVITE"));
        let new = sent.filter(|it| !it.field("To").is_some_and(|to| to.contains(";tag=")));
        let mut calls: Vec<_> = new.map(|it| (it.to.to_string(), it.text())).collect();
        // Retransmissions are not new calls.
        calls.dedup_by_key(|(_, text)| call_id(text));
        calls
    }

    /// A party answers its next call with this.
    pub fn redirect(&mut self, address: &str, status: u16, contacts: &str) -> Vec<(String, String)> {
        let party = self.party(address);
        let call = self.bench.harness.next_call(party);
        let before = self.bench.harness.wire.len();
        let headers = vec![("Contact".into(), Bytes::copy_from_slice(contacts.as_bytes()))];
        let now = self.bench.harness.now();
        let reply = Reply { headers, ..Reply::status(status) };
        self.bench.harness.endpoint(party).reply(now, call, reply).expect("it waits");
        self.bench.harness.settle();
        self.called_since(before)
    }

    /// A party of a call refers the other one; returns the resulting calls.
    pub fn refer(&mut self, address: &str, usage: UsageId, to: &str) -> Vec<(String, String)> {
        let (party, before) = (self.party(address), self.bench.harness.wire.len());
        let now = self.bench.harness.now();
        let to = Bytes::from(format!("<{to}>"));
        self.bench.harness.endpoint(party).refer(now, usage, to, true, Vec::new()).expect("it is up");
        self.bench.harness.settle();
        self.called_since(before)
    }

    pub fn not_followed(&self) -> u64 {
        self.bench.harness.counters().not_followed
    }
}

pub fn invite(target: &str) -> Invite {
    Invite { target: target.to_owned().into(), body: Some(Body::sdp(SESSION)), ..Invite::default() }
}

fn call_id(text: &str) -> String {
    line(text, "Call-ID: ").unwrap_or_default()
}

pub fn line(text: &str, start: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned)
}

/// Party, requested target, and the expected destination with its Request-URI; `None` if the request is not
/// followed.
type Row = (&'static str, &'static str, Option<(&'static str, &'static str)>);

/// Targets of a 3xx.
const REDIRECTS: &[Row] = &[
    // Circumventing the routes: a carrier's address, any other address, a number without a route for the
    // class.
    (GUEST, "sip:+900@192.0.2.21:5060", None),
    (GUEST, "sip:+900@192.0.2.99", None),
    (GUEST, "sip:+900@b2b.example", None),
    (GUEST, "sip:+900@192.0.2.12:5060", None),
    (GUEST, "tel:+900", None),
    (USER, "sip:+900@192.0.2.21:5060", None),
    (USER, "sip:+900@192.0.2.99;transport=tcp", None),
    (USER, "sip:gateway%2Fcarrier%2F900@b2b.example", None),
    (USER, "sip:b2b.example", None),
    (PROXIED, "sip:+900@192.0.2.21:5060", None),
    (PROXIED, "sip:+900@192.0.2.99", None),
    (CARRIER, "sip:+900@192.0.2.22:5060", None),
    (CARRIER, "sip:+900@192.0.2.99", None),
    (CARRIER, "sip:+900@192.0.2.21:5060;maddr=192.0.2.99", None),
    (CARRIER, "sip:+900@b2b.example", None),
    (CARRIER, "sip:1003@b2b.example", None),
    (CARRIER, "sip:1003@192.0.2.13:5060", None),
    (HOST, "sip:desk@192.0.2.99", None),
    (HOST, "sip:+900@192.0.2.21:5060", None),
    // Everyday use.
    (USER, "sip:+4420@b2b.example", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
    (USER, "sip:+4420@192.0.2.1", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
    (USER, "tel:+4420", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
    (USER, "sip:+4420@192.0.2.13:5060", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
    (USER, "sip:1002@b2b.example", Some((GUEST, ""))),
    (GUEST, "sip:1003@b2b.example", Some((USER, ""))),
    (PROXIED, "sip:+4420@192.0.2.50", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
    (CARRIER, "sip:+44;npdi;rn=+45@192.0.2.21:5060", Some((CARRIER, "sip:+44;npdi;rn=+45@192.0.2.21:5060"))),
    (HOST, "sip:late@192.0.2.40:5060", Some((HOST, "sip:late@192.0.2.40:5060"))),
];

/// Targets of a Refer-To.
const REFERS: &[Row] = &[
    (GUEST, "sip:+900@192.0.2.21:5060", None),
    (GUEST, "tel:+900", None),
    (USER, "sip:+900@192.0.2.21:5060", None),
    (USER, "sip:+900@192.0.2.99", None),
    (PROXIED, "sip:+900@192.0.2.99", None),
    (CARRIER, "sip:+900@192.0.2.22:5060", None),
    (CARRIER, "sip:+900@192.0.2.99", None),
    (CARRIER, "sip:+900@b2b.example", None),
    (HOST, "sip:x@192.0.2.99", None),
    (USER, "sip:+4420@b2b.example", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
    (USER, "tel:+4420", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
    (USER, "sip:1002@b2b.example?Subject=x&Route=%3Csip:192.0.2.99%3E", Some((GUEST, ""))),
    (PROXIED, "sip:1002@192.0.2.50", Some((GUEST, ""))),
    (CARRIER, "sip:+4420@192.0.2.21:5060", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
    // Targets that it could call directly.
    (CARRIER, "sip:1002@b2b.example", Some((GUEST, ""))),
    (HOST, "sip:other@192.0.2.40:5060", Some((HOST, "sip:other@192.0.2.40:5060"))),
];

fn judge(way: &str, row: &Row, called: &[(String, String)]) {
    let (who, to, wanted) = row;
    match (wanted, called) {
        (None, []) => {}
        (Some((there, uri)), [(found, text)]) => {
            assert_eq!(found, there, "{way} of {who} to {to}");
            assert!(text.starts_with(&format!("INVITE {uri}")), "{way} of {who} to {to}:\n{text}");
            for stranger in ["Subject: x", "Route:", "192.0.2.99"] {
                assert!(!text.contains(stranger), "{way} of {who} to {to}:\n{text}");
            }
        }
        _ => panic!("{way} of {who} to {to}: {called:?}"),
    }
}

#[test]
fn a_redirect_leads_where_its_party_may_lead_us_and_nowhere_else() {
    for row in REDIRECTS {
        let mut world = World::new("");
        let (ann, call) = (world.party(ANN), world.call(number_of(row.0)));
        let called = world.redirect(row.0, 302, &format!("<{}>", row.1));
        judge("302", row, &called);
        if row.2.is_none() {
            assert!(world.bench.sent_to(ELSEWHERE, "").is_empty(), "{row:?}");
            let Some(Termination::Failed { response }) = world.bench.harness.ended(ann, call) else {
                panic!("{row:?}: Ann waits")
            };
            assert_eq!(response.status(), 480, "{row:?}: as if the phone were away");
        } else {
            world.bench.harness.cancel(ann, call);
        }
        world.bench.harness.run(std::time::Duration::from_secs(1));
    }
}

#[test]
fn every_3xx_is_judged() {
    for status in [300, 301, 302, 305, 380] {
        let mut world = World::new("");
        world.call("1002");
        let called = world.redirect(GUEST, status, "<sip:+900@192.0.2.21:5060>, <sip:+901@192.0.2.99>");
        assert_eq!(called, [], "{status}");
        assert_eq!(world.not_followed(), 2, "{status}");
    }
}

#[test]
fn a_transfer_leads_where_its_party_may_lead_us_and_nowhere_else() {
    for row in REFERS {
        let mut world = World::new("");
        let ann = world.call(number_of(row.0));
        let party = world.party(row.0);
        let theirs = world.bench.harness.answer_next(party, SESSION);
        let called = world.refer(row.0, theirs, row.1);
        judge("REFER", row, &called);
        let ann_at = world.party(ANN);
        assert!(world.bench.harness.is_up(ann_at, ann), "{row:?}");
        if row.2.is_none() {
            assert!(world.bench.sent_to(ELSEWHERE, "").is_empty(), "{row:?}");
            assert!(world.bench.harness.is_up(party, theirs), "{row:?}: they talk on");
        }
        assert_eq!(world.bench.counted().over_rate, AdmissionCounters::default().over_rate);
    }
}

#[test]
fn a_users_redirect_is_a_call_of_that_user_with_the_callers_number() {
    let mut world = World::new("channels = 2");
    let ann = world.call("1003");
    let called = world.redirect(USER, 302, "<sip:+4420@b2b.example>");
    let [(_, invite)] = &called[..] else { panic!("{called:?}") };
    assert!(line(invite, "From: ").is_some_and(|from| from.contains("<sip:1001@")), "{invite}");
    let diversion = line(invite, "Diversion: ").expect("who has redirected it");
    assert!(
        diversion.starts_with("<sip:1003@") && diversion.ends_with(";reason=unconditional"),
        "{diversion}"
    );
    let carrier = world.party(CARRIER);
    world.bench.harness.answer_next(carrier, SESSION);
    let channels = world.bench.parts.board.channels.clone();
    for (holder, taken) in [
        (Holder::User("1001".into()), 1),
        (Holder::User("1003".into()), 1),
        (Holder::Gateway("carrier".into()), 1),
    ] {
        assert_eq!(channels.taken(&holder), taken, "{holder:?}");
    }
    let ann_at = world.party(ANN);
    world.bench.harness.hang_up(ann_at, ann);
    let records = world.bench.harness.records();
    let record = records.iter().find(|it| it.gateway.is_some()).expect("of the carrier's leg");
    assert_eq!((record.diverted_by.as_deref(), record.route.as_deref()), (Some("1003"), Some("out")));
    world.bench.harness.run(std::time::Duration::from_secs(1));
    assert_eq!(channels.all(), []);
}

#[test]
fn a_redirect_does_not_pass_the_channels_of_a_gateway() {
    let mut world = World::new("channels = 1");
    world.call("81");
    let carrier = world.party(CARRIER);
    world.bench.harness.answer_next(carrier, SESSION);
    world.call("1003");
    let called = world.redirect(USER, 302, "<tel:+4420>");
    assert_eq!(called, [], "its gateway is full");
}

#[test]
fn redirects_lets_a_gateway_lead_to_others_it_names_or_through_the_routes() {
    let lead = |keys: &str, to: &str| {
        let mut world = World::new(keys);
        world.call("81");
        let called = world.redirect(CARRIER, 302, &format!("<{to}>"));
        let places: Vec<_> = called.iter().map(|(to, _)| to.clone()).collect();
        let taken = world.bench.parts.board.channels.taken(&Holder::Gateway("other".into()));
        (places, taken, called.first().map(|(_, text)| text.clone()).unwrap_or_default())
    };
    let named = "redirects = [\"other\"]";
    let (places, taken, text) = lead(named, "sip:+44;rn=+45@192.0.2.22:5060");
    assert_eq!((places, taken), (vec![OTHER.to_owned()], 1), "as a call of that gateway");
    assert!(text.starts_with("INVITE sip:+44;rn=+45@192.0.2.22:5060 "), "{text}");
    assert_eq!(lead(named, "sip:+44@192.0.2.99").0, [""; 0]);
    assert_eq!(lead(named, "sip:1003@b2b.example").0, [""; 0]);
    // Its class may call users, but not outside numbers.
    let routes = "redirects = \"routes\"";
    assert_eq!(lead(routes, "sip:1003@192.0.2.99").0, [USER]);
    assert_eq!(lead(routes, "sip:1003@b2b.example").0, [USER]);
    assert_eq!(lead(routes, "sip:+900@192.0.2.99").0, [""; 0]);
    assert_eq!(lead("redirects = \"own\"", "sip:+44@192.0.2.22:5060").0, [""; 0]);
}

#[test]
fn what_is_not_followed_is_told_with_the_line_that_would_allow_it() {
    let mut world = World::new("");
    let mut events = world.bench.harness.bus().subscribe();
    world.call("81");
    world.redirect(CARRIER, 302, "<sip:+900@192.0.2.22:5060>");
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv())
        .filter_map(|received| match received {
            b2b::call::bus::Received::Event(it) => Some(it.event.clone()),
            b2b::call::bus::Received::Lagged(_) => None,
        })
        .filter_map(|event| match event {
            Event::NotFollowed { party, way, to, line, .. } => Some((party, way, to, line)),
            _ => None,
        })
        .collect();
    let line = "to allow it, write redirects = [\"other\"] in [[gateway]] carrier".to_owned();
    let wanted = ("gateway/carrier".to_owned(), "redirect".to_owned(), "sip:+900@192.0.2.22:5060".to_owned());
    assert_eq!(told, [(wanted.0, wanted.1, wanted.2, Some(line))]);
    assert_eq!(world.not_followed(), 1);
}

#[test]
fn one_answer_with_many_contacts_calls_few() {
    let mut world = World::new("");
    world.call("1003");
    let contacts: Vec<_> = (0..40).map(|n| format!("<sip:+44{n}@b2b.example>")).collect();
    let called = world.redirect(USER, 300, &contacts.join(", "));
    assert_eq!(called.len(), 8);
}

#[test]
fn a_user_redirected_twice_shows_both_and_the_last_one_first() {
    let mut world = World::new("");
    world.call("1003");
    world.redirect(USER, 302, "<sip:1004@b2b.example>");
    let called = world.redirect(PROXIED, 302, "<tel:+4420>");
    let [(there, invite)] = &called[..] else { panic!("{called:?}") };
    assert_eq!(there, CARRIER);
    let diversions: Vec<_> =
        invite.lines().filter_map(|line| line.strip_prefix("Diversion: <sip:")).collect();
    assert!(
        matches!(diversions[..], [last, first] if last.starts_with("1004@") && first.starts_with("1003@"))
    );
}

#[test]
fn the_host_and_maddr_of_a_request_uri_are_never_followed() {
    for target in [
        "sip:1003@192.0.2.99:5060",
        "sip:1003@192.0.2.1;maddr=192.0.2.99",
        "sip:1003@elsewhere.example;maddr=192.0.2.99;transport=tcp",
    ] {
        // A user, and a gateway, which needs no password.
        for who in [ANN, CARRIER] {
            let mut world = World::new("");
            let before = world.bench.harness.wire.len();
            let invite = Invite { outbound: Some("sip:192.0.2.1:5060".into()), ..invite(target) };
            let party = world.party(who);
            match who {
                ANN => drop(world.call_as(ANN, "1001", invite)),
                _ => drop(world.bench.harness.invite(party, invite)),
            }
            let called = world.called_since(before);
            let [(there, text)] = &called[..] else { panic!("{who} {target}: {called:?}") };
            assert_eq!(there, USER, "the number counts");
            assert!(!text.contains("192.0.2.99") && !text.contains("maddr"), "{text}");
            assert!(world.bench.sent_to(ELSEWHERE, "").is_empty());
        }
    }
}

#[test]
fn a_stranger_is_asked_for_a_password_and_leads_nowhere() {
    let mut world = World::new("");
    let (party, before) = (world.party(ELSEWHERE), world.bench.harness.wire.len());
    for target in ["sip:+900@192.0.2.21:5060", "sip:1003@192.0.2.1;maddr=192.0.2.21"] {
        let invite = Invite { outbound: Some("sip:192.0.2.1:5060".into()), ..invite(target) };
        let call = world.bench.harness.invite(party, invite);
        let Some(Termination::Failed { response }) = world.bench.harness.ended(party, call) else {
            panic!("no answer")
        };
        assert_eq!(response.status(), 407);
    }
    assert_eq!(world.called_since(before), []);
}

/// A phone behind a proxy knows the server by the proxy's domain.
#[test]
fn a_refer_to_the_host_of_its_own_dialog_names_a_number_of_ours() {
    for (to, wanted) in [
        ("sip:1002@office.example", Some((GUEST, ""))),
        ("sip:+4420@OFFICE.example", Some((CARRIER, "sip:+4420@192.0.2.21:5060"))),
        // That host only: other names are not followed.
        ("sip:+900@office.example.evil.example", None),
        ("sip:1002@other.example", None),
    ] {
        let mut world = World::new("");
        let invite = Invite {
            outbound: Some("sip:192.0.2.1:5060".into()),
            from: Some("<sip:1001@office.example>".into()),
            ..invite("sip:1003@office.example")
        };
        let call = world.call_as(ANN, "1001", invite);
        let party = world.party(USER);
        world.bench.harness.answer_next(party, SESSION);
        let called = world.refer(ANN, call, to);
        judge("REFER", &(ANN, to, wanted), &called);
        if wanted.is_none() {
            assert_eq!(told(&mut world, ANN).1, Some(403), "{to}");
        }
    }
}

/// The last statuses that a referrer received: in response to its REFER, and by NOTIFY.
pub fn told(world: &mut World, address: &str) -> (Option<u16>, Option<u16>) {
    let (mut answered, mut last) = (None, None);
    let party = world.party(address);
    for event in world.bench.harness.take(party) {
        let b2b::sip::endpoint::Event::Usage { event, .. } = event else { continue };
        match event {
            UsageEvent::ReferAnswered { result, .. } => answered = result.ok().map(|it| it.status()),
            UsageEvent::ReferProgress { status: Some((status, _)), .. } => last = Some(status),
            _ => {}
        }
    }
    (answered, last)
}

#[test]
fn a_user_whose_name_is_configured_is_shown_by_no_other_whatever_they_say() {
    // The second number is forwarded transparently.
    for number in ["1002", "21"] {
        let mut world = World::new(
            "[[user]]\nname = \"1005\"\npassword = \"secret\"\ndisplay_name = \"Ann\"\n\
             [[route]]\nname = \"clear\"\ncalled = '21'\nmode = \"transparent\"\nto = \"user/1002\"\n",
        );
        let lie = "\"The Chief\" <sip:9999@b2b.example>";
        let identities = ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"];
        let headers = identities.map(|name| (name.into(), lie.into())).to_vec();
        let said = Invite { from: Some(lie.into()), headers, ..invite(&format!("sip:{number}@192.0.2.1")) };
        let before = world.bench.harness.wire.len();
        world.call_as(ANN, "1005", said);
        let called = world.called_since(before);
        let [(_, invite)] = &called[..] else { panic!("{called:?}") };
        assert!(
            line(invite, "From: ").is_some_and(|from| from.starts_with("\"Ann\" <sip:1005@")),
            "{invite}"
        );
        assert!(!invite.contains("Chief") && !invite.contains("9999"), "{number}: {invite}");
    }
}
