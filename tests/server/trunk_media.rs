//! Media encryption by party, in one process: a trunk that requires it, plain phones, a route. Verified by
//! the descriptions on the wire.

use super::trunk::{configuration, phone};
use crate::server_support::phone::{Phone, field};
use crate::server_support::server;

const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
/// 30 octets 0xAB.
const KEY: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur";

/// A phone with SRTP, with this text after its key.
fn secure(name: &'static str, last: u8, more: &str) -> Phone {
    let line = format!("a=crypto:1 {SUITE} inline:{KEY}{more}\r\n");
    let mut phone = phone(name, last).speaking("8", &line);
    phone.profile = "RTP/SAVP";
    phone
}

const INSISTS: &str =
    "srtp = { offer = \"savp\", suites = [\"AES_CM_128_HMAC_SHA1_80\"], without_tls = true }";

fn keys(message: &str) -> Vec<&str> {
    message.lines().filter_map(|line| line.strip_prefix("a=crypto:")).collect()
}

#[test]
fn a_trunk_that_insists_on_srtp_and_plain_phones_live_in_one_process() {
    let (caller, plain) = (phone("caller", 2), phone("plain", 4));
    let carrier = secure("carrier", 3, "");
    let server = server(&configuration(&carrier, INSISTS, &plain));

    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert!(invite.contains(" RTP/SAVP ") && field(&invite, "To").contains("200"), "{invite}");
    let offered = keys(&invite);
    assert!(offered.len() == 1 && offered[0].starts_with(&format!("1 {SUITE} inline:")), "{invite}");
    let far = carrier.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    assert!(ok.contains(" RTP/AVP ") && keys(&ok).is_empty(), "{ok}");
    let near = caller.confirmed(&ok, asked, server.sip);
    caller.hang_up(&near);
    carrier.let_go();
    drop(far);

    // Meanwhile phones talk to each other without encryption.
    let caller = phone("another", 2);
    let asked = caller.ask_for(server.sip, "300");
    let (invite, peer) = plain.hear("INVITE");
    assert!(invite.contains(" RTP/AVP ") && keys(&invite).is_empty(), "{invite}");
    plain.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    let near = caller.confirmed(&ok, asked, server.sip);
    caller.hang_up(&near);
    plain.let_go();
}

#[test]
fn a_trunk_that_insists_is_not_talked_out_of_it() {
    let (caller, plain) = (phone("caller", 2), phone("plain", 4));
    // It answers with plain RTP, whatever the offer.
    let carrier = phone("carrier", 3);
    let server = server(&configuration(&carrier, INSISTS, &plain));
    caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    carrier.answer_to(&invite, peer);
    caller.hear("SIP/2.0 488");
    carrier.let_go();
    // Its calls without keys are refused, too.
    carrier.ask_for(server.sip, "300");
    carrier.hear("SIP/2.0 488");
    assert!(!plain.has_heard("INVITE"));
}

#[test]
fn calls_of_a_secure_trunk_reach_a_plain_phone_with_a_key_identifier_as_well() {
    for identifier in ["", "|2^31|1:1"] {
        let (carrier, plain) = (secure("carrier", 3, identifier), phone("plain", 4));
        let server = server(&configuration(&carrier, INSISTS, &plain));
        let asked = carrier.ask_for(server.sip, "300");
        let (invite, peer) = plain.hear("INVITE");
        assert!(invite.contains(" RTP/AVP ") && keys(&invite).is_empty(), "{invite}");
        plain.answer_to(&invite, peer);
        let (ok, _) = carrier.hear("SIP/2.0 200");
        let ours = keys(&ok);
        assert!(ok.contains(" RTP/SAVP ") && ours.len() == 1, "{ok}");
        assert!(ours[0].starts_with(&format!("1 {SUITE} inline:")) && !ours[0].contains('|'), "{ok}");
        assert!(!ok.contains(KEY), "our key, not theirs: {ok}");
        carrier.hang_up(&carrier.confirmed(&ok, asked, server.sip));
        plain.let_go();
    }
}

#[test]
fn a_route_says_how_those_are_called_who_do_not_say_it_themselves() {
    let (carrier, other) = (phone("carrier", 3), phone("other", 4));
    let lines = configuration(&carrier, "srtp = \"off\"", &other);
    let lines = lines.replace("to = \"gateway/carrier\"", "to = \"gateway/carrier\"\nsrtp = \"required\"");
    let server = server(&format!("{lines}srtp = \"osrtp\"\n"));
    for (called, callee, profile, offered) in
        [("200", &carrier, " RTP/AVP ", 0), ("300", &other, " RTP/AVP ", 3)]
    {
        let caller = phone("caller", 2);
        caller.ask_for(server.sip, called);
        let (invite, peer) = callee.hear("INVITE");
        assert!(invite.contains(profile) && keys(&invite).len() == offered, "{called}: {invite}");
        callee.refuse_to("486 Busy Here", &invite, peer);
        caller.hear("SIP/2.0 486");
    }
}

/// Asterisk with `use_avpf = yes` refuses other profiles.
#[test]
fn a_gateway_with_avpf_is_offered_the_profile_with_feedback_and_nobody_else_hears_of_it() {
    for (lines, profile, plain) in [
        ("avpf = true".to_owned(), "RTP/AVPF", true),
        (format!("avpf = true\n{INSISTS}"), "RTP/SAVPF", false),
        ("avpf = false".to_owned(), "RTP/AVP", true),
    ] {
        let (caller, other) = (phone("caller", 2), phone("plain", 4));
        let mut carrier = if plain { phone("carrier", 3) } else { secure("carrier", 3, "") };
        carrier.profile = profile;
        let server = server(&configuration(&carrier, &lines, &other));
        let asked = caller.ask_for(server.sip, "200");
        let (invite, peer) = carrier.hear("INVITE");
        assert!(invite.contains(&format!(" {profile} ")), "{invite}");
        let feedback: Vec<_> = invite.lines().filter(|line| line.starts_with("a=rtcp-fb:")).collect();
        let said: &[&str] = if profile == "RTP/AVP" { &[] } else { &["a=rtcp-fb:* trr-int 4000"] };
        assert_eq!(feedback, said, "{invite}");
        carrier.answer_to(&invite, peer);
        let (ok, _) = caller.hear("SIP/2.0 200");
        assert!(ok.contains(" RTP/AVP ") && !ok.contains("rtcp-fb"), "{ok}");
        let near = caller.confirmed(&ok, asked, server.sip);
        caller.hang_up(&near);
        carrier.let_go();
    }
}
