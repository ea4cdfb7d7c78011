use super::*;

mod change;
use crate::negotiate;
use crate::negotiate::crypto::{LocalCrypto, SrtpPolicy};
use crate::negotiate::pair::OwnAudio;
use b2b_media::codec::Codec;
use b2b_sip::endpoint::Termination;
use b2b_sip::msg::{Limits, Message, Response};

const OFFER: &str = "v=0\r\no=a 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n\
                     m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

fn local() -> Side {
    let codecs = vec![Codec::Pcmu, Codec::Pcma];
    let own = OwnAudio { codecs, ptime_ms: 20, attributes: Vec::new() };
    Side::new("127.0.0.1:20000".parse().expect("address"), 84).with_own(own)
}

fn message(start: &str, cseq: &str, content_type: &str, body: &str) -> Message {
    let text = format!(
        "{start}\r\nVia: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:b@h>;tag=b\r\n\
         Call-ID: c\r\nCSeq: 1 {cseq}\r\nMax-Forwards: 70\r\nContact: <sip:a@127.0.0.9>\r\n{}Content-Length: {}\r\n\r\n{body}",
        if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") },
        body.len()
    );
    Message::parse(text.into(), &Limits::default()).expect("test message")
}

fn request(method: &str, content_type: &str, body: &str) -> Request {
    match message(&format!("{method} sip:b@h SIP/2.0"), method, content_type, body) {
        Message::Request(request) => request,
        Message::Response(_) => unreachable!("a request was written"),
    }
}

fn response(status: &str, body: &str) -> Response {
    let content_type = if body.is_empty() { "" } else { "application/sdp" };
    match message(&format!("SIP/2.0 {status}"), "INVITE", content_type, body) {
        Message::Response(response) => response,
        Message::Request(_) => unreachable!("a response was written"),
    }
}

fn invite(body: &str) -> Request {
    request("INVITE", if body.is_empty() { "" } else { "application/sdp" }, body)
}

/// Direction and first format of a description.
fn offered(sdp: &[u8]) -> String {
    let text = std::str::from_utf8(sdp).expect("text");
    let direction = ["sendonly", "inactive", "recvonly"].into_iter().find(|word| text.contains(word));
    let audio = text.lines().find_map(|line| line.split_once("RTP/AVP ")).expect("audio").1;
    format!("{} {}", direction.unwrap_or("sendrecv"), audio.split(' ').next().unwrap_or_default())
}

fn codec(params: &MediaParams) -> Codec {
    params.remote.voice.gets.expect("a format").codec
}

/// All pending outputs of a leg, one word each.
fn outputs(leg: &mut Leg) -> Vec<String> {
    let word = |output: LegOutput| match output {
        LegOutput::Provisional { status, sdp } => {
            format!("{status}{}", if sdp.is_some() { " with an answer" } else { "" })
        }
        LegOutput::Accept { .. } => "accept".into(),
        LegOutput::Reject { status, .. } => format!("reject {status}"),
        LegOutput::Ack { .. } => "ack".into(),
        LegOutput::ReInvite { sdp } => format!("reinvite {}", offered(&sdp)),
        LegOutput::Changed { change, params } => format!("changed {change:?} {}", codec(&params)),
        LegOutput::ChangeRefused { change, status, .. } => format!("refused {change:?} {status}"),
        LegOutput::Bye => "bye".into(),
        LegOutput::Cancel => "cancel".into(),
        LegOutput::Respond { reply, .. } => format!("respond {}", reply.status),
        LegOutput::ConfigureMedia(params) => {
            format!("media {} {:?}", params.remote.rtp, (params.remote.receives, params.remote.sends))
        }
        LegOutput::CloseMedia => "close media".into(),
        LegOutput::Progress { status, .. } => format!("progress {status}"),
        LegOutput::Answered(params) => format!("answered {}", codec(&params)),
        LegOutput::Hold { held } => format!("hold {held}"),
        LegOutput::Digit { digit, .. } => format!("digit {digit}"),
        LegOutput::Ended(cause) => format!("ended {cause:?}"),
    };
    std::iter::from_fn(|| leg.poll().map(word)).collect()
}

