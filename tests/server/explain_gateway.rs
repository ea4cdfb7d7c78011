//! `--explain-gateway` prints the messages that are actually sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Limits, Message, Method};

use crate::server_support::phone::{Phone, field};
use crate::server_support::{configured, start};

/// The codecs of the calling phone in the explanation.
const FORMATS: (&str, &str) = (
    "8 0 9 96 101",
    "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\n\
     a=fmtp:101 0-16\r\na=ptime:20\r\n",
);

fn phone(name: &'static str, last: u8) -> Phone {
    Phone::at(name, [Ipv4Addr::new(127, 0, 0, last); 3]).speaking(FORMATS.0, FORMATS.1)
}

/// An address for this test alone, since its port has to be known before it is bound.
fn own_address() -> Ipv4Addr {
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    Ipv4Addr::new(127, 0, 78, 1 + TAKEN.fetch_add(1, Ordering::Relaxed))
}

fn explained(config: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "b2bua", "--config"]).arg(config).args(arguments);
    let output = command.output().expect("the program");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The message after the line that begins with this method.
fn printed(text: &str, method: &str) -> String {
    let behind = text.split_once(&format!("\n{method} ")).unwrap_or_else(|| panic!("no {method}: {text}")).1;
    let lines = behind.lines().skip(1).take_while(|line| line.starts_with("  ") || line.is_empty());
    lines.map(|line| format!("{}\r\n", line.trim_start_matches("  "))).collect()
}

/// A message without random or counted parts.
fn without_chance(message: &str) -> Vec<String> {
    let cut = |line: &str, at: &str| match line.find(at) {
        Some(from) => line[..from + at.len()].to_owned(),
        None => line.to_owned(),
    };
    let line = |line: &str| match line.split([':', '=']).next().unwrap_or_default() {
        "Via" => cut(line, "branch="),
        "From" => cut(line, ";tag="),
        "Call-ID" | "B2b-Hop" => line.split(' ').next().unwrap_or_default().to_owned(),
        // The first CSeq of a dialog is random.
        "CSeq" => line.split(' ').next_back().unwrap_or_default().to_owned(),
        "o" => cut(line, "o=-"),
        "m" => line.split(' ').enumerate().filter(|(n, _)| *n != 1).map(|(_, word)| word).collect(),
        "a" if line.starts_with("a=rtcp:") => "a=rtcp".to_owned(),
        "Content-Length" => "Content-Length".to_owned(),
        _ => line.to_owned(),
    };
    message.trim_end().lines().map(line).collect()
}

