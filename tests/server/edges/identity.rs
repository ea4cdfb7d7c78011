//! Caller identity on the real binary and on the wire: claims of phones and gateways that are trusted, the
//! identity that each party receives, and the privacy of anonymous callers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Limits, Message, Method};

use super::peer::{Peer, SESSION, server};
use crate::common::child::{B2b, PATIENCE};

/// All values that `identity` may list.
const ALL: &str = "identity = [\"pai\", \"ppi\", \"rpid\", \"diversion\", \"history-info\", \"stir\"]";

/// A phone with a number that it may show, a second phone, and two gateways.
struct World {
    _server: B2b,
    at: SocketAddr,
    ann: Peer,
    bob: Peer,
    carrier: Peer,
    other: Peer,
    calls: u32,
}

impl World {
    /// `carrier`, `other`: keys of the gateways; `routes` come before the standard ones: `0…` leads to the
    /// carrier, `+…` to the other gateway, anything else to a user.
    fn new(folder: &Path, net: u8, [carrier, other]: [&str; 2], routes: &str) -> World {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let [ann, bob, trunk, second] = [1, 2, 3, 4].map(|host| Peer::new([127, 0, net, host], nowhere));
        let lines = format!(
            "[[user]]\nname = \"secretann\"\npassword = \"secret-of-ann\"\ndisplay_name = \"Hidden Ann\"\n\
             caller_id = \"+493077110\"\nnumbers = [\"+493077111\", \"+493077112\"]\n\
             [[user]]\nname = \"bob\"\npassword = \"secret-of-bob\"\ncaller_id = \"+493088110\"\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\nsources = [\"127.0.{net}.3\"]\noptions_s = 0\n\
             transport = \"udp\"\n{carrier}\n\
             [[gateway]]\nname = \"other\"\nhosts = [\"{}\"]\nsources = [\"127.0.{net}.4\"]\noptions_s = 0\n\
             transport = \"udp\"\n{other}\n\
             {routes}\
             [[route]]\nname = \"out\"\ncalled = '0\\d+'\nto = \"gateway/carrier\"\n\
             [[route]]\nname = \"abroad\"\ncalled = '\\+\\d+'\nto = \"gateway/other\"\n\
             [[route]]\nname = \"in\"\nto = \"user/$0\"\n",
            trunk.at, second.at
        );
        let (server, at) = server(folder, "cdr = \"cdr.jsonl\"", &lines);
        let mut world = World { _server: server, at, ann, bob, carrier: trunk, other: second, calls: 0 };
        for peer in [&mut world.ann, &mut world.bob, &mut world.carrier, &mut world.other] {
            peer.server = at;
        }
        let contact = format!("sip:bob@{}", world.bob.at);
        assert_eq!(world.bob.register("bob", "secret-of-bob", &contact, "bobs-phone"), 200);
        world
    }

    fn peer(&mut self, who: Who) -> &mut Peer {
        match who {
            Who::Ann => &mut self.ann,
            Who::Bob => &mut self.bob,
            Who::Carrier => &mut self.carrier,
            Who::Other => &mut self.other,
        }
    }