fn transaction() -> ServerTransactionId {
    ServerTransactionId::of_nobody()
}

/// An inbound leg that is up.
fn answered_inbound() -> Leg {
    let mut leg = Leg::inbound(local(), &invite(OFFER));
    leg.answer(20_000).expect("waits for an answer");
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
    outputs(&mut leg);
    leg
}

#[test]
fn their_call_rings_is_answered_and_hung_up_by_them() {
    let mut leg = Leg::inbound(local(), &invite(OFFER));
    assert_eq!(outputs(&mut leg), ["180"]);
    assert_eq!(leg.state(), LegState::Ringing);
    leg.answer(20_000).expect("waits for an answer");
    assert_eq!(outputs(&mut leg), ["accept", "media 127.0.0.9:4000 (true, true)"]);
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
    assert_eq!(outputs(&mut leg), ["answered PCMA"]);
    leg.usage_event(UsageEvent::Terminated {
        cause: Termination::RemoteBye { request: request("BYE", "", "") },
    });
    assert_eq!(outputs(&mut leg), ["close media", "ended RemoteHangup"]);
    assert_eq!(leg.state(), LegState::Destroyed);
}

#[test]
fn an_offer_that_we_cannot_take_is_refused_before_the_application_sees_it() {
    for (body, status) in [
        (OFFER.replace("RTP/AVP 8 0 101", "RTP/AVP 9"), 488),
        (OFFER.replace("audio", "video"), 488),
        ("v=7\r\n".to_owned(), 400),
    ] {
        let mut leg = Leg::inbound(local(), &invite(&body));
        assert_eq!(outputs(&mut leg), [format!("reject {status}")], "{body}");
        assert!(leg.answer(20_000).is_err());
        leg.usage_event(UsageEvent::Terminated { cause: Termination::Rejected { status } });
        assert_eq!(
            outputs(&mut leg),
            ["close media".into(), format!("ended Rejected {{ status: {status} }}")]
        );
    }
    let mut leg = Leg::inbound(local(), &request("INVITE", "text/plain", "hello"));
    assert_eq!(outputs(&mut leg), ["reject 415"]);
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_the_ack_answers_it() {
    let mut leg = Leg::inbound(local(), &invite(""));
    leg.answer(20_000).expect("waits for an answer");
    assert_eq!(outputs(&mut leg), ["180", "accept"], "nothing is settled yet");
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "application/sdp", OFFER) });
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4000 (true, true)", "answered PCMA"]);
}

#[test]
fn an_ack_without_the_answer_ends_the_call() {
    let mut leg = Leg::inbound(local(), &invite(""));
    leg.answer(20_000).expect("waits for an answer");
    outputs(&mut leg);
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
    let told = outputs(&mut leg);
    assert!(told.contains(&"bye".to_owned()), "{told:?}");
    assert!(told.last().is_some_and(|last| last.starts_with("ended Protocol")), "{told:?}");
}

#[test]
fn our_call_has_early_media_then_an_answer() {
    let (mut leg, offer) = Leg::outbound(local()).expect("codecs");
    assert!(negotiate::parse(&offer).is_ok());
    leg.usage_event(UsageEvent::Provisional { response: response("180 Ringing", ""), prack_wanted: false });
    assert_eq!(leg.state(), LegState::Ringing);
    leg.usage_event(UsageEvent::Provisional {
        response: response("183 Session Progress", OFFER),
        prack_wanted: false,
    });
    assert_eq!(leg.state(), LegState::EarlyMedia);
    assert_eq!(outputs(&mut leg), ["progress 180", "media 127.0.0.9:4000 (true, true)", "progress 183"]);
    let moved = OFFER.replace("4000", "4002");
    leg.usage_event(UsageEvent::Answered { response: response("200 OK", &moved), ack_wanted: false });
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4002 (true, true)", "answered PCMA"]);
}

#[test]
fn our_call_that_fails_tells_status_and_reason() {
    let (mut leg, _) = Leg::outbound(local()).expect("codecs");
    leg.usage_event(UsageEvent::Terminated {
        cause: Termination::Failed { response: response("486 Busy Here", "") },
    });
    assert_eq!(outputs(&mut leg), ["close media", "ended Failed { status: 486, reason: \"Busy Here\" }"]);
    assert_eq!(leg.state(), LegState::Failed);
}

