//! Hold, resume and other codecs, requested by us.

use super::*;

fn agreed(attribute: &str) -> UsageEvent {
    let body = format!("{OFFER}{attribute}");
    UsageEvent::ReInviteAnswered { response: response("200 OK", &body), ack_wanted: false }
}

fn failed(status: u16) -> UsageEvent {
    UsageEvent::ReInviteFailed { status, reason: String::new(), response: None }
}

#[test]
fn we_hold_and_take_back() {
    let mut leg = answered_inbound();
    leg.hold().expect("up");
    assert_eq!(outputs(&mut leg), ["reinvite sendonly 0"]);
    leg.usage_event(agreed("a=recvonly\r\n"));
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4000 (true, false)", "changed Hold PCMA"]);
    leg.rtp_timeout();
    assert_eq!(outputs(&mut leg), Vec::<String>::new(), "whom we hold may be silent");
    leg.resume().expect("up");
    assert_eq!(outputs(&mut leg), ["reinvite sendrecv 0"]);
    leg.usage_event(agreed(""));
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4000 (true, true)", "changed Resume PCMA"]);
    leg.rtp_timeout();
    assert!(outputs(&mut leg).contains(&"bye".to_owned()), "silence counts again");
}

#[test]
fn who_holds_us_is_held_with_inactive_and_stays_held_through_their_offers() {
    let mut leg = answered_inbound();
    leg.usage_event(UsageEvent::ReInvite { request: invite(&format!("{OFFER}a=sendonly\r\n")) });
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
    outputs(&mut leg);
    leg.hold().expect("up");
    assert_eq!(outputs(&mut leg), ["reinvite inactive 0"]);
    leg.usage_event(agreed("a=inactive\r\n"));
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4000 (false, false)", "changed Hold PCMA"]);
    leg.usage_event(UsageEvent::ReInvite { request: invite(OFFER) });
    let told = outputs(&mut leg);
    assert_eq!(told, ["accept", "media 127.0.0.9:4000 (true, false)", "hold false"], "we still hold them");
}

#[test]
fn who_answers_our_hold_with_inactive_does_not_hold_us() {
    let mut leg = answered_inbound();
    leg.hold().expect("up");
    outputs(&mut leg);
    leg.usage_event(agreed("a=inactive\r\n"));
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4000 (false, false)", "changed Hold PCMA"]);
}

#[test]
fn a_refused_change_is_told_and_the_session_stays_as_it_was() {
    let mut leg = answered_inbound();
    leg.hold().expect("up");
    leg.usage_event(failed(488));
    assert_eq!(outputs(&mut leg), ["reinvite sendonly 0", "refused Hold 488"]);
    leg.reoffer(vec![Codec::Pcma]).expect("up");
    leg.usage_event(failed(488));
    assert_eq!(outputs(&mut leg), ["reinvite sendrecv 8", "refused Codecs 488"]);
    // The peer's offers are answered with the session from before both changes.
    leg.usage_event(UsageEvent::ReInvite { request: invite(&OFFER.replace("8 0 101", "0 101")) });
    assert_eq!(outputs(&mut leg), ["accept", "media 127.0.0.9:4000 (true, true)"]);
}

#[test]
fn changes_go_one_after_the_other() {
    let mut leg = answered_inbound();
    leg.hold().expect("up");
    leg.reoffer(vec![Codec::Pcma]).expect("up");
    leg.resume().expect("up");
    assert_eq!(outputs(&mut leg), ["reinvite sendonly 0"]);
    leg.usage_event(agreed("a=recvonly\r\n"));
    let told = outputs(&mut leg);
    assert_eq!(told.last().map(String::as_str), Some("reinvite sendonly 8"), "{told:?}");
    leg.usage_event(failed(488));
    assert_eq!(outputs(&mut leg), ["refused Codecs 488", "reinvite sendrecv 0"]);
}

#[test]
fn a_change_that_theirs_overtook_is_asked_for_again_when_theirs_is_settled() {
    let mut leg = answered_inbound();
    leg.hold().expect("up");
    outputs(&mut leg);
    leg.usage_event(failed(491));
    assert_eq!(outputs(&mut leg), ["reinvite sendonly 0"]);
    // The endpoint has the peer's offer already and sends none of ours.
    leg.not_asked();
    assert_eq!(outputs(&mut leg), Vec::<String>::new());
    leg.usage_event(UsageEvent::ReInvite { request: invite(OFFER) });
    assert_eq!(outputs(&mut leg), ["accept", "media 127.0.0.9:4000 (true, true)"], "not yet held");
    leg.usage_event(UsageEvent::Acknowledged { request: request("ACK", "", "") });
    assert_eq!(outputs(&mut leg), ["reinvite sendonly 0"]);
}

#[test]
fn a_change_that_cannot_be_sent_is_told() {
    let mut leg = answered_inbound();
    leg.hold().expect("up");
    leg.not_asked();
    assert_eq!(outputs(&mut leg), ["reinvite sendonly 0", "refused Hold 491"]);
}

#[test]
fn only_a_call_that_is_up_can_be_held() {
    let (mut leg, _) = Leg::outbound(local()).expect("codecs");
    assert!(leg.hold().is_err());
    let mut leg = answered_inbound();
    leg.hangup();
    assert!(leg.resume().is_err());
}

#[test]
fn the_session_timer_is_refreshed_with_the_session_as_it_is() {
    let mut leg = answered_inbound();
    leg.hold().expect("up");
    leg.usage_event(agreed("a=recvonly\r\n"));
    outputs(&mut leg);
    leg.usage_event(UsageEvent::RefreshWanted);
    assert_eq!(outputs(&mut leg), ["reinvite sendonly 0"]);
    leg.usage_event(agreed("a=recvonly\r\n"));
    assert_eq!(outputs(&mut leg), ["media 127.0.0.9:4000 (true, false)"], "no news");
}