    /// A party calls a number, with these fields; From and To have defaults.
    fn call(&mut self, caller: Who, number: &str, fields: &str) {
        self.calls += 1;
        let (at, call) = (self.at, format!("call{}", self.calls));
        let peer = self.peer(caller);
        let usual = |name: &str, value: String| {
            let line = format!("{name}: ");
            let there = fields.split("\r\n").any(|it| it.starts_with(&line));
            if there { String::new() } else { format!("{line}{value}\r\n") }
        };
        let (from, to) = (
            usual("From", "\"Hidden Ann\" <sip:secretann@b2b.example>;tag=1".to_owned()),
            usual("To", format!("<sip:{number}@b2b.example>")),
        );
        let (uri, here) = (format!("sip:{number}@{at}"), peer.at);
        let text = |cseq: u32, credentials: &str| {
            format!(
                "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call}x{cseq};rport\r\n\
                 Max-Forwards: 70\r\n{from}{to}Call-ID: {call}\r\nCSeq: {cseq} INVITE\r\n\
                 Contact: <sip:secretann@{here}>\r\n{fields}{credentials}Content-Type: application/sdp\r\n\
                 Content-Length: {length}\r\n\r\n{session}",
                length = SESSION.len(),
                session = String::from_utf8_lossy(SESSION)
            )
        };
        if !matches!(caller, Who::Ann) {
            return peer.send(text(1, "").as_bytes());
        }
        let challenge = peer.ask(&text(1, "").into(), &call, 1);
        let mut digest = DigestClient::new("secretann", "secret-of-ann", [7; 32]);
        digest.challenged(&challenge, &Authorized::default()).expect("a challenge");
        let Authorized { headers, .. } = digest.authorize(&Method::Invite, uri.as_bytes());
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let credentials: String = headers
            .iter()
            .map(|(name, value)| format!("{}: {}\r\n", text_of(name), text_of(value)))
            .collect();
        peer.send(text(2, &credentials).as_bytes());
    }