#[test]
fn an_answer_without_common_codec_is_ended_with_bye() {
    let (mut leg, _) = Leg::outbound(local()).expect("codecs");
    let unusable = OFFER.replace("RTP/AVP 8 0 101", "RTP/AVP 9");
    leg.usage_event(UsageEvent::Answered { response: response("200 OK", &unusable), ack_wanted: false });
    let told = outputs(&mut leg);
    assert!(told.contains(&"bye".to_owned()), "{told:?}");
    assert!(told.last().is_some_and(|last| last.starts_with("ended Protocol")), "{told:?}");
}

#[test]
fn hanging_up_is_cancel_refusal_or_bye_by_state() {
    let (mut leg, _) = Leg::outbound(local()).expect("codecs");
    leg.hangup();
    leg.hangup();
    assert_eq!(outputs(&mut leg), ["cancel"], "once");
    leg.usage_event(UsageEvent::Terminated { cause: Termination::LocalCancel });
    assert_eq!(outputs(&mut leg), ["close media", "ended Cancelled"]);

    let mut leg = Leg::inbound(local(), &invite(OFFER));
    leg.hangup();
    assert_eq!(outputs(&mut leg), ["180", "reject 480"]);

    let mut leg = answered_inbound();
    leg.hangup();
    assert_eq!(outputs(&mut leg), ["close media", "bye"]);
    leg.usage_event(UsageEvent::Terminated { cause: Termination::ByeUnanswered });
    assert_eq!(outputs(&mut leg), ["close media", "ended ByeUnanswered"]);
}

#[test]
fn a_200_that_crosses_our_cancel_is_ended_with_bye() {
    let (mut leg, _) = Leg::outbound(local()).expect("codecs");
    leg.hangup();
    leg.usage_event(UsageEvent::Answered { response: response("200 OK", OFFER), ack_wanted: false });
    assert_eq!(outputs(&mut leg), ["cancel", "bye"], "and the application hears of no answer");
}

#[test]
fn hold_and_resume_by_reinvite_change_the_media_and_are_told() {
    let mut leg = answered_inbound();
    let held = format!("{OFFER}a=sendonly\r\n");
    leg.usage_event(UsageEvent::ReInvite { request: invite(&held) });
    assert_eq!(outputs(&mut leg), ["accept", "media 127.0.0.9:4000 (false, true)", "hold true"]);
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
    assert_eq!(outputs(&mut leg), Vec::<String>::new(), "answered is told once");
    leg.usage_event(UsageEvent::ReInvite { request: invite(OFFER) });
    assert_eq!(outputs(&mut leg), ["accept", "media 127.0.0.9:4000 (true, true)", "hold false"]);
}

#[test]
fn the_old_hold_keeps_the_address_that_rtcp_goes_to() {
    let mut leg = answered_inbound();
    let held = OFFER.replace("c=IN IP4 127.0.0.9", "c=IN IP4 0.0.0.0");
    leg.usage_event(UsageEvent::ReInvite { request: invite(&held) });
    assert_eq!(outputs(&mut leg), ["accept", "media 127.0.0.9:4000 (false, true)", "hold true"]);
}

#[test]
fn a_reinvite_that_cannot_be_met_leaves_the_session_as_it_was() {
    let mut leg = answered_inbound();
    let unusable = OFFER.replace("RTP/AVP 8 0 101", "RTP/AVP 9");
    leg.usage_event(UsageEvent::ReInvite { request: invite(&unusable) });
    assert_eq!(outputs(&mut leg), ["reject 488"]);
    assert_eq!(leg.state(), LegState::Answered);
    leg.usage_event(UsageEvent::ReInvite { request: invite("") });
    assert_eq!(outputs(&mut leg), ["accept"], "our offer");
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "application/sdp", OFFER) });
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4000 (true, true)"]);
}

