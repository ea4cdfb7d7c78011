//! Session descriptions as peers send them: what audio does not need decides over no call, what it needs is
//! not guessed.

use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use super::trunk::{phone, route};
use crate::server_support::phone::rtp_of;
use crate::server_support::{Server, configured, server, start, until};

type Change = fn(String) -> String;

const ECHO: &str = "[[route]]\ncalled = \"900\"\napp = \"echo\"\n";

/// With lines that nobody can read, and some that nobody has to.
fn odd(description: String) -> String {
    let odd = description
        .replace("o=- 1 1 IN", "o=- one IN")
        .replace("t=0 0", "b=AS:12.8\r\nt=always\r\nr=\r\nx=y")
        .replace("m=audio", "m=video 0 RTP/AVP\r\nm=audio");
    format!("{odd}a=sendrcv\r\nm=image 99999 udptl t38\r\n; the end\r\n")
}

/// The notes on descriptions in the timeline of the only call.
fn remarks(server: &Server) -> Vec<String> {
    let calls = server.get("/calls").json();
    let account = server.get(&format!("/calls/{}", calls["calls"][0]["call"])).json();
    let records = account["timeline"]["records"].as_array().unwrap_or_else(|| panic!("{account}"));
    let notes = records.iter().filter(|record| record["fact"] == "SDP");
    notes.map(|record| record["note"].as_str().expect("a note").to_owned()).collect()
}

#[test]
fn lines_that_audio_does_not_need_refuse_no_offer_and_no_answer() {
    let (caller, callee) = (
        phone("caller", 2).described(odd),
        phone("callee", 3).described(|text| {
            // The offer has one line: the answer's others are too many.
            odd(text.replace("m=audio", "m=audio 0 RTP/AVP 0\r\nm=audio"))
        }),
    );
    let server = server(&route("200", &callee));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = callee.hear("INVITE");
    assert_eq!(invite.matches("\r\nm=").count(), 1, "what is skipped is passed on to nobody: {invite}");
    assert!(!["one", "always", "x=y", "12.8", "the end"].iter().any(|odd| invite.contains(odd)), "{invite}");
    callee.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    let lines: Vec<&str> = ok.lines().filter(|line| line.starts_with("m=")).collect();
    assert!(
        matches!(lines[..], ["m=video 0 RTP/AVP 0", audio, "m=image 0 udptl t38"] if audio.ends_with(" 8")),
        "{ok}"
    );
    let near = caller.confirmed(&ok, asked, server.sip);
    caller.speak(rtp_of(&ok), 5);
    callee.listen(3);
    callee.speak(rtp_of(&invite), 5);
    caller.listen(3);
    let not_read = "not read: line 2 (o=), line 5 (b=), line 6 (t=), line 8 (x=), line 11 (a=), line 12 (m=)";
    let [of_caller, of_callee] = &remarks(&server)[..] else { panic!("{:?}", remarks(&server)) };
    assert!(of_caller.starts_with(not_read), "{of_caller}");
    assert!(of_callee.starts_with("not read: line 2 (o=), "), "{of_callee}");
    assert!(!callee.has_heard("BYE"));
    caller.hang_up(&near);
    callee.let_go();
}

#[test]
fn a_party_that_names_a_host_is_heard_and_hears_once_its_rtp_has_come() {
    let named = |text: String| {
        text.replace("c=IN IP4 127.0.0.", "c=IN IP4 media-").replacen("\r\nt=0", ".example\r\nt=0", 1)
    };
    let (caller, callee) = (phone("caller", 2).described(named), phone("callee", 3).described(named));
    let server = server(&format!("{ECHO}{}", route("200", &callee)));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = callee.hear("INVITE");
    assert!(!invite.contains("a=sendonly") && !invite.contains("a=inactive"), "no hold: {invite}");
    callee.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    let near = caller.confirmed(&ok, asked, server.sip);
    // Both speak at once, as phones do.
    let (mut heard, mut n) = ([0, 0], 0);
    until("audio both ways", || {
        n += 1;
        caller.sound(rtp_of(&ok), n, &[0xD5; 160]);
        callee.sound(rtp_of(&invite), n, &[0x55; 160]);
        heard[0] += usize::from(caller.heard_from().is_some());
        heard[1] += usize::from(callee.heard_from().is_some());
        heard.iter().all(|packets| *packets > 2).then_some(())
    });
    assert_eq!(remarks(&server), ["RTP of media-2.example is awaited", "RTP of media-3.example is awaited"]);
    caller.hang_up(&near);
    callee.let_go();
}

/// A server that has both families.
fn of_both_families(lines: &str) -> Server {
    let folder = configured(lines);
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    let both = text.replace("[\"udp:127.0.0.1:0\"]", "[\"udp:127.0.0.1:0\", \"udp:[::1]:0\"]");
    std::fs::write(&path, both).expect("a file");
    start(folder)
}

