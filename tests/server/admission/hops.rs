//! The next hop in dialogs with gateways, with messages in the formats of known providers: addresses behind a
//! Route are never checked, unrelated public ones are followed and reported, internal ones are not followed.
//!
//! Formats: Telnyx (flexisip#202), Twilio (pyVoIP#297), sipgate (kamailio#2961); addresses are the providers'
//! where they matter, and from the documentation blocks elsewhere.

use b2b::sip::endpoint::Body;
use b2b_testkit::{PartyId, SESSION, UsageId};

use super::bench::Bench;
use crate::server_support::phone::field;

const ANN: &str = "192.0.2.11:5060";

/// The address-related fields of a provider's response or INVITE.
struct Shape {
    host: &'static str,
    contact: &'static str,
    /// In the order of a response; in a request it is reversed.
    record_route: &'static [&'static str],
    /// Expected destination of our requests, with their Route fields.
    reached: &'static str,
}

const TELNYX: Shape = Shape {
    host: "192.76.120.10",
    contact: "sip:+13125550100@10.239.216.224:5070;transport=tcp",
    record_route: &["<sip:10.255.0.1;r2=on;lr;ftag=x>", "<sip:192.76.120.10;r2=on;lr;ftag=x>"],
    reached: "192.76.120.10:5060",
};

const TWILIO: Shape = Shape {
    host: "54.172.60.1",
    contact: "sip:+15551230000@172.18.5.6:5060;transport=udp",
    record_route: &["<sip:54.172.60.1:5060;lr;twnat=sip:54.172.60.1:5060>"],
    reached: "54.172.60.1:5060",
};

const SIPGATE: Shape = Shape {
    host: "217.10.68.150",
    contact: "sip:4915799912345@217.10.77.61:5060",
    record_route: &["<sip:172.20.40.8;lr=on>", "<sip:217.10.68.150;lr=on>"],
    reached: "217.10.68.150:5060",
};

fn config(host: &str, more: &str) -> String {
    format!(
        "[server]\nlisten = [\"udp:192.0.2.1:5060\"]\ntrusted = [\"192.0.2.11\"]\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{host}\"]\nsources = [\"{host}\"]\noptions_s = 0\n{more}\n\
         [[gateway]]\nname = \"other\"\nhosts = [\"198.51.100.40\"]\nsources = [\"198.51.100.40\"]\noptions_s = 0\n\
         [[route]]\nsource = \"gateway/carrier\"\nmode = \"transparent\"\nto = \"sip:ann@{ANN}\"\n\
         [[route]]\nmode = \"transparent\"\nto = \"gateway/carrier\"\n"
    )
}