    /// The INVITE for this number at a party, unchanged. It is refused with this status and these fields.
    fn refuses(&mut self, callee: Who, number: &str, status: u16, fields: &[(&'static str, &str)]) -> String {
        let peer = self.peer(callee);
        let begun = Instant::now();
        let line = format!("INVITE sip:{number}");
        while begun.elapsed() < PATIENCE {
            let Some(data) = peer.datagram(Duration::from_millis(200)) else { continue };
            if data.starts_with(line.as_bytes()) {
                let Ok(Message::Request(request)) = Message::parse(data.clone(), &Limits::default()) else {
                    panic!("{data:?}");
                };
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| (b2b::sip::msg::Name::parse(name.as_bytes()), *value))
                    .collect();
                peer.answer(&request, status, &fields);
                return String::from_utf8_lossy(&data).into_owned();
            }
        }
        panic!("no INVITE for {number} at {callee:?}");
    }

    /// The final response to the latest call, except a challenge.
    fn refused(&mut self, caller: Who) -> u16 {
        let (begun, call) = (Instant::now(), format!("call{}", self.calls));
        let peer = self.peer(caller);
        while begun.elapsed() < PATIENCE {
            let Some(data) = peer.datagram(Duration::from_millis(200)) else { continue };
            if let Ok(Message::Response(response)) = Message::parse(data, &Limits::default())
                && response.call_id().is_ok_and(|it| it == call.as_bytes())
                && response.status() >= 200
                && response.status() != 407
            {
                return response.status();
            }
        }
        panic!("no answer for {caller:?}");
    }

    /// The INVITE that results from a call; the callee is busy.
    fn told(&mut self, caller: Who, (callee, number): (Who, &str), fields: &str) -> String {
        self.call(caller, number, fields);
        self.refuses(callee, number, 486, &[])
    }
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Ann,
    Bob,
    Carrier,
    Other,
}

/// The values of a field.
fn values<'a>(invite: &'a str, name: &str) -> Vec<&'a str> {
    let lines = invite.split("\r\n");
    lines
        .filter_map(|line| line.split_once(": ").filter(|(it, _)| it.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
        .collect()
}

/// From without its tag.
fn from(invite: &str) -> &str {
    let from = values(invite, "From")[0];
    from.split(";tag=").next().expect("a From")
}

const IDENTITIES: [&str; 3] = ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"];

/// Every field that could reveal a caller.
const TELLTALE: &str = "P-Asserted-Identity: \"Hidden Ann\" <sip:+493077110@b2b.example>, <tel:+493077110>\r\n\
    P-Preferred-Identity: <sip:+493077111@b2b.example>\r\n\
    Remote-Party-ID: \"Hidden Ann\" <sip:+493077110@b2b.example>;party=calling\r\n\
    Diversion: <sip:+493077112@b2b.example>;reason=away\r\nReferred-By: <sip:secretann@b2b.example>\r\n\
    History-Info: <sip:+493077112@b2b.example>;index=1,<sip:1@b2b.example;cause=302>;index=1.1\r\n\
    Subject: Hidden Ann calls\r\nReply-To: <sip:secretann@b2b.example>\r\nCall-Info: <http://secretann>\r\n\
    Organization: Hidden Ann Ltd\r\nIdentity: +493077110;info=<https://x/1>\r\nPrivacy: id\r\n";

/// A route that would pass all of them on.
const PASSES: &str = "[[route]]\ncalled = '00\\d+'\nto = \"gateway/carrier\"\nmode = \"translating\"\nheaders = [\
    { pass = \"P-Asserted-Identity\" }, { pass = \"P-Preferred-Identity\" }, { pass = \"Remote-Party-ID\" }, \
    { pass = \"Diversion\" }, { pass = \"History-Info\" }, { pass = \"Referred-By\" }, { pass = \"Subject\" }, \
    { pass = \"Reply-To\" }, { pass = \"Call-Info\" }, { pass = \"Organization\" }, { pass = \"Identity\" }]\n";

fn assert_unknown(invite: &str) {
    assert_eq!(from(invite), "\"Anonymous\" <sip:anonymous@anonymous.invalid>", "{invite}");
    assert_eq!(values(invite, "Privacy"), ["id"]);
    for trace in ["493077", "idden", "ecretann", "nn@"] {
        assert!(!invite.contains(trace), "{trace}: {invite}");
    }
}

#[test]
fn a_caller_who_wants_to_stay_unknown_is_to_all_who_are_not_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::new(folder.path(), 90, [ALL, ""], PASSES);
    // A gateway with all identity fields, a route that passes fields on, a gateway without any, and a phone.
    for callee in [(Who::Carrier, "0111"), (Who::Carrier, "00111"), (Who::Other, "+4411"), (Who::Bob, "bob")]
    {
        assert_unknown(&world.told(Who::Ann, callee, TELLTALE));
        let anonymous = format!("From: <sip:anonymous@anonymous.invalid>;tag=1\r\n{TELLTALE}");
        assert_unknown(&world.told(Who::Ann, callee, &anonymous));
    }
    // Callers that do not request privacy are shown as usual.
    let shown = TELLTALE.replace("Privacy: id", "Privacy: none");
    assert_eq!(
        from(&world.told(Who::Ann, (Who::Bob, "bob"), &shown)),
        "\"Hidden Ann\" <sip:+493077111@b2b.example>"
    );
}

#[test]
fn a_trusted_gateway_knows_who_stays_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let carrier = "trust_identity = true\nidentity = [\"pai\"]\nfrom_domain = \"trunk.example\"";
    let mut world = World::new(folder.path(), 91, [carrier, "from_user = \"acct7\""], "");
    let invite = world.told(Who::Ann, (Who::Carrier, "0111"), "Privacy: id\r\n");
    assert_eq!(from(&invite), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    assert_eq!(values(&invite, "Privacy"), ["id"]);
    let asserted = ["\"Hidden Ann\" <sip:+493077110@trunk.example>"];
    assert_eq!(values(&invite, "P-Asserted-Identity"), asserted);
    // An account in From is not the caller's identity.
    let invite = world.told(Who::Ann, (Who::Other, "+4411"), "Privacy: id\r\n");
    assert!(from(&invite).starts_with("\"Anonymous\" <sip:acct7@127.0.91.4>"), "{invite}");
    assert!(!invite.contains("493077") && !invite.contains("Hidden"), "{invite}");
}