#[test]
fn media_of_the_other_family_gets_an_address_of_it_where_there_is_one() {
    let Ok(rtp) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    rtp.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    // The type before the address contradicts it.
    let six = |text: String| text.replace("c=IN IP4 127.0.0.2", "c=IN IP4 ::1");
    let (caller, callee) = (phone("caller", 2).described(six), phone("callee", 3));
    let lines = format!("{ECHO}{}", route("200", &callee));
    let both = of_both_families(&lines);
    let asked = caller.ask_for(both.sip, "900");
    let (ok, _) = caller.hear("SIP/2.0 200");
    assert!(ok.contains("c=IN IP6 ::1\r\n"), "{ok}");
    let port =
        ok.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse::<u16>().ok());
    let near = caller.confirmed(&ok, asked, both.sip);
    let mut n = 0u16;
    until("the echo", || {
        n += 1;
        let head =
            [&[0x80, 8][..], &n.to_be_bytes(), &(u32::from(n) * 160).to_be_bytes(), &[0, 0, 0, 7]].concat();
        rtp.send_to(&[&head[..], &[0xD5; 160]].concat(), (Ipv6Addr::LOCALHOST, port.expect("a port")))
            .expect("loopback");
        rtp.recv_from(&mut [0; 2_048]).is_ok().then_some(())
    });
    caller.hang_up(&near);
    // The callee's leg has the family of the callee.
    let caller = phone("caller", 2).described(six);
    caller.ask_for(both.sip, "200");
    let (invite, _) = callee.hear("INVITE");
    assert!(invite.contains("c=IN IP4 127.0.0.1\r\n"), "{invite}");
    let (caller, only_four) = (phone("caller", 2).described(six), server(&lines));
    caller.ask_for(only_four.sip, "900");
    caller.hear("SIP/2.0 488");
}

#[test]
fn an_offer_that_cannot_be_read_is_400_or_488_and_says_what() {
    let callee = phone("callee", 3);
    let server = server(&format!("{ECHO}{}", route("200", &callee)));
    let cases: [(&str, Change); 5] = [
        ("400 Bad Session Description: line 1: ", |_| "hello".to_owned()),
        ("400 Bad Session Description: line 1: a version", |text| text.replace("v=0", "v=1")),
        ("400 Bad Session Description: media line 0 ", |text| text.replace("m=audio ", "m=audio 9")),
        ("488 Not Acceptable Here: no usable address for audio: media line 0 has no c=", |text| {
            text.replace("c=", "i=")
        }),
        ("488 Not Acceptable Here: no usable address for audio: media line 0 has c= with '", |text| {
            text.replace("c=IN IP4 127", "c=IN IP4 777")
        }),
    ];
    for (expected, change) in cases {
        for number in ["200", "900"] {
            let caller = phone("caller", 2).described(change);
            caller.ask_for(server.sip, number);
            let (refusal, _) = caller.hear("SIP/2.0 4");
            assert!(refusal.starts_with(&format!("SIP/2.0 {expected}")), "{number}: {refusal}");
        }
    }
    assert!(!callee.has_heard("INVITE"));
}

#[test]
fn an_answer_that_cannot_be_used_ends_the_call_and_is_no_fault_of_the_caller() {
    let cases: [Change; 4] = [
        |_| "hello".to_owned(),
        |text| text.replace("m=audio ", "m=audio 9"),
        |text| text.replace("c=", "i="),
        |text| text.replace("m=audio", "m=video"),
    ];
    for change in cases {
        let (caller, callee) = (phone("caller", 2), phone("callee", 3).described(change));
        let server = server(&route("200", &callee));
        caller.ask_for(server.sip, "200");
        callee.answer();
        callee.let_go();
        let (refusal, _) = caller.hear("SIP/2.0 4");
        assert!(refusal.starts_with("SIP/2.0 488 "), "{refusal}");
    }
}

#[test]
fn keys_that_cannot_be_read_are_refused_and_never_left_out() {
    let keys = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:short?\r\n";
    let callee = phone("callee", 3).speaking("8", keys);
    let server = server(&format!("[media]\nsrtp = \"offered\"\n{}", route("200", &callee)));
    let caller = phone("caller", 2).speaking("8", keys);
    caller.ask_for(server.sip, "200");
    let (refusal, _) = caller.hear("SIP/2.0 4");
    assert!(refusal.starts_with("SIP/2.0 488 ") && refusal.contains("a=crypto"), "{refusal}");
    let plain = phone("plain", 2);
    plain.ask_for(server.sip, "200");
    callee.answer();
    callee.let_go();
    plain.hear("SIP/2.0 488");
}
