//! Detailed inspection of calls by a program: session descriptions, counters, call logs, audio of its own.

use std::f64::consts::TAU;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::Duration;

use b2b_client::{Audio, Codec, EndCause, Fill, FrameSource, OutFrame, Sound};

use b2b_test_support::client::{Kept, PATIENCE, connected, named, next_tone, within};

#[tokio::test]
async fn attributes_of_the_programs_own_stand_in_offer_and_answer_and_are_read_there() {
    let alice = named("alice").codecs([Codec::Pcma]).sdp_attribute("X-desk", Some("17"));
    let alice = alice.sdp_attribute("X-loud", None).build().expect("a client");
    let bob = named("bob").sdp_attribute("X-room", Some("blue")).build().expect("a client");
    let mut incoming = bob.incoming().await.expect("calls");
    let call = alice.call(bob.uri().expect("started")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("a call");
    let offer = ringing.descriptions().await.expect("it rings").remote;
    assert!(offer.contains("\r\na=X-desk:17\r\n") && offer.contains("\r\na=X-loud\r\n"), "{offer}");
    let at_bob = ringing.answer().await.expect("answered");
    call.wait_for_answer().await.expect("answered");
    let at_alice = call.descriptions().await.expect("it is up");
    assert!(at_alice.remote.contains("\r\na=X-room:blue\r\n"), "{}", at_alice.remote);
    assert!(!at_alice.remote.contains("X-desk"), "an answer says its own: {}", at_alice.remote);
    assert_eq!(at_alice.local, offer, "what one sends is what the other reads");
    // On hold the next descriptions contain the attributes, too.
    within("held", call.hold()).await.expect("held");
    let at_bob = at_bob.descriptions().await.expect("it is up");
    assert!(
        at_bob.remote.contains("a=sendonly") && at_bob.remote.contains("a=X-desk:17"),
        "{}",
        at_bob.remote
    );
    within("hung up", call.hangup()).await.expect("hung up");
    assert_eq!(call.descriptions().await, None);
}

#[test]
fn attributes_that_b2b_writes_itself_or_that_break_a_line_are_refused_with_a_remedy() {
    for (name, value) in [
        ("ptime", Some("30")),
        ("RTPMAP", Some("0 X/8000")),
        ("crypto", Some("1 X inline:y")),
        ("sendonly", None),
        ("x y", None),
        ("", None),
        ("X-a", Some("1\r\na=inactive")),
        ("X-a", Some("")),
    ] {
        let error = named("a").sdp_attribute(name, value).build().expect_err("refused");
        assert_eq!(error.mistakes.len(), 1, "{name:?} {value:?}");
        assert!(error.to_string().contains("X-account"), "{error}");
    }
}

#[tokio::test]
async fn raw_counters_go_on_in_the_call_and_stay_after_it() {
    let (alice, bob) = (named("alice").build().expect("a client"), named("bob").build().expect("a client"));
    bob.start().await.expect("a client");
    let (at_alice, at_bob) = connected(&alice, &bob).await;
    at_alice.play(Sound::tone(500.0, 60_000)).await.expect("playing");
    let counted = async {
        loop {
            match at_bob.statistics().await {
                Some(counted) if counted.packets_rx >= 20 => break counted,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let counted = within("packets", counted).await;
    assert!(counted.bytes_rx > 0 && counted.in_call && counted.lost == 0, "{counted:?}");
    within("hung up", at_bob.hangup()).await.expect("hung up");
    let last = at_bob.statistics().await.expect("the last ones stay");
    assert!(last.packets_rx >= counted.packets_rx, "{last:?} after {counted:?}");
    let sent = at_alice.wait_for_end().await;
    assert_eq!(sent, EndCause::RemoteHangup);
}

#[tokio::test]
async fn each_call_has_a_log_of_its_messages_events_and_counters_for_its_owner_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = folder.path().join("calls");
    let alice = named("alice").call_logs(&logs).build().expect("a client");
    let bob = named("bob").build().expect("a client");
    bob.start().await.expect("a client");
    let (first, _first_at_bob) = connected(&alice, &bob).await;
    let (second, _) = connected(&alice, &bob).await;
    // An incoming call has a log, too.
    let mut incoming = alice.incoming().await.expect("calls");
    let third = bob.call(alice.uri().expect("started")).await.expect("a call");
    within("a call", incoming.next()).await.expect("a call").reject(486).await.expect("refused");
    within("refused", third.wait_for_end()).await;
    for call in [&first, &second] {
        within("hung up", call.hangup()).await.expect("hung up");
    }
    alice.stop(PATIENCE).await;
    drop(alice);
    let mut texts: Vec<String> = fs::read_dir(&logs)
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            fs::read_to_string(path).expect("text")
        })
        .collect();
    assert_eq!(texts.len(), 3, "{texts:#?}");
    texts.sort_by_key(|text| text.contains("SIP/2.0 486 "));
    for text in &texts[..2] {
        let order = ["INVITE sip:bob@", "SIP/2.0 200 OK", "ACK sip:bob@", "BYE sip:bob@"];
        let found: Vec<_> = order.iter().map(|wanted| text.find(wanted)).collect();
        assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?} in {text}");
        // The final media counters come from another thread, before or after the BYE.
        assert!(text.rfind("counters") > text.find("ACK sip:bob@"), "{text}");
        assert!(text.contains("event State { call: CallId(") && text.contains("packets_tx"), "{text}");
        let dialogs: Vec<_> = text.lines().filter(|line| line.starts_with("Call-ID:")).collect();
        assert!(dialogs.len() >= 5 && dialogs.iter().all(|it| *it == dialogs[0]), "one call alone: {text}");
    }
    let refused = &texts[2];
    assert!(refused.contains("received udp") && refused.contains("INVITE sip:alice@"), "{refused}");
}

/// A source with an endless tone.
struct Tone(u32);

impl FrameSource for Tone {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        for sample in frame.samples.iter_mut() {
            *sample = (8_000.0 * (f64::from(self.0) * 620.0 / 8_000.0 * TAU).sin()) as i16;
            self.0 += 1;
        }
        Fill::Audio
    }
}

#[tokio::test]
async fn sources_and_sinks_of_the_programs_own_are_the_sound_of_each_call() {
    let (keep, mut kept) = rtrb::RingBuffer::new(8_000);
    let keep = Mutex::new(Some(keep));
    let custom = |name: &str, keep: Mutex<Option<rtrb::Producer<i16>>>| {
        let audio = Audio::custom(move |format| {
            assert_eq!((format.rate_hz, format.ptime_ms), (8_000, 20));
            let keep = keep.lock().expect("one thread").take();
            (Tone(0), Kept(keep.unwrap_or_else(|| rtrb::RingBuffer::new(1).0)))
        });
        named(name).rate_hz(8_000).codecs([Codec::Pcma]).audio(audio).build().expect("a client")
    };
    let (alice, bob) = (custom("alice", Mutex::default()), custom("bob", keep));
    bob.start().await.expect("a client");
    let (at_alice, _at_bob) = connected(&alice, &bob).await;
    next_tone(&mut kept, 620.0, 8_000).await;
    within("hung up", at_alice.hangup()).await.expect("hung up");
}