#[test]
fn a_user_shows_its_own_numbers_whatever_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::new(folder.path(), 92, ["identity = [\"pai\", \"ppi\", \"rpid\"]", ""], "");
    let bank = |name: &str| format!("{name}: \"Bank\" <sip:+49800@b2b.example>;tag=1\r\n");
    for lie in IDENTITIES.into_iter().chain(["From"]).map(bank) {
        let invite = world.told(Who::Ann, (Who::Carrier, "0111"), &lie);
        assert_eq!(from(&invite), "\"Hidden Ann\" <sip:+493077110@127.0.92.3>", "{lie}");
        for name in IDENTITIES {
            let [value] = values(&invite, name)[..] else { panic!("{invite}") };
            assert!(value.starts_with("\"Hidden Ann\" <sip:+493077110@127.0.92.3>"), "{value}");
        }
        assert!(!invite.contains("+49800") && !invite.contains("Bank"), "{lie}{invite}");
        let invite = world.told(Who::Ann, (Who::Bob, "bob"), &lie);
        assert!(
            invite.contains("<sip:+493077110@b2b.example>") && !invite.contains("+49800"),
            "{lie}{invite}"
        );
    }
    for (fields, number) in [
        ("P-Preferred-Identity: <sip:+493077112@b2b.example>\r\n", "+493077112"),
        ("P-Preferred-Identity: <tel:+49-30-77111>\r\n", "+493077111"),
        ("From: <sip:+493077111@b2b.example>;tag=1\r\n", "+493077111"),
    ] {
        let invite = world.told(Who::Ann, (Who::Carrier, "0111"), fields);
        assert_eq!(from(&invite), format!("\"Hidden Ann\" <sip:{number}@127.0.92.3>"), "{fields}");
    }
}

#[test]
fn only_a_trusted_gateway_is_believed_who_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let routes = "[[route]]\nname = \"nuisance\"\ncaller = '\\+49800666'\nreject = 603\n";
    let mut world = World::new(folder.path(), 93, ["", "trust_identity = true"], routes);
    let claims = "From: \"Any Name\" <sip:+4477@carrier.example>;tag=1\r\nP-Asserted-Identity: \"Bank\" <sip:+49800@x>, <tel:+49-800>\r\n\
                  Remote-Party-ID: <sip:+49801@x>\r\n";
    let invite = world.told(Who::Carrier, (Who::Bob, "bob"), claims);
    assert_eq!(from(&invite), "\"Any Name\" <sip:+4477@b2b.example>");
    assert!(!invite.contains("+4980") && !invite.contains("+49-80"), "{invite}");
    let invite = world.told(Who::Other, (Who::Bob, "bob"), claims);
    assert_eq!(from(&invite), "\"Bank\" <sip:+49800@b2b.example>");
    // Routes match the number of an anonymous caller all the same.
    let unknown = "From: <sip:anonymous@anonymous.invalid>;tag=1\r\nPrivacy: id\r\nP-Asserted-Identity: <sip:+493077@x>\r\n";
    assert_unknown(&world.told(Who::Other, (Who::Bob, "bob"), unknown));
    assert_unknown(&world.told(Who::Carrier, (Who::Bob, "bob"), unknown));
    assert_unknown(&world.told(Who::Other, (Who::Carrier, "0111"), unknown));
    let nuisance = unknown.replace("+493077", "+49800666");
    world.call(Who::Other, "bob", &nuisance);
    assert!(final_status(&world.other, PATIENCE).is_some_and(|status| status == 603), "its number is known");
}

/// The next final status except 486.
fn final_status(peer: &Peer, patience: Duration) -> Option<u16> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if let Some(Message::Response(response)) = peer.message(Duration::from_millis(200))
            && response.status() >= 200
            && response.status() != 486
        {
            return Some(response.status());
        }
    }
    None
}

