//! Media offered, answered and sent to users according to their own keys, whichever side calls.

use super::trunk::{phone, route, trusting};
use super::trunk_codecs::{noisy, ptime, types};
use super::trunk_digits::{hear, sounding, talk};
use crate::server_support::phone::{Phone, rtp_of};
use crate::server_support::{Server, until};

const PASSWORD: &str = "a good secret";

/// The user `ann` with these lines, also reached by the alias 200; 300 goes to the other phone, which is
/// trusted, 400 to an application.
fn with_user(lines: &str, other: &Phone) -> Server {
    let user = format!(
        "[[user]]\nname = \"ann\"\naliases = [\"200\"]\npassword = \"{PASSWORD}\"\n{lines}\n\
         [[route]]\ncalled = \"200\"\nto = \"user/200\"\n[[route]]\ncalled = \"400\"\napp = \"ivr/menu\"\n\
         [[ivr]]\nname = \"menu\"\nnode = [{{ name = \"stay\", kind = \"play_prompt\", prompt = \"tone:440:60000\" }}]\n{}",
        route("300", other)
    );
    trusting("127.0.0.4", &user)
}

#[test]
fn digits_go_to_a_user_as_its_lines_say_whichever_side_calls() {
    let (ann, mut other) = (phone("ann", 2), phone("other", 4));
    other.events = Some(101);
    let server = with_user("dtmf = \"inband\"", &other);
    ann.register(server.sip, PASSWORD);
    let asked = other.ask_for(server.sip, "200");
    let (invite, peer) = ann.hear("INVITE");
    assert!(!invite.contains("telephone-event"), "{invite}");
    ann.answer_to(&invite, peer);
    let (ok, _) = other.hear("SIP/2.0 200");
    let near = other.confirmed(&ok, asked, server.sip);
    let (to, mut n) = (rtp_of(&ok), 1);
    until("sound", || (!talk(&other, to, &mut n, 40, &ann).is_empty()).then_some(()));
    other.press_event(to, n, 101, 5);
    n += 4;
    let samples = hear('5', &other, to, &mut n, &ann);
    assert_eq!(sounding('5', &samples).len(), 1);
    other.hang_up(&near);
    ann.let_go();

    let (mut ann, mut other) = (phone("ann", 2), phone("other", 4));
    (ann.events, other.events) = (Some(101), Some(101));
    let server = with_user("dtmf = \"info\"", &other);
    let asked = ann.ask_as_user(server.sip, "300", PASSWORD);
    let (invite, peer) = other.hear("INVITE");
    assert!(invite.contains("telephone-event"), "{invite}");
    let far = other.answer_to(&invite, peer);
    let (ok, _) = ann.hear("SIP/2.0 200");
    assert!(!ok.contains("telephone-event"), "{ok}");
    ann.confirmed(&ok, asked, server.sip);
    let events = invite.lines().find(|line| line.ends_with(" telephone-event/8000")).expect("events");
    let events =
        events["a=rtpmap:".len()..].split(' ').next().and_then(|it| it.parse().ok()).expect("a number");
    let (to, mut n) = (rtp_of(&invite), 1);
    let (info, peer) = until("an INFO", || {
        other.press_event(to, n, events, 9);
        n += 4;
        ann.next("INFO")
    });
    assert!(info.contains("Signal=9\r\n"), "{info}");
    ann.agree_to(&info, peer);
    other.hang_up(&far);
    ann.let_go();
}

#[test]
fn a_user_is_told_its_codecs_packet_time_opus_and_noise_whichever_side_calls() {
    let (ann, other) = (noisy("ann", 2), phone("other", 4));
    let server = with_user(
        "codecs = [\"opus\", \"pcma\"]\nptime = 40\nopus_fec = false\nopus_kbps = 24\ncomfort_noise = true",
        &other,
    );
    ann.register(server.sip, PASSWORD);
    other.ask_for(server.sip, "200");
    let (invite, peer) = ann.hear("INVITE");
    assert_eq!(ptime(&invite), Some("40"), "{invite}");
    assert!(invite.contains("maxaveragebitrate=24000;useinbandfec=0\r\n"), "{invite}");
    let offered = types(&invite);
    assert!(offered.contains(&8) && offered.contains(&13) && !offered.contains(&0), "{invite}");
    ann.refuse_to("486 Busy Here", &invite, peer);
    other.hear("SIP/2.0 486");

    // The user calls an application, and a phone without such keys.
    let asked = ann.ask_as_user(server.sip, "400", PASSWORD);
    let (ok, _) = ann.hear("SIP/2.0 200");
    assert_eq!((ptime(&ok), types(&ok)), (Some("40"), vec![8, 13]), "{ok}");
    let near = ann.confirmed(&ok, asked, server.sip);
    ann.packets_by_now();
    let heard = ann.listen(3);
    assert!(heard.iter().all(|packet| packet.len() == 12 + 320), "packets of the application");
    ann.hang_up(&near);
    let ann = noisy("ann", 2);
    let asked = ann.ask_as_user(server.sip, "300", PASSWORD);
    let (invite, peer) = other.hear("INVITE");
    assert!(
        ptime(&invite) != Some("40") && !invite.contains("maxaveragebitrate"),
        "they are ann's: {invite}"
    );
    other.answer_to(&invite, peer);
    let (ok, _) = ann.hear("SIP/2.0 200");
    assert_eq!((ptime(&ok), types(&ok)), (Some("40"), vec![8, 13]), "{ok}");
    let near = ann.confirmed(&ok, asked, server.sip);
    ann.hang_up(&near);
    other.let_go();
}

#[test]
fn what_a_user_sends_before_it_answers_is_ringing_where_its_lines_say_so() {
    let (ann, other) = (phone("ann", 2), phone("other", 4));
    let server = with_user("early_media = \"ringing\"", &other);
    ann.register(server.sip, PASSWORD);
    let asked = other.ask_for(server.sip, "200");
    let (invite, peer) = ann.hear("INVITE");
    ann.progress_to(&invite, peer);
    let (ringing, _) = other.hear("SIP/2.0 18");
    assert!(ringing.starts_with("SIP/2.0 180") && !ringing.contains("m=audio"), "{ringing}");
    ann.answer_to(&invite, peer);
    let (ok, _) = other.hear("SIP/2.0 200");
    other.hang_up(&other.confirmed(&ok, asked, server.sip));
    ann.let_go();
}
