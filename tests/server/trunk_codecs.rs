//! Media offered and sent to gateways: codecs that b2b only passes on, packet times, early media.

use std::time::Duration;

use b2b_media::codec::g711::alaw_decode;

use super::trunk::{carrier, phone, route};
use crate::server_support::phone::{Phone, rtp_of};
use crate::server_support::{server, until};

const G729: &str = "a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n";

/// A gateway at this phone, with these lines, which receives 200, and 201 with a recording; 300 goes to an
/// application, 400 to the other phone.
fn configuration(gateway: &Phone, lines: &str, other: &Phone) -> String {
    format!(
        "[recording]\nfolder = \"rec\"\n{}[[route]]\ncalled = \"201\"\nto = \"gateway/carrier\"\nrecord = true\n\
         [[route]]\ncalled = \"300\"\napp = \"ivr/menu\"\n\
         [[ivr]]\nname = \"menu\"\nnode = [{{ name = \"stay\", kind = \"play_prompt\", prompt = \"tone:440:60000\" }}]\n{}",
        carrier(gateway, lines),
        route("400", other)
    )
}

/// The payload types of the audio line.
pub fn types(message: &str) -> Vec<u8> {
    let line = message.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("audio");
    line.split(' ').skip(2).map(|number| number.parse().expect("a number")).collect()
}

pub fn ptime(message: &str) -> Option<&str> {
    message.lines().find_map(|line| line.strip_prefix("a=ptime:"))
}

#[test]
fn a_codec_that_b2b_does_not_know_passes_by_its_name_as_it_is() {
    let caller = phone("caller", 2).speaking("18 8", G729);
    let (carrier, other) = (phone("carrier", 3).speaking("18", G729), phone("other", 4));
    let server = server(&configuration(&carrier, "codecs = [\"pcma\", \"g729\"]", &other));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert_eq!(types(&invite), [8, 18], "in the order of the list: {invite}");
    assert!(invite.contains(G729), "{invite}");
    carrier.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    assert_eq!(types(&ok), [18], "{ok}");
    assert!(ok.contains(G729), "{ok}");
    let near = caller.confirmed(&ok, asked, server.sip);
    let mut n = 0;
    // 20 ms are 20 octets in this codec.
    until("the packet as it is", || {
        n += 1;
        caller.other_packet(rtp_of(&ok), (18, n, u32::from(n) * 160), &[0x5A; 20]);
        carrier.heard(|packet| packet[1] & 0x7F == 18 && packet[12..] == [0x5A; 20]).then_some(())
    });
    caller.hang_up(&near);
    carrier.let_go();
}

#[test]
fn who_has_nothing_else_is_refused_where_it_would_have_to_be_decoded() {
    let lines = "codecs = [\"pcma\", \"g729\"]";
    let (carrier, other) = (phone("carrier", 3).speaking("18 8", G729), phone("other", 4));
    let first = server(&configuration(&carrier, lines, &other));
    for number in ["300", "201"] {
        let caller = phone("single", 2).speaking("18", G729);
        caller.ask_for(first.sip, number);
        caller.hear("SIP/2.0 488");
    }
    assert!(!carrier.has_heard("INVITE"));
    // The next codec in its list is chosen.
    let caller = phone("both", 2).speaking("18 8", G729);
    let asked = caller.ask_for(first.sip, "300");
    let (ok, _) = caller.hear("SIP/2.0 200");
    assert_eq!(types(&ok), [8], "{ok}");
    caller.hang_up(&caller.confirmed(&ok, asked, first.sip));
    let caller = phone("recorded", 2).speaking("18 8", G729);
    caller.ask_for(first.sip, "201");
    let (invite, peer) = carrier.hear("INVITE");
    assert_eq!(types(&invite), [8], "{invite}");
    carrier.refuse_to("486 Busy Here", &invite, peer);
}