#[test]
fn a_provider_with_accounts_gets_the_account_in_from_and_the_number_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let carrier = "from_user = \"1234567e0\"\nfrom_domain = \"sipgate.example\"\nidentity = [\"ppi\"]\n\
                   number_format = \"no_plus\"\ncountry = \"49\"\ncalled_from = \"to\"";
    let mut world = World::new(folder.path(), 94, [carrier, "called_from = \"p-called-party-id\""], "");
    world.call(Who::Ann, "03012345", "");
    let invite = world.refuses(Who::Carrier, "493012345", 486, &[]);
    assert_eq!(from(&invite), "\"Hidden Ann\" <sip:1234567e0@sipgate.example>");
    assert_eq!(values(&invite, "P-Preferred-Identity"), ["\"Hidden Ann\" <sip:493077110@sipgate.example>"]);
    assert_eq!(values(&invite, "P-Asserted-Identity"), Vec::<&str>::new());
    // Calls to the account have it in the Request-URI; To or P-Called-Party-ID has the dialled number.
    let from_outside = "From: <sip:+4477@x>;tag=1\r\nTo: <sip:bob@sipgate.example>\r\n";
    world.call(Who::Carrier, "1234567e0", from_outside);
    world.refuses(Who::Bob, "bob", 486, &[]);
    let called = "From: <sip:+4477@x>;tag=1\r\nP-Called-Party-ID: <sip:bob@ims.example;user=phone>\r\n";
    world.call(Who::Other, "acct", called);
    world.refuses(Who::Bob, "bob", 486, &[]);
    let records = records(folder.path(), "\"callee\":\"bob\"");
    assert!(
        !records.contains("\"callee\":\"acct\"") && !records.contains("\"callee\":\"1234567e0\""),
        "{records}"
    );
}

/// Parameters of numbers, as networks exchange them.
const PARAMS: &str = ";npdi;rn=+4930999;tgrp=t-1;trunk-context=carrier.example;secret=1";

#[test]
fn parameters_of_numbers_pass_between_gateways_that_exchange_them_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let takes = "number_params = [\"rn\", \"npdi\", \"cpc\"]\nidentity = [\"pai\"]";
    let mut world = World::new(folder.path(), 96, [takes, "trust_identity = true"], "");
    let fields = "From: <sip:+4477;cpc=test;oli=61@carrier.example>;tag=1\r\nTo: <sip:0111@b2b.example>\r\n";
    let dialled = format!("0-111{PARAMS}");
    world.call(Who::Other, &dialled, fields);
    let invite = world.refuses(Who::Carrier, "0111", 486, &[]);
    assert!(invite.starts_with("INVITE sip:0111;npdi;rn=+4930999@127.0.96.3"), "{invite}");
    assert!(from(&invite).starts_with("<sip:+4477;cpc=test@127.0.96.3"), "{invite}");
    assert!(values(&invite, "P-Asserted-Identity")[0].starts_with("<sip:+4477;cpc=test@"), "{invite}");
    // A user has no such network, a gateway that does not list them none either, and it is about this number.
    world.call(Who::Ann, &dialled, "From: <sip:secretann;cpc=test@b2b.example>;tag=1\r\n");
    let invite = world.refuses(Who::Carrier, "0111@", 486, &[]);
    assert!(!invite.contains(";cpc") && !invite.contains(";rn"), "{invite}");
    world.call(Who::Carrier, &format!("+4411{PARAMS}"), fields);
    assert!(!world.refuses(Who::Other, "+4411@", 486, &[]).contains(";rn"));
    world.call(Who::Other, &format!("bob{PARAMS}"), fields);
    let invite = world.refuses(Who::Bob, "bob", 302, &[("Contact", "<tel:0-2-22>")]);
    assert!(!invite.contains(";cpc") && !invite.contains(";rn"), "{invite}");
    let invite = world.refuses(Who::Carrier, "0222@", 486, &[]);
    assert!(!invite.contains(";rn"), "{invite}");
}