/// Calls a number as this user, on a phone at that address, with a password.
fn call(name: &'static str, server: SocketAddr, number: &str) -> Phone {
    let stranger = phone(name, 2);
    stranger.ask_for(server, number);
    let (asked, _) = stranger.hear("SIP/2.0 407");
    let Ok(Message::Response(asked)) = Message::parse(asked.into_bytes().into(), &Limits::default()) else {
        panic!("no response")
    };
    let mut digest = DigestClient::new(name, "correct horse", [7; 32]);
    digest.challenged(&asked, &Authorized::default()).expect("a challenge");
    let uri = format!("sip:{number}@{server}");
    let fields: String = digest
        .authorize(&Method::Invite, uri.as_bytes())
        .headers
        .iter()
        .map(|(name, value)| {
            format!("{}: {}\r\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        })
        .collect();
    let phone = phone(name, 2);
    phone.ask_with(server, number, &fields);
    phone
}

#[test]
fn what_is_printed_is_what_leaves() {
    compare("", "");
}

#[test]
fn what_is_printed_of_a_gateway_with_a_listener_of_its_own_is_what_leaves_by_that() {
    let own = own_address();
    let listener =
        format!("[[listener]]\nname = \"wan\"\nlisten = \"udp:{own}:5060\"\nadvertise = \"203.0.113.9\"\n");
    let text = compare(&listener, "listener = \"wan\"\n");
    assert!(text.contains(&format!("\nINVITE   by udp, from {own}:")), "{text}");
    assert!(printed(&text, "INVITE").contains("c=IN IP4 203.0.113.9\r\n"), "{text}");
}

#[test]
fn what_is_printed_of_a_registration_by_its_flow_is_what_leaves() {
    let text = compare("", "outbound = true\n");
    let register = printed(&text, "REGISTER");
    assert!(field(&register, "Contact").contains(">;reg-id=1;+sip.instance=\"<urn:uuid:"), "{register}");
}

/// Compares the printed messages with the sent ones, with these tables and these lines of the gateway;
/// returns the output.
fn compare(tables: &str, of_gateway: &str) -> String {
    let carrier = phone("carrier", 3);
    let host = carrier.uri().split_once('@').expect("an address").1.to_owned();
    let lines = format!(
        "{tables}[[user]]\nname = \"1001\"\npassword = \"correct horse\"\ncaller_id = \"02079460001\"\n\
         [[user]]\nname = \"1002\"\npassword = \"correct horse\"\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{host}\"]\ntransport = \"udp\"\noptions_s = 1\n\
         username = \"acme\"\npassword = \"a good secret\"\nregister = true\nidentity = [\"pai\"]\n\
         number_format = \"e164\"\ncountry = \"44\"\nheaders = {{ X-Token = \"hush hush\" }}\n\
         codecs = [\"pcma\", \"opus\"]\nsession_timers = false\n{of_gateway}\
         [[route]]\ncalled = '9(.*)'\nclass = \"internal\"\nto = [\"user/1002\", \"gateway/carrier/$1\"]\n\
         set_caller_name = \"The Office\"\n"
    );
    let folder = configured(&lines);
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    let own = format!("udp:{}:5060", own_address());
    let text = text.replace("trusted = [\"127.0.0.0/8\"]\n", "").replacen("udp:127.0.0.1:0", &own, 1);
    std::fs::write(&path, text).expect("a file");

    let (good, text) = explained(&path, &["--explain-gateway", "carrier", "--to", "902079460000"]);
    assert!(good, "{text}");
    assert!(!carrier.has_heard("REGISTER") && !carrier.has_heard(""), "nothing was sent");
    assert!(text.contains("route    #1 (line "), "{text}");
    for secret in ["hush hush", "a good secret", "correct horse"] {
        assert!(!text.contains(secret), "{text}");
    }

    let server = start(folder);
    let (register, peer) = carrier.hear("REGISTER");
    carrier.grant(&register, peer, "");
    let (options, peer) = carrier.hear("OPTIONS");
    carrier.agree_to(&options, peer);
    crate::server_support::until("the registration", || {
        (server.get("/gateways").json()["gateways"][0]["registration"]["registered"] == true).then_some(())
    });
    let caller = call("1001", server.sip, "902079460000");
    let (invite, peer) = carrier.hear("INVITE");
    carrier.refuse_to("486 Busy Here", &invite, peer);
    caller.hear("SIP/2.0 486");
    assert_eq!(field(&invite, "X-Token"), "hush hush");
    let invite = invite.replace("hush hush", "(as `headers` says)");
    for (method, left) in [("REGISTER", register), ("OPTIONS", options), ("INVITE", invite)] {
        assert_eq!(without_chance(&printed(&text, method)), without_chance(&left), "{method}");
    }
    text
}

#[test]
fn a_gateway_by_name_over_tls_is_explained_without_dns_and_without_its_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b2bua.toml");
    let config = "[server]\nlisten = [\"udp:192.0.2.1:5060\"]\nstore = \"memory\"\nadvertise = \"sbc.example.com\"\n\
                  [media]\nadvertise = \"192.0.2.1\"\n\
                  [[gateway]]\nname = \"carrier\"\nhosts = [\"sip.carrier.invalid\", \"sip2.carrier.invalid\"]\n\
                  transport = \"tls\"\nsrtp = \"required\"\n";
    std::fs::write(&path, config).expect("a file");
    let (good, text) = explained(&path, &["--explain-gateway", "carrier"]);
    assert!(good, "{text}");
    assert!(text.contains("hosts    sip.carrier.invalid, then sip2.carrier.invalid\n"), "{text}");
    assert!(text.contains("user 1001, whom no [[user]] names, to +442079460000\n"), "{text}");
    assert!(text.contains("\nREGISTER none: register = false\n"), "{text}");
    assert!(text.contains("\nINVITE   by tls, from 192.0.2.1, to sip.carrier.invalid:5061\n"), "{text}");
    let invite = printed(&text, "INVITE");
    assert!(invite.contains("Contact: <sip:sbc.example.com:"), "{invite}");
    assert!(invite.contains("c=IN IP4 192.0.2.1\r\n") && invite.contains(" RTP/SAVP "), "{invite}");
    assert!(invite.contains("inline:(a key)\r\n"), "{invite}");
    assert!(!invite.contains("127.0.0.1") && !invite.contains("203.0.113.250"), "{invite}");
}

#[test]
fn a_question_that_cannot_be_answered_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b2bua.toml");
    let config = "[server]\nstore = \"memory\"\n[[gateway]]\nname = \"carrier\"\nhosts = [\"192.0.2.9\"]\n";
    std::fs::write(&path, config).expect("a file");
    for (arguments, why) in [
        (&["--explain-gateway", "carier"][..], "no gateway \"carier\"; there are: carrier"),
        (&["--explain-gateway", "carrier", "--from", "1001"][..], "--from 1001: no such user"),
        (&["--explain-gateway", "carrier", "--dry-run"][..], "choose one"),
        (&["--explain-gateway", "carrier", "--explain", "1"][..], "choose one"),
        (&["--to", "1"][..], "--to goes with --explain-gateway NAME"),
    ] {
        let (good, text) = explained(&path, arguments);
        assert!(!good && text.contains(why), "{arguments:?}: {text}");
    }
}

#[test]
fn an_emergency_number_is_shown_the_way_that_it_goes() {
    let gateway = |name: &str, last: u8| {
        format!(
            "[[gateway]]\nname = \"{name}\"\nhosts = [\"127.0.0.{last}\"]\ntransport = \"udp\"\noptions_s = 0\n"
        )
    };
    let folder = configured(&format!(
        "[emergency]\nnumbers = \"112\"\ngateways = \"helpline\"\n{}{}\
         [[user]]\nname = \"1001\"\npassword = \"correct horse\"\n[[route]]\nto = \"gateway/carrier\"\n",
        gateway("carrier", 8),
        gateway("helpline", 9)
    ));
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    std::fs::write(&path, text.replace("trusted = [\"127.0.0.0/8\"]\n", "")).expect("a file");
    let asked = |name: &str, number: &str| {
        let (good, text) = explained(&path, &["--explain-gateway", name, "--to", number]);
        assert!(good, "{text}");
        text
    };
    let way = "\nroute    emergency: 112 goes to helpline, past the routes";
    let helpline = asked("helpline", "112");
    assert!(helpline.contains(&format!("{way}\n")), "{helpline}");
    assert!(printed(&helpline, "INVITE").starts_with("INVITE sip:112@127.0.0.9"), "{helpline}");
    let carrier = asked("carrier", "112");
    assert!(carrier.contains(&format!("{way}; not to this gateway\n")), "{carrier}");
    assert!(carrier.contains("\nINVITE   none: an emergency call goes to helpline\n"), "{carrier}");
    let ordinary = asked("carrier", "113");
    assert!(ordinary.contains("\nroute    #1 (line "), "{ordinary}");
}
