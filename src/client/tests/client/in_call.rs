//! Operations on calls: digits, early media, volume, hold, codecs. On the wire, against a hand-written peer
//! where messages matter.

use std::time::{Duration, Instant};

use b2b_base::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_client::{Audio, CallError, CallState, ClientEvent, Codec, DtmfMode, EndCause, SipClient, Sound};
use b2b_test_support::client::hand::{Hand, builder, client, connected_to, field, started, until};
use b2b_test_support::client::{PATIENCE, within};

/// Longer than any test.
const FOREVER: u32 = 3_600_000;

#[tokio::test]
async fn digits_come_by_events_by_info_and_in_band() {
    for (mode, detect) in [(DtmfMode::Rfc4733, false), (DtmfMode::Info, false), (DtmfMode::InBand, true)] {
        let alice = builder("alice").dtmf(mode).build().expect("a client");
        let (bob, mut incoming) = started(builder("bob").dtmf_in_band_detection(detect)).await;
        let (at_alice, at_bob) = connected_to(&alice, &bob, &mut incoming).await;
        let mut events = at_bob.events();
        at_alice.send_digits("15#a", None).await.expect("sent");
        let mut heard = String::new();
        let mut last = Instant::now();
        let all = async {
            while !heard.ends_with("15#A") {
                let next = tokio::time::timeout(Duration::from_secs(1), events.next()).await;
                if let Ok(Some(ClientEvent::Digit { digit, .. })) = next {
                    heard.push(digit);
                    last = Instant::now();
                }
                // A machine that stalled has interrupted a tone: send it again. Nothing else gets lost.
                if mode == DtmfMode::InBand && last.elapsed() > Duration::from_secs(5) {
                    at_alice.send_digits("15#a", None).await.expect("sent");
                    last = Instant::now();
                }
            }
        };
        within("digits", all).await;
        assert!(heard == "15#A" || mode == DtmfMode::InBand, "{mode:?}: {heard}");
        for wrong in ["", "12x", &"1".repeat(65)] {
            let refused = at_alice.send_digits(wrong, DtmfMode::Info).await;
            assert!(matches!(refused, Err(CallError::Digits(_))), "{wrong}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn digits_by_info_go_one_by_one_as_long_as_is_wanted_and_a_refused_one_is_told() {
    let (alice, _) = started(builder("alice").digit_ms(250)).await;
    let mut hand = Hand::new();
    let call = alice.call(hand.uri()).await.expect("a call");
    assert!(matches!(call.send_digits("1", DtmfMode::Info).await, Err(CallError::NotAnswered)));
    let invite = hand.take_call();
    within("answered", call.wait_for_answer()).await.expect("answered");
    let mut events = call.events();
    call.send_digits("4*", DtmfMode::Info).await.expect("queued");
    let first = hand.expect("INFO");
    assert_eq!(first.field("Content-Type"), "application/dtmf-relay");
    assert_eq!(first.body(), "Signal=4\r\nDuration=250\r\n");
    // The second one waits for the answer to the first one: a later request overtakes it.
    let (at, options) = (alice.local().expect("started"), hand.in_dialog("OPTIONS", "9", &invite, ""));
    hand.send(at, &options);
    let next = hand.next_message().expect("an answer");
    assert_eq!(next.field("CSeq"), "9 OPTIONS", "{}", next.text);
    hand.answer(&first, "415 Unsupported Media Type", "", "");
    let second = hand.expect("INFO");
    assert!(second.body().starts_with("Signal=*\r\n"), "{}", second.body());
    hand.answer(&second, "200 OK", "", "");
    let id = call.id();
    let told = ClientEvent::DigitRefused { call: id, digit: '4', status: 415 };
    until(&mut events, "the refusal", |event| *event == told).await;
}

#[tokio::test]
async fn a_caller_hears_early_media_before_the_answer() {
    let (alice, _) = client("alice").await;
    let (bob, mut incoming) = started(builder("bob").ring_at_once(false)).await;
    let mut events = alice.events().await.expect("events");
    let at_alice = alice.call(bob.uri().expect("started")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("it rings");
    ringing.ring().await.expect("rings");
    let progress = |wanted: u16| move |event: &ClientEvent| matches!(event, ClientEvent::Progress { status, .. } if *status == wanted);
    let before = until(&mut events, "180", progress(180)).await;
    assert!(!before.iter().any(progress(183)), "{before:?}");
    ringing.early(Sound::tone(440.0, FOREVER)).await.expect("early media");
    until(&mut events, "183", progress(183)).await;
    let id = at_alice.id();
    until(&mut events, "bob's sound", |event| *event == ClientEvent::MediaStarted { call: id }).await;
    assert_eq!(at_alice.state(), CallState::Ringing);
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", at_alice.wait_for_answer()).await.expect("answered");
    within("hung up", at_alice.hangup()).await.expect("hung up");
    assert_eq!(within("the end", at_bob.wait_for_end()).await, EndCause::RemoteHangup);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_media_is_reliable_for_who_requires_it_and_the_answer_waits_for_prack() {
    let (bob, mut incoming) = started(builder("bob").ring_at_once(false)).await;
    let mut hand = Hand::new();
    let uri = bob.uri().expect("started");
    let at = bob.local().expect("started");
    hand.send(at, &hand.request("INVITE", &uri, "early", "Require: 100rel\r\n", &hand.sdp("sendrecv")));
    let ringing = within("a call", incoming.next()).await.expect("it rings");
    ringing.early(Sound::tone(440.0, FOREVER)).await.expect("early media");
    let progress = hand.expect("SIP/2.0 183");
    assert_eq!(progress.field("Require"), "100rel");
    assert!(progress.body().contains("m=audio "), "{}", progress.text);
    hand.hears("the tone before the answer", |peak| peak > 10_000);
    let answering = tokio::spawn(ringing.answer());
    let rack = format!("RAck: {} 1 INVITE\r\n", progress.field("RSeq"));
    hand.send(at, &hand.in_dialog("PRACK", "2", &progress, &rack));
    let mut order = Vec::new();
    let ok = loop {
        let came = hand.next_message().expect("answers");
        let cseq = field(&came.text, "CSeq").to_owned();
        order.push(format!("{} {cseq}", &came.text[8..11]));
        if cseq == "1 INVITE" && came.text.starts_with("SIP/2.0 200") {
            break came;
        }
    };
    assert!(order.contains(&"200 2 PRACK".to_owned()), "{order:?}");
    assert_eq!(ok.body(), "", "the description was acknowledged already");
    hand.send(at, &hand.in_dialog("ACK", "1", &ok, ""));
    let call = within("acknowledged", answering).await.expect("no panic").expect("answered");
    hand.hears("the tone after the answer", |peak| peak > 10_000);
    assert_eq!(call.state(), CallState::Answered);
}

#[tokio::test]
async fn who_has_offered_nothing_gets_no_early_media() {
    let (bob, mut incoming) = client("bob").await;
    let hand = Hand::new();
    let uri = bob.uri().expect("started");
    hand.send(bob.local().expect("started"), &hand.request("INVITE", &uri, "bare", "", ""));
    let ringing = within("a call", incoming.next()).await.expect("it rings");
    let early = ringing.early(Sound::silence(FOREVER)).await;
    assert!(matches!(early, Err(CallError::NoEarlyMedia)), "{early:?}");
}

#[tokio::test]
async fn what_the_far_end_sends_with_183_is_heard_and_we_are_silent_until_the_answer() {
    let (alice, _) = client("alice").await;
    let mut hand = Hand::new();
    let mut events = alice.events().await.expect("events");
    let call = alice.call(hand.uri()).await.expect("a call");
    call.play(Sound::tone(440.0, FOREVER)).await.expect("playing");
    let invite = hand.expect("INVITE");
    hand.answer(&invite, "183 Session Progress", "", &hand.sdp("sendrecv"));
    hand.speaks(invite.rtp(), 10);
    let id = call.id();
    let seen = until(&mut events, "sound", |event| *event == ClientEvent::MediaStarted { call: id }).await;
    let answered = ClientEvent::State { call: id, state: CallState::Answered };
    assert!(!seen.contains(&answered), "{seen:?}");
    for _ in 0..5 {
        assert!(hand.loudness() < 100, "nobody listens yet");
    }
    hand.answer(&invite, "200 OK", "", &hand.sdp("sendrecv"));
    hand.expect("ACK");
    hand.hears("the tone, from its beginning", |peak| peak > 10_000);
}

#[tokio::test]
async fn a_muted_call_sends_silence_and_volume_is_a_factor() {
    let (alice, _) = client("alice").await;
    let mut hand = Hand::new();
    let call = alice.call(hand.uri()).await.expect("a call");
    hand.take_call();
    within("answered", call.wait_for_answer()).await.expect("answered");
    call.play(Sound::tone(440.0, FOREVER)).await.expect("playing");
    hand.hears("the tone", |peak| peak > 15_000);
    call.mute(true).await.expect("muted");
    hand.hears("silence", |peak| peak < 100);
    assert!((0..5).all(|_| hand.loudness() < 100), "it stays silent");
    call.mute(false).await.expect("not muted");
    hand.hears("the tone again", |peak| peak > 15_000);
    call.set_volume_out(0.25).await.expect("quieter");
    hand.hears("a quarter of it", |peak| (3_000..5_000).contains(&peak));
    assert!((0..5).all(|_| hand.loudness() < 5_000), "it stays quiet");
    for wrong in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(call.set_volume_in(wrong).await.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn what_is_heard_is_multiplied_too() {
    let (alice, _) = client("alice").await;
    let (bob, mut incoming) = client("bob").await;
    let (at_alice, at_bob) = connected_to(&alice, &bob, &mut incoming).await;
    at_bob.play(Sound::tone(440.0, FOREVER)).await.expect("playing");
    let mut heard = at_alice.audio().expect("audio").incoming;
    for (factor, peaks) in [(1.0, 15_000..18_000), (0.25, 3_500..4_500), (0.0, 0..1)] {
        at_alice.set_volume_in(factor).await.expect("set");
        within("this volume", async {
            let mut in_a_row = 0;
            while in_a_row < 5 {
                let frame = heard.next().await.expect("the call is up");
                let peak = frame.samples().iter().map(|sample| sample.saturating_abs()).max();
                in_a_row = if peak.is_some_and(|peak| peaks.contains(&peak)) { in_a_row + 1 } else { 0 };
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_held_hears_the_music_until_it_is_taken_back() {
    let (alice, _) = client("alice").await;
    let mut hand = Hand::new();
    let call = alice.call(hand.uri()).await.expect("a call");
    hand.take_call();
    within("answered", call.wait_for_answer()).await.expect("answered");
    let holding = tokio::spawn({
        let call = call.clone();
        async move { call.hold_with(Sound::tone(500.0, FOREVER)).await }
    });
    let invite = hand.expect("INVITE");
    assert!(invite.body().contains("a=sendonly"), "{}", invite.text);
    hand.answer(&invite, "200 OK", "", &hand.sdp("recvonly"));
    within("held", holding).await.expect("no panic").expect("held");
    hand.hears("music", |peak| peak > 15_000);
    let resuming = tokio::spawn({
        let call = call.clone();
        async move { call.resume().await }
    });
    let invite = hand.expect("INVITE");
    assert!(!invite.body().contains("a=sendonly"), "{}", invite.text);
    hand.answer(&invite, "200 OK", "", &hand.sdp("sendrecv"));
    within("taken back", resuming).await.expect("no panic").expect("taken back");
    hand.hears("the end of the music", |peak| peak < 100);
}

/// A source that speaks all the time.
struct Speaker;

impl FrameSource for Speaker {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        frame
            .samples
            .iter_mut()
            .enumerate()
            .for_each(|(n, it)| *it = if n % 20 < 10 { 8_000 } else { -8_000 });
        Fill::Audio
    }
}

struct Nobody;

impl FrameSink for Nobody {
    fn frame(&mut self, _: &InFrame<'_>) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_held_does_not_hear_the_microphone_even_when_the_sound_on_hold_has_ended() {
    let alice = builder("alice").audio(Audio::custom(|_| (Speaker, Nobody))).build().expect("a client");
    let mut hand = Hand::new();
    let call = alice.call(hand.uri()).await.expect("a call");
    hand.take_call();
    within("answered", call.wait_for_answer()).await.expect("answered");
    hand.hears("the microphone", |peak| peak > 7_000);
    let change = |hold: bool| {
        let call = call.clone();
        tokio::spawn(async move {
            if hold { call.hold_with(Sound::tone(500.0, 200)).await } else { call.resume().await }
        })
    };

    // After a refused hold, the far end hears the microphone again.
    let holding = change(true);
    let invite = hand.expect("INVITE");
    hand.hears("silence before it has agreed", |peak| peak < 100);
    assert!((0..5).all(|_| hand.loudness() < 100), "it stays silent");
    hand.answer(&invite, "488 Not Acceptable Here", "", "");
    let refused = within("refused", holding).await.expect("no panic");
    assert!(matches!(refused, Err(CallError::Refused { status: 488, .. })), "{refused:?}");
    hand.hears("the microphone after the refusal", |peak| peak > 7_000);

    let holding = change(true);
    let invite = hand.expect("INVITE");
    hand.answer(&invite, "200 OK", "", &hand.sdp("recvonly"));
    within("held", holding).await.expect("no panic").expect("held");
    hand.hears("the sound", |peak| peak > 15_000);
    hand.hears("its end", |peak| peak < 100);
    assert!((0..25).all(|_| hand.loudness() < 100), "the microphone does not follow it");
    let resuming = change(false);
    let invite = hand.expect("INVITE");
    hand.answer(&invite, "200 OK", "", &hand.sdp("sendrecv"));
    within("taken back", resuming).await.expect("no panic").expect("taken back");
    hand.hears("the microphone again", |peak| peak > 7_000);
}

#[tokio::test]
async fn codecs_change_in_mid_call_and_both_sides_are_told() {
    let alice = SipClient::builder().identity("sip:alice@127.0.0.1").build().expect("a client");
    let (bob, mut incoming) = started(SipClient::builder().identity("sip:bob@127.0.0.1")).await;
    let (at_alice, at_bob) = connected_to(&alice, &bob, &mut incoming).await;
    assert_eq!(at_alice.agreed().map(|agreed| agreed.codec), Some(Codec::Opus));
    let mut events = at_bob.events();
    within("changed", at_alice.change_codecs(&[Codec::Pcma, Codec::G722])).await.expect("changed");
    assert_eq!(at_alice.agreed().map(|agreed| agreed.codec), Some(Codec::Pcma));
    let told = |event: &ClientEvent| matches!(event, ClientEvent::Agreed { codec: Codec::Pcma, .. });
    until(&mut events, "the far end is told", told).await;
    assert_eq!(at_bob.agreed().map(|agreed| agreed.codec), Some(Codec::Pcma));
    assert!(matches!(at_alice.change_codecs(&[]).await, Err(CallError::NoCodec)));
    within("hung up", at_alice.hangup()).await.expect("hung up");
    assert!(matches!(at_alice.change_codecs(&[Codec::Pcmu]).await, Err(CallError::NotAnswered)));
}

#[tokio::test]
async fn a_second_call_waits_and_one_more_than_there_may_be_is_refused() {
    let (bob, mut incoming) = started(builder("bob").max_calls(2)).await;
    let (alice, _) = client("alice").await;
    let (first, at_bob) = connected_to(&alice, &bob, &mut incoming).await;
    let mut events = bob.events().await.expect("events");
    let second = alice.call(bob.uri().expect("started")).await.expect("a call");
    let waiting = within("the second call", incoming.next()).await.expect("it rings");
    let told = until(&mut events, "it is told", |event| matches!(event, ClientEvent::Incoming { .. })).await;
    assert_eq!(told.last().and_then(ClientEvent::call), Some(waiting.id()));
    let third = alice.call(bob.uri().expect("started")).await.expect("a call");
    let end = within("an end", third.wait_for_end()).await;
    assert!(matches!(end, EndCause::Failed { status: 486, .. }), "{end:?}");
    assert_eq!((at_bob.state(), first.state()), (CallState::Answered, CallState::Answered));
    let second_at_bob = within("acknowledged", waiting.answer()).await.expect("answered");
    within("answered", second.wait_for_answer()).await.expect("answered");
    assert_eq!(second_at_bob.state(), CallState::Answered);
    bob.stop(Duration::min(PATIENCE, Duration::from_secs(5))).await;
}