#[test]
fn a_forwarded_call_keeps_its_caller_and_names_who_has_forwarded_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let carrier = "identity = [\"pai\", \"diversion\", \"history-info\"]\nnumber_format = \"00\"";
    let routes = "[[route]]\ncalled = '5(\\d+)'\nto = [\"user/bob\", \"gateway/carrier/0$1\"]\nfailover = true\n\
                  [[group]]\nname = \"sales\"\nmembers = [\"user/bob\", \"gateway/carrier/0777\"]\nstrategy = \"serial\"\n\
                  [[route]]\ncalled = '600'\nto = \"group/sales\"\n";
    let mut world =
        World::new(folder.path(), 95, [carrier, "identity = [\"pai\"]\ntrust_identity = true"], routes);
    let caller = "From: \"Any\" <sip:+447700900123@x>;tag=1\r\n";
    // A phone's redirect.
    world.call(Who::Other, "bob", caller);
    world.refuses(Who::Bob, "bob", 302, &[("Contact", "<sip:0123@b2b.example>")]);
    let invite = world.refuses(Who::Carrier, "0123", 486, &[]);
    assert_eq!(from(&invite), "\"Any\" <sip:00447700900123@127.0.95.3>");
    assert_eq!(values(&invite, "P-Asserted-Identity"), ["\"Any\" <sip:00447700900123@127.0.95.3>"]);
    assert_eq!(values(&invite, "Diversion"), ["<sip:00493088110@127.0.95.3>;reason=unconditional"]);
    let at = world.carrier.at;
    let history = format!("<sip:00493088110@127.0.95.3>;index=1|<sip:0123@{at};cause=302>;index=1.1;mp=1");
    assert_eq!(values(&invite, "History-Info").join("|"), history);
    // The other gateway's list does not include it.
    world.call(Who::Carrier, "bob", caller);
    world.refuses(Who::Bob, "bob", 302, &[("Contact", "<sip:+44123@b2b.example>")]);
    let invite = world.refuses(Who::Other, "+44123", 486, &[]);
    assert_eq!(
        (from(&invite), values(&invite, "Diversion").len()),
        ("\"Any\" <sip:+447700900123@127.0.95.4>", 0)
    );
    // The next target of a route, and of a group.
    world.call(Who::Other, "5321", caller);
    world.refuses(Who::Bob, "bob", 486, &[]);
    let invite = world.refuses(Who::Carrier, "0321", 486, &[]);
    assert_eq!(values(&invite, "Diversion"), ["<sip:00493088110@127.0.95.3>;reason=user-busy"]);
    let before = format!("{caller}Diversion: <sip:+449990001111@x>;reason=away\r\n");
    world.call(Who::Other, "600", &before);
    world.refuses(Who::Bob, "bob", 480, &[]);
    let invite = world.refuses(Who::Carrier, "0777", 486, &[]);
    let diversions = ["<sip:600@127.0.95.3>;reason=no-answer", "<sip:00449990001111@127.0.95.3>;reason=away"];
    assert_eq!(values(&invite, "Diversion"), diversions);
    assert_eq!(from(&invite), "\"Any\" <sip:00447700900123@127.0.95.3>");
}

const SIGNED: &str = "From: <sip:+4477;verstat=TN-Validation-Passed@x>;tag=1\r\n\
    P-Asserted-Identity: <sip:+4477;verstat=TN-Validation-Passed@x>\r\nP-Attestation-Indicator: A\r\n\
    Identity: eyJhbGciOiJFUzI1NiJ9.eyJ9.sig;info=<https://cert.example/1>;alg=ES256;ppt=shaken\r\n\
    Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n";