#[test]
fn descriptions_of_a_leg_are_of_one_session_and_have_the_next_version_when_they_change() {
    let mut leg = Leg::inbound(local(), &invite(OFFER));
    leg.answer(20_000).expect("waits for an answer");
    leg.usage_event(UsageEvent::ReInvite { request: invite(OFFER) });
    leg.usage_event(UsageEvent::ReInvite { request: invite("") });
    let origins: Vec<(String, u64)> = std::iter::from_fn(|| leg.poll())
        .filter_map(|output| match output {
            LegOutput::Accept { sdp } => negotiate::parse(&sdp).ok(),
            _ => None,
        })
        .map(|description| (description.origin().0.to_owned(), description.origin().1))
        .collect();
    assert_eq!(origins, [("42".to_owned(), 1), ("42".to_owned(), 1), ("42".to_owned(), 2)]);
}

#[test]
fn update_is_answered_like_a_reinvite_and_waits_for_an_open_offer() {
    let mut leg = Leg::inbound(local(), &invite(OFFER));
    outputs(&mut leg);
    let update = || UsageEvent::Update {
        transaction: transaction(),
        request: request("UPDATE", "application/sdp", &format!("{OFFER}a=inactive\r\n")),
    };
    leg.usage_event(update());
    assert_eq!(outputs(&mut leg), ["respond 500"]);
    let mut leg = answered_inbound();
    leg.usage_event(update());
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4000 (false, false)", "hold true", "respond 200"]);
}

#[test]
fn after_our_hang_up_nothing_is_negotiated() {
    let mut leg = answered_inbound();
    leg.hangup();
    outputs(&mut leg);
    let held = format!("{OFFER}a=sendonly\r\n");
    leg.usage_event(UsageEvent::Update {
        transaction: transaction(),
        request: request("UPDATE", "application/sdp", &held),
    });
    assert_eq!(outputs(&mut leg), ["respond 481"], "no media, no news of a hold");
    leg.usage_event(UsageEvent::ReInvite { request: invite(&held) });
    assert_eq!(outputs(&mut leg), ["reject 481"]);
}

#[test]
fn a_reinvite_may_change_codec_port_and_address() {
    let mut leg = answered_inbound();
    let moved = OFFER
        .replace("4000 RTP/AVP 8 0", "4010 RTP/AVP 0")
        .replace("c=IN IP4 127.0.0.9", "c=IN IP4 127.0.0.7");
    leg.usage_event(UsageEvent::ReInvite { request: invite(&moved) });
    let params = std::iter::from_fn(|| leg.poll()).find_map(|output| match output {
        LegOutput::ConfigureMedia(params) => Some(params),
        _ => None,
    });
    let params = params.expect("settled");
    assert_eq!(params.remote.rtp, "127.0.0.7:4010".parse().expect("address"));
    assert_eq!(codec(&params), Codec::Pcmu);
    assert_eq!(leg.state(), LegState::Answered);
}

#[test]
fn digits_by_info_are_told_and_other_requests_refused() {
    let mut leg = answered_inbound();
    let mut ask = |request: Request| {
        leg.usage_event(UsageEvent::Request { transaction: transaction(), request });
        outputs(&mut leg)
    };
    assert_eq!(
        ask(request("INFO", "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n")),
        ["digit 5", "respond 200"]
    );
    assert_eq!(ask(request("INFO", "", "")), ["respond 200"]);
    assert_eq!(ask(request("INFO", "text/plain", "5")), ["respond 415"]);
    assert_eq!(ask(request("MESSAGE", "text/plain", "hello")), ["respond 405"]);
}

#[test]
fn silence_ends_the_call_at_once_but_not_while_we_are_held() {
    let mut leg = answered_inbound();
    leg.usage_event(UsageEvent::ReInvite { request: invite(&format!("{OFFER}a=sendonly\r\n")) });
    outputs(&mut leg);
    leg.rtp_timeout();
    assert_eq!(outputs(&mut leg), Vec::<String>::new());

    let mut leg = answered_inbound();
    leg.rtp_timeout();
    assert_eq!(outputs(&mut leg), ["close media", "bye", "close media", "ended MediaTimeout"]);
    leg.usage_event(UsageEvent::Terminated { cause: Termination::ByeUnanswered });
    assert_eq!(outputs(&mut leg), Vec::<String>::new(), "the end is told once");
}