#[test]
fn a_codec_of_the_list_that_the_caller_does_not_have_is_not_offered() {
    let caller = phone("caller", 2);
    let (carrier, other) = (phone("carrier", 3), phone("other", 4));
    let server = server(&configuration(&carrier, "codecs = [\"g729\", \"gsm\", \"pcmu\"]", &other));
    caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert_eq!(types(&invite), [0], "{invite}");
    carrier.refuse_to("486 Busy Here", &invite, peer);
}

#[test]
fn a_gateway_gets_packets_of_its_time_where_they_are_made_for_it() {
    let (caller, other) = (phone("caller", 2), phone("other", 4));
    let carrier = phone("carrier", 3).speaking("0", "");
    let server = server(&configuration(&carrier, "ptime = 30\ncodecs = [\"pcmu\"]", &other));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert_eq!(ptime(&invite), Some("30"), "{invite}");
    carrier.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    let near = caller.confirmed(&ok, asked, server.sip);
    let mut n = 1;
    let sizes = until("packets", || {
        for _ in 0..6 {
            caller.sound(rtp_of(&ok), n, &[0xd5; 160]);
            n += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        let heard = carrier.packets_by_now();
        (!heard.is_empty()).then(|| heard.iter().map(Vec::len).collect::<Vec<_>>())
    });
    assert!(sizes.iter().all(|size| *size == 12 + 240), "{sizes:?}");
    caller.hang_up(&near);
    carrier.let_go();

    // The gateway calls an application.
    let carrier = phone("calls", 3).speaking("0", "");
    let asked = carrier.ask_for(server.sip, "300");
    let (ok, _) = carrier.hear("SIP/2.0 200");
    assert_eq!(ptime(&ok), Some("30"), "{ok}");
    let near = carrier.confirmed(&ok, asked, server.sip);
    carrier.packets_by_now();
    let heard = carrier.listen(3);
    assert!(heard.iter().all(|packet| packet.len() == 12 + 240), "packets of the application");
    carrier.hang_up(&near);

    // A gateway that requests another packet time gets that.
    let carrier = phone("insists", 3).speaking("0", "a=ptime:40\r\n");
    let asked = carrier.ask_for(server.sip, "300");
    let (ok, _) = carrier.hear("SIP/2.0 200");
    let near = carrier.confirmed(&ok, asked, server.sip);
    let heard = until("packets of 40 ms", || {
        let heard = carrier.listen(3);
        heard.iter().all(|packet| packet.len() == 12 + 320).then_some(heard)
    });
    assert_eq!(heard.len(), 3);
    carrier.hang_up(&near);
}

/// The caller's messages for a 183 with a session, and for a 180 with one.
fn told(early_media: &str) -> (Option<String>, String) {
    let (caller, carrier, other) = (phone("caller", 2), phone("carrier", 3), phone("other", 4));
    let server = server(&configuration(&carrier, early_media, &other));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    carrier.progress_to(&invite, peer);
    let mut provisional = None;
    for _ in 0..5 {
        provisional = caller.next("SIP/2.0 18").map(|(text, _)| text).or(provisional);
    }
    carrier.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    let near = caller.confirmed(&ok, asked, server.sip);
    // The call has audio, whatever came before.
    let mut n = 1;
    until("sound", || {
        for _ in 0..5 {
            caller.sound(rtp_of(&ok), n, &[0xd5; 160]);
            n += 1;
        }
        carrier.heard(|packet| packet.len() == 172).then_some(())
    });
    caller.hang_up(&near);
    carrier.let_go();
    (provisional, ok)
}

#[test]
fn what_comes_before_the_answer_is_heard_or_is_ringing_or_is_nothing() {
    let (passed, _) = told("");
    let passed = passed.expect("a 183");
    assert!(passed.starts_with("SIP/2.0 183") && passed.contains("m=audio"), "{passed}");
    let (ringing, ok) = told("early_media = \"ringing\"");
    let ringing = ringing.expect("a 180");
    assert!(ringing.starts_with("SIP/2.0 180") && !ringing.contains("m=audio"), "{ringing}");
    assert!(ok.contains("m=audio"), "{ok}");
    assert_eq!(told("early_media = \"ignore\"").0, None);
}

/// A phone that supports comfort noise, with its static payload type.
pub fn noisy(name: &'static str, last: u8) -> Phone {
    phone(name, last).speaking("8 13", "a=rtpmap:13 CN/8000\r\n")
}

#[test]
fn comfort_noise_of_a_gateway_is_soft_noise_for_who_knows_none() {
    let (caller, other) = (phone("caller", 2), phone("other", 4));
    let carrier = noisy("carrier", 3);
    let server = server(&configuration(&carrier, "comfort_noise = true", &other));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert!(types(&invite).contains(&13) && invite.contains("a=rtpmap:13 CN/8000\r\n"), "{invite}");
    carrier.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    assert!(!types(&ok).contains(&13), "{ok}");
    let near = caller.confirmed(&ok, asked, server.sip);
    // Audio, and then one packet of noise.
    let (to, mut n) = (rtp_of(&invite), 1);
    until("sound", || {
        carrier.sound(to, n, &[0x55; 160]);
        n += 1;
        caller.heard(|packet| packet[1] & 0x7F == 8).then_some(())
    });
    carrier.other_packet(to, (13, n, u32::from(n) * 160), &[50]);
    let heard: Vec<Vec<u8>> = caller.listen(10);
    assert!(heard.iter().all(|packet| packet[1] & 0x7F == 8 && packet.len() == 172), "it knows no CN");
    let samples = heard.iter().flat_map(|packet| &packet[12..]).map(|octet| alaw_decode(*octet));
    let loudest = samples.map(i16::unsigned_abs).max().expect("samples");
    assert!((30..400).contains(&loudest), "soft, and no silence: {loudest}");
    // The next audio packet ends it.
    n += 20;
    until("the word", || {
        carrier.sound(to, n, &[0x77; 160]);
        n += 1;
        caller.heard(|packet| packet[12..] == [0x77; 160]).then_some(())
    });
    assert_eq!(server.metric("b2b_media_dropped_total{reason=\"payload_type\"}"), 0.0);
    caller.hang_up(&near);
    carrier.let_go();
}

#[test]
fn comfort_noise_passes_between_two_who_know_it_and_is_answered() {
    let (caller, other) = (noisy("caller", 2), phone("other", 4));
    let carrier = noisy("carrier", 3);
    let server = server(&configuration(&carrier, "comfort_noise = true", &other));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    carrier.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    assert!(types(&ok).contains(&13), "{ok}");
    let near = caller.confirmed(&ok, asked, server.sip);
    let mut n = 1;
    until("the noise as it is", || {
        carrier.sound(rtp_of(&invite), n, &[0xd5; 160]);
        carrier.other_packet(rtp_of(&invite), (13, n + 1, u32::from(n + 1) * 160), &[50, 7]);
        n += 2;
        caller.heard(|packet| packet[1] & 0x7F == 13 && packet[12..] == [50, 7]).then_some(())
    });
    caller.hang_up(&near);
    carrier.let_go();

    // It calls a phone without comfort noise, and an application.
    let carrier = noisy("calls", 3);
    let asked = carrier.ask_for(server.sip, "400");
    other.answer();
    let (ok, _) = carrier.hear("SIP/2.0 200");
    assert!(types(&ok).contains(&13), "{ok}");
    carrier.hang_up(&carrier.confirmed(&ok, asked, server.sip));
    other.let_go();
    let carrier = noisy("again", 3);
    let asked = carrier.ask_for(server.sip, "300");
    let (ok, _) = carrier.hear("SIP/2.0 200");
    assert!(types(&ok).contains(&13), "{ok}");
    carrier.hang_up(&carrier.confirmed(&ok, asked, server.sip));
}