#[test]
fn what_was_signed_goes_between_gateways_where_the_numbers_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let carrier = "identity = [\"pai\", \"stir\"]\ncalled = [{ match = \"09(.*)\", to = \"+44$1\" }]";
    let mut world = World::new(folder.path(), 96, [carrier, "trust_identity = true"], "");
    let names = ["Identity", "Date", "P-Attestation-Indicator"];
    let of = |text: &str| names.map(|name| values(text, name).join("|"));
    let signed = of(SIGNED);
    let invite = world.told(Who::Other, (Who::Carrier, "0111"), SIGNED);
    assert_eq!(of(&invite), signed);
    let asserted = ["<sip:+4477;verstat=TN-Validation-Passed@127.0.96.3>"];
    assert_eq!(values(&invite, "P-Asserted-Identity"), asserted);
    assert_eq!(from(&invite), "<sip:+4477@127.0.96.3>", "the number without what was said of it");
    // A number other than that in To, a phone, and a caller that is not a gateway.
    world.call(Who::Other, "0911", SIGNED);
    let invite = world.refuses(Who::Carrier, "+4411", 486, &[]);
    assert_eq!(of(&invite), ["", "", ""].map(str::to_owned), "{invite}");
    let invite = world.told(Who::Other, (Who::Bob, "bob"), SIGNED);
    assert_eq!(of(&invite), ["", "", ""].map(str::to_owned), "{invite}");
    assert!(!invite.contains("verstat"), "{invite}");
    let invite = world.told(Who::Ann, (Who::Carrier, "0111"), SIGNED);
    assert_eq!(of(&invite), ["", "", ""].map(str::to_owned), "{invite}");
    assert!(!invite.contains("verstat"), "{invite}");
    let records = records(folder.path(), "\"verstat\":\"TN-Validation-Passed\"");
    assert!(!records.contains("\"caller\":\"+4477;"), "{records}");
}

/// A robocaller would claim `passed`, and an attacker would have a victim's calls marked `failed`.
#[test]
fn calls_go_by_what_a_trusted_gateway_has_verified_and_by_nobody_elses_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let routes = "[[route]]\nname = \"spoofed\"\ncalled = \"8.*\"\nverstat = \"failed\"\nreject = 608\n\
                  [[route]]\nname = \"good\"\ncalled = \"8.*\"\nverstat = \"passed\"\nto = \"user/bob\"\n\
                  [[route]]\nname = \"unknown\"\ncalled = \"8.*\"\nverstat = \"none\"\nreject = 486\n";
    let mut world = World::new(folder.path(), 97, ["", "trust_identity = true"], routes);
    let (passed, failed) = ("TN-Validation-Passed", "TN-Validation-Failed");
    let says = |verstat: &str| {
        format!(
            "From: <sip:+4477;verstat={verstat}@x;user=phone>;tag=1\r\n\
             P-Asserted-Identity: <tel:+4477;verstat={verstat}>\r\n"
        )
    };
    // The other gateway is trusted.
    world.call(Who::Other, "81", &says(passed));
    world.refuses(Who::Bob, "bob", 603, &[]);
    assert_eq!(world.refused(Who::Other), 603);
    for (who, verstat, status) in [
        (Who::Other, failed, 608),
        (Who::Other, "No-TN-Validation", 486),
        (Who::Carrier, passed, 486),
        (Who::Carrier, failed, 486),
        (Who::Ann, passed, 486),
    ] {
        world.call(who, "82", &says(verstat));
        assert_eq!(world.refused(who), status, "{who:?} says {verstat}");
    }
    let heard = std::iter::from_fn(|| world.bob.datagram(Duration::from_millis(200)));
    assert_eq!(heard.filter(|it| it.starts_with(b"INVITE")).count(), 0, "nobody else reaches Bob");
}

/// The CDRs, once they contain this text.
fn records(folder: &Path, wanted: &str) -> String {
    let begun = Instant::now();
    loop {
        let records = fs::read_to_string(folder.join("cdr.jsonl")).unwrap_or_default();
        if records.contains(wanted) {
            return records;
        }
        assert!(begun.elapsed() < PATIENCE, "no {wanted} in {records}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