/// 200 to one of our requests, with a session for an INVITE.
fn ok(request: &str, lines: &str) -> String {
    let to = field(request, "To");
    let to = if to.contains(";tag=") { to } else { format!("{to};tag=carrier") };
    let copied: String = ["Via", "From", "Call-ID", "CSeq"]
        .iter()
        .map(|name| format!("{name}: {}\r\n", field(request, name)))
        .collect();
    let body = if request.starts_with("INVITE") { SESSION } else { "" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("SIP/2.0 200 OK\r\n{copied}To: {to}\r\n{lines}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The values of Route, in order.
fn routes(message: &str) -> Vec<String> {
    let fields = message.lines().filter_map(|line| line.strip_prefix("Route: "));
    fields.flat_map(|value| value.split(", ").map(str::to_owned)).collect()
}

/// The destination and text of our last message that begins like this.
fn last(bench: &Bench, begins: &str) -> (String, String) {
    let sent = bench.harness.wire.iter().rev();
    let ours = |sent: &&b2b_testkit::Sent| {
        sent.from.to_string() == "192.0.2.1:5060"
            && sent.to.to_string() != ANN
            && sent.line().starts_with(begins)
    };
    let sent = sent.clone().find(ours).unwrap_or_else(|| panic!("no {begins}"));
    (sent.to.to_string(), sent.text())
}

/// A call from ann that the carrier answers with these lines.
fn called(bench: &mut Bench, carrier: &str, lines: &str) -> (PartyId, UsageId) {
    let ann = bench.harness.party(ANN);
    let call = bench.harness.call(ann, "4420", Some(SESSION));
    let (to, invite) = last(bench, "INVITE");
    assert_eq!(to, carrier);
    bench.harness.send_raw(carrier, &ok(&invite, lines));
    assert!(bench.harness.is_up(ann, call));
    (ann, call)
}

/// A call from the carrier that ann has answered.
fn calls(bench: &mut Bench, carrier: &str, lines: &str) -> (PartyId, UsageId) {
    let ann = bench.harness.party(ANN);
    let request = |method: &str, to_tag: &str, body: &str| {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:4420@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {carrier};branch=z9hG4bK{method};rport\r\n\
             Max-Forwards: 60\r\nFrom: <sip:+49@{carrier}>;tag=carrier\r\nTo: <sip:4420@192.0.2.1>{to_tag}\r\n\
             Call-ID: of-the-carrier\r\nCSeq: 1 {method}\r\n{lines}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    bench.harness.send_raw(carrier, &request("INVITE", "", SESSION));
    let call = bench.harness.answer_next(ann, SESSION);
    let (_, answer) = last(bench, "SIP/2.0 200");
    let tag = format!(";tag={}", field(&answer, "To").split_once(";tag=").expect("a tag").1);
    bench.harness.send_raw(carrier, &request("ACK", &tag, ""));
    (ann, call)
}

/// Ann changes the session, and hangs up; returns the destinations of the re-INVITE, its ACK and the BYE.
fn reinvite_ack_bye(
    bench: &mut Bench,
    carrier: &str,
    (ann, call): (PartyId, UsageId),
    lines: &str,
) -> [(String, String); 3] {
    let now = bench.harness.now();
    let again = Body::sdp(SESSION.replace("party 1 1", "party 1 2").replace(" 8 0 101", " 0 8 101"));
    bench.harness.endpoint(ann).reinvite(now, call, Some(again)).expect("the call is up");
    bench.harness.settle();
    let reinvite = last(bench, "INVITE");
    bench.harness.send_raw(carrier, &ok(&reinvite.1, lines));
    let ack = last(bench, "ACK");
    assert_eq!(field(&ack.1, "CSeq").split(' ').next(), field(&reinvite.1, "CSeq").split(' ').next());
    bench.harness.hang_up(ann, call);
    let bye = last(bench, "BYE");
    bench.harness.send_raw(carrier, &ok(&bye.1, ""));
    [reinvite, ack, bye]
}

fn lines(shape: &Shape, request: bool) -> String {
    let mut routes = shape.record_route.to_vec();
    if request {
        routes.reverse();
    }
    let routes: String = routes.iter().map(|route| format!("Record-Route: {route}\r\n")).collect();
    format!("Contact: <{}>\r\n{routes}", shape.contact)
}

fn assert_reached(shape: &Shape, what: &str, (to, message): &(String, String)) {
    assert_eq!(to, shape.reached, "{what}: {message}");
    let line = message.lines().next().unwrap_or_default();
    let method = line.split(' ').next().unwrap_or_default();
    assert_eq!(line, format!("{method} {} SIP/2.0", shape.contact), "{what}");
    let routes = routes(message);
    let expected: Vec<&str> = shape.record_route.iter().rev().copied().collect();
    assert_eq!(routes, expected, "{what}");
}

#[test]
fn providers_with_private_hops_behind_a_public_one_hear_ack_bye_and_reinvite() {
    for shape in [&TELNYX, &TWILIO, &SIPGATE] {
        let carrier = format!("{}:5060", shape.host);
        let mut bench = Bench::new(&config(shape.host, ""));
        let call = called(&mut bench, &carrier, &lines(shape, false));
        assert_reached(shape, "ACK of our call", &last(&bench, "ACK"));
        for (what, sent) in ["re-INVITE", "ACK", "BYE"].iter().zip(reinvite_ack_bye(
            &mut bench,
            &carrier,
            call,
            &format!("Contact: <{}>\r\n", shape.contact),
        )) {
            assert_reached(shape, &format!("{what} of our call to {}", shape.host), &sent);
        }
        let mut bench = Bench::new(&config(shape.host, ""));
        let call = calls(&mut bench, &carrier, &lines(shape, true));
        for (what, sent) in ["re-INVITE", "ACK", "BYE"].iter().zip(reinvite_ack_bye(
            &mut bench,
            &carrier,
            call,
            &format!("Contact: <{}>\r\n", shape.contact),
        )) {
            assert_reached(shape, &format!("{what} of a call of {}", shape.host), &sent);
        }
        assert!(bench.harness.snapshot().is_empty(), "{}: the call is over", shape.host);
    }
}

const CARRIER: &str = "198.51.100.10:5060";

/// The destination of the ACK to an answer with this Contact, and the timeline's note about it.
fn ack_for(contact: &str, more: &str) -> (String, Option<String>) {
    let mut bench = Bench::new(&config("198.51.100.10", more));
    called(&mut bench, CARRIER, &format!("Contact: <{contact}>\r\n"));
    let (to, ack) = last(&bench, "ACK");
    assert!(ack.starts_with(&format!("ACK {contact} SIP/2.0\r\n")), "{ack}");
    let call = bench.harness.snapshot().first().expect("a call").call;
    let timeline = bench.harness.report(call).expect("a call").timeline.view().to_string();
    (to, timeline.lines().find(|line| line.contains("next hop")).map(str::to_owned))
}

#[test]
fn a_gateways_own_hops_are_followed_silently_other_public_ones_are_told() {
    let (to, told) = ack_for("sip:1@198.51.100.10:5070", "");
    assert_eq!((to.as_str(), told), ("198.51.100.10:5070", None));
    let (to, told) = ack_for("sip:1@203.0.113.77:5062", "");
    assert_eq!(to, "203.0.113.77:5062");
    let told = told.expect("a line in the timeline");
    assert!(told.contains("203.0.113.77:5062: it is not a host of the gateway"), "{told}");
}

#[test]
fn with_own_other_public_hops_are_not_followed() {
    let (to, told) = ack_for("sip:1@203.0.113.77:5062", "dialog = \"own\"");
    assert_eq!(to, CARRIER);
    assert!(told.expect("a line in the timeline").contains("not followed"));
}

#[test]
fn instead_of_what_leads_inside_to_us_or_to_another_gateway_it_is_the_flow() {
    for contact in [
        "sip:1@127.0.0.1:5060",
        "sip:1@10.1.2.3",
        "sip:1@169.254.169.254:80",
        "sip:1@192.0.2.1:5060",
        "sip:1@198.51.100.40:5060",
        "sip:1@203.0.113.77;maddr=10.1.2.3",
    ] {
        let (to, told) = ack_for(contact, "");
        assert_eq!(to, CARRIER, "{contact}");
        assert!(told.is_some_and(|told| told.contains("not followed")), "{contact}");
    }
}

#[test]
fn a_gateway_in_private_space_may_have_private_hops() {
    let mut bench = Bench::new(&config("10.0.0.7", ""));
    called(&mut bench, "10.0.0.7:5060", "Contact: <sip:1@10.0.0.8:5062>\r\n");
    assert_eq!(last(&bench, "ACK").0, "10.0.0.8:5062");
    let mut bench = Bench::new(&config("10.0.0.7", ""));
    called(&mut bench, "10.0.0.7:5060", "Contact: <sip:1@127.0.0.1:5062>\r\n");
    assert_eq!(last(&bench, "ACK").0, "10.0.0.7:5060");
}

#[test]
fn nobody_is_led_away_by_a_3xx_to_a_reinvite() {
    let mut bench = Bench::new(&config("198.51.100.10", ""));
    let (ann, call) = called(&mut bench, CARRIER, "Contact: <sip:1@198.51.100.10>\r\n");
    let now = bench.harness.now();
    let again = Body::sdp(SESSION.replace("party 1 1", "party 1 2").replace(" 8 0 101", " 0 8 101"));
    bench.harness.endpoint(ann).reinvite(now, call, Some(again)).expect("the call is up");
    bench.harness.settle();
    let (_, reinvite) = last(&bench, "INVITE");
    let moved =
        ok(&reinvite, "Contact: <sip:1@203.0.113.77:5062>\r\n").replace("200 OK", "302 Moved Temporarily");
    bench.harness.send_raw(CARRIER, &moved);
    assert_eq!(bench.sent_to("203.0.113.77:5062", ""), Vec::<String>::new());
    let answer = bench.sent_to(ANN, "SIP/2.0").pop().expect("an answer");
    assert!(answer.starts_with("SIP/2.0 488 "), "{answer}");
    assert!(bench.harness.is_up(ann, call));
    bench.harness.hang_up(ann, call);
    assert_eq!(last(&bench, "BYE").0, CARRIER);
}

#[test]
fn by_a_named_proxy_it_is_the_proxys_hop_and_never_one_that_only_the_phone_names() {
    const EDGE: &str = "203.0.113.5:5060";
    let config = config("198.51.100.10", "").replace("\"192.0.2.11\"", "\"192.0.2.11\", \"192.0.2.77\"");
    let config = config.replace(
        "[[gateway]]\nname = \"carrier\"",
        "[registrar]\nproxies = [\"203.0.113.5\"]\n[[gateway]]\nname = \"carrier\"",
    );
    let config = config.replace("source = \"gateway/carrier\"", "source = \"192.0.2.77\"");
    let phone = "Via: SIP/2.0/UDP 192.168.1.5:5060;branch=z9hG4bKphone;received=192.0.2.77;rport=40000\r\n\
                 Contact: <sip:1@198.51.100.10:5060>\r\n";
    let edge = "Record-Route: <sip:203.0.113.5;lr>\r\n";
    let carrier = "Record-Route: <sip:198.51.100.10;lr>\r\n";
    for (lines, routes_of_bye) in [
        (format!("{phone}{edge}"), vec!["<sip:203.0.113.5;lr>"]),
        (format!("{phone}{edge}{carrier}"), vec!["<sip:203.0.113.5;lr>", "<sip:198.51.100.10;lr>"]),
        // The proxy does not add itself to Record-Route.
        (phone.to_owned(), vec![]),
        (format!("{phone}{carrier}"), vec!["<sip:198.51.100.10;lr>"]),
    ] {
        let mut bench = Bench::new(&config);
        let (ann, call) = calls(&mut bench, EDGE, &lines);
        bench.harness.hang_up(ann, call);
        let (to, bye) = last(&bench, "BYE");
        assert_eq!(to, EDGE, "{lines}");
        assert!(bye.starts_with("BYE sip:1@198.51.100.10:5060 SIP/2.0\r\n"), "{bye}");
        assert_eq!(routes(&bye), routes_of_bye, "{lines}");
    }
}