#[test]
fn after_the_end_requests_are_refused_and_nothing_else_happens() {
    let mut leg = answered_inbound();
    leg.usage_event(UsageEvent::Terminated { cause: Termination::LocalBye });
    outputs(&mut leg);
    for _ in 0..50 {
        leg.usage_event(UsageEvent::Answered { response: response("200 OK", OFFER), ack_wanted: false });
        leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
        leg.usage_event(UsageEvent::Terminated { cause: Termination::LocalBye });
        leg.rtp_timeout();
        leg.hangup();
    }
    assert_eq!(outputs(&mut leg), Vec::<String>::new());
    leg.usage_event(UsageEvent::ReInvite { request: invite(OFFER) });
    leg.usage_event(UsageEvent::Request { transaction: transaction(), request: request("INFO", "", "") });
    assert_eq!(outputs(&mut leg), ["reject 481", "respond 481"]);
    assert!(leg.late_events() > 100);
}

#[test]
fn a_leg_that_must_be_encrypted_refuses_plain_calls_and_ends_plain_answers() {
    let required = |seed| local().with_crypto(LocalCrypto::new(SrtpPolicy::Required, [seed; 32]));
    assert_eq!(outputs(&mut Leg::inbound(required(1), &invite(OFFER))), ["reject 488"]);
    let (mut leg, offer) = Leg::outbound(required(1)).expect("codecs");
    assert!(offer.windows(8).any(|octets| octets == b"RTP/SAVP"));
    leg.usage_event(UsageEvent::Answered { response: response("200 OK", OFFER), ack_wanted: false });
    let outputs = outputs(&mut leg);
    assert!(outputs.iter().any(|output| output == "bye"), "{outputs:?}");
    assert!(!outputs.iter().any(|output| output.starts_with("media")), "{outputs:?}");
}

#[test]
fn a_reinvite_that_changes_nothing_is_answered_with_the_same_key() {
    let ours = local().with_crypto(LocalCrypto::new(SrtpPolicy::Offered, [7; 32]));
    let key = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur";
    let offer = |suite: &str| format!("{OFFER}a=crypto:9 {suite} inline:{key}\r\n");
    let mut leg = Leg::inbound(ours, &invite(&offer("AES_CM_128_HMAC_SHA1_80")));
    leg.answer(20_000).expect("waits for an answer");
    let said = |leg: &mut Leg| {
        let sdp = std::iter::from_fn(|| leg.poll()).find_map(|output| match output {
            LegOutput::Accept { sdp } => Some(String::from_utf8(sdp.to_vec()).unwrap()),
            _ => None,
        });
        let sdp = sdp.expect("an answer");
        let line = sdp.lines().find(|line| line.starts_with("a=crypto:9 ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no key: {sdp}"))
    };
    let first = said(&mut leg);
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
    let mut again = |suite: &str| {
        leg.usage_event(UsageEvent::ReInvite { request: invite(&offer(suite)) });
        let said = said(&mut leg);
        leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
        said
    };
    assert_eq!(again("AES_CM_128_HMAC_SHA1_80"), first);
    let other = again("AES_CM_128_HMAC_SHA1_32");
    assert!(!other.ends_with(&first[first.len() - 20..]));
    assert_ne!(again("AES_CM_128_HMAC_SHA1_80"), first, "a key that was used does not come back");
}

/// RFC 3264 §8.3.2; PBXs that lead media past themselves change the number so.
#[test]
fn a_number_that_was_an_event_in_a_session_stays_one() {
    let mut leg = answered_inbound();
    let other = OFFER.replace("8 0 101\r\na=rtpmap:101", "8 0 113\r\na=rtpmap:113");
    leg.usage_event(UsageEvent::ReInvite { request: invite(&other) });
    let params = std::iter::from_fn(|| leg.poll()).find_map(|output| match output {
        LegOutput::ConfigureMedia(params) => Some(params),
        _ => None,
    });
    let numbers: Vec<u8> = params.unwrap().remote.telephone_events.iter().map(|event| event.0).collect();
    assert_eq!(numbers, [113, 101]);
}
