//! The program's access to the audio of calls.

use std::collections::BTreeMap;
use std::time::Duration;

use b2b_test_support::client::hand::{Hand, builder, until};
use b2b_test_support::client::{Kept, connected, named, next_tone, share_of, within};

use b2b_client::{
    AudioError, AudioPipeline, AudioProblem, Call, CallAudio, ClientEvent, Codec, Incoming, Sound, WriteError,
};

#[tokio::test]
async fn each_call_has_a_pipeline_of_its_own_for_what_it_sends_and_hears() {
    let (keep, mut kept) = rtrb::RingBuffer::new(8_000);
    let keep = std::sync::Mutex::new(Some(keep));
    let halve = |frame: &mut [i16], rate_hz: u32| {
        assert_eq!(rate_hz, 8_000);
        frame.iter_mut().for_each(|sample| *sample /= 2);
    };
    let alice = named("alice").rate_hz(8_000).codecs([Codec::Pcmu]);
    let alice = alice.pipeline(move |format| {
        assert_eq!((format.rate_hz, format.ptime_ms), (8_000, 20));
        AudioPipeline::new().sent(halve)
    });
    let alice = alice.build().expect("a client");
    let bob = named("bob").rate_hz(8_000).codecs([Codec::Pcmu]).pipeline(move |_| {
        let keep = keep.lock().expect("one thread").take();
        AudioPipeline::new().received(halve).sink(Kept(keep.expect("one call")))
    });
    let bob = bob.build().expect("a client");
    bob.start().await.expect("a client");
    let (at_alice, _at_bob) = connected(&alice, &bob).await;
    at_alice.play(Sound::tone(500.0, 60_000)).await.expect("playing");
    let tone = next_tone(&mut kept, 500.0, 8_000).await;
    // Half of full scale, halved twice.
    let peak = tone.iter().map(|sample| sample.unsigned_abs()).max().expect("samples");
    assert!((3_900..4_300).contains(&peak), "{peak}");
    within("hung up", at_alice.hangup()).await.expect("hung up");
}

fn tone(hz: f64, rate_hz: u32, samples: usize) -> Vec<i16> {
    let step = hz * std::f64::consts::TAU / f64::from(rate_hz);
    (0..samples).map(|n| ((n as f64 * step).sin() * 10_000.0) as i16).collect()
}

/// Waits for half a second that contains this tone.
async fn hears(what: &str, incoming: &mut Incoming, hz: f64) {
    let (rate_hz, mut heard) = (incoming.rate_hz(), Vec::new());
    let heard = async {
        while let Some(frame) = incoming.next().await {
            assert_eq!((frame.len(), frame.rate_hz()), (rate_hz as usize / 50, rate_hz));
            heard.extend_from_slice(&frame);
            if heard.len() == rate_hz as usize / 2 {
                if share_of(&heard, hz, rate_hz) > 0.95 {
                    return;
                }
                heard.clear();
            }
        }
        panic!("{what}: the call is over");
    };
    within(what, heard).await;
}

#[tokio::test]
async fn frames_go_both_ways_at_rates_that_each_side_chooses() {
    for (codec, alices, bobs) in [(Codec::Opus, 16_000, 48_000), (Codec::Pcmu, 24_000, 8_000)] {
        let (alice, bob) = (named("alice").codecs([codec]), named("bob").codecs([codec]));
        let (alice, bob) = (alice.build().expect("a client"), bob.build().expect("a client"));
        bob.start().await.expect("a client");
        let (at_alice, at_bob) = connected(&alice, &bob).await;
        assert!(matches!(at_alice.audio_at(44_100), Err(AudioError::Rate(44_100))));
        let mut ours = at_alice.audio_at(alices).expect("sound");
        let mut theirs = at_bob.audio_at(bobs).expect("sound");
        let (to_bob, to_alice) = (ours.outgoing.clone(), theirs.outgoing.clone());
        tokio::spawn(async move { to_bob.write(&tone(440.0, alices, alices as usize * 60)).await });
        tokio::spawn(async move { to_alice.write(&tone(700.0, bobs, bobs as usize * 60)).await });
        hears("bob hears alice", &mut theirs.incoming, 440.0).await;
        hears("alice hears bob", &mut ours.incoming, 700.0).await;
        within("hung up", at_alice.hangup()).await.expect("hung up");
        for CallAudio { mut incoming, outgoing, .. } in [ours, theirs] {
            while within("the end", incoming.next()).await.is_some() {}
            assert_eq!(outgoing.write(&[0; 160]).await, Err(WriteError::Over));
        }
        // The audio ends slightly before the call does.
        within("the end", at_bob.wait_for_end()).await;
        assert!(matches!(at_bob.audio(), Err(AudioError::Ended(_))));
    }
}

/// A call to a hand-written peer, which sees each packet.
async fn called(hand: &mut Hand) -> (b2b_client::SipClient, Call) {
    let alice = builder("alice").build().expect("a client");
    let call = alice.call(hand.uri()).await.expect("a call");
    hand.take_call();
    within("answered", call.wait_for_answer()).await.expect("answered");
    (alice, call)
}

/// Discards everything received so far.
fn drain(hand: &Hand) {
    hand.rtp.set_nonblocking(true).expect("a socket");
    while hand.rtp.recv(&mut [0; 2_048]).is_ok() {}
    hand.rtp.set_nonblocking(false).expect("a socket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_one_packet_of_old_sound_leaves_after_a_flush() {
    let mut hand = Hand::new();
    let (_alice, call) = called(&mut hand).await;
    let CallAudio { outgoing, .. } = call.audio().expect("sound");
    let mut after = BTreeMap::new();
    for round in 0..20 {
        let writer = tokio::spawn({
            let outgoing = outgoing.clone();
            async move { outgoing.write(&[16_000; 8_000 * 60]).await }
        });
        hand.hears("the old sound", |peak| peak > 14_000);
        outgoing.flush();
        // All packets sent so far have arrived, since this is loopback.
        drain(&hand);
        assert_eq!(within("flushed", writer).await.expect("no panic"), Err(WriteError::Flushed));
        assert_eq!(outgoing.waiting(), 0);
        outgoing.write(&[2_000; 800]).await.expect("a call");
        let mut old = 0;
        hand.hears("the new sound", |peak| {
            old += u32::from(peak > 14_000);
            (1_000..3_000).contains(&peak)
        });
        assert!(old <= 1, "round {round}: {old} packets");
        *after.entry(old).or_insert(0) += 1;
    }
    println!("packets of old sound after a flush: {after:?}");
}

#[tokio::test]
async fn marks_come_back_when_what_is_before_them_is_sent_or_flushed() {
    let mut hand = Hand::new();
    let (_alice, call) = called(&mut hand).await;
    let (mut events, id) = (call.events(), call.id());
    let CallAudio { outgoing, .. } = call.audio().expect("sound");
    outgoing.try_write(&[16_000; 1_600]).expect("a call");
    let spoken = outgoing.mark();
    let before =
        until(&mut events, "the mark", |event| *event == ClientEvent::MarkPlayed { call: id, mark: spoken });
    before.await;
    let (mut loud, mut packets) = (0, 0);
    while loud < 10 {
        loud += u32::from(hand.loudness() > 14_000);
        packets += 1;
        assert!(packets < 1_000, "{loud} packets of sound");
    }
    outgoing.try_write(&[16_000; 8_000]).expect("a call");
    let unspoken = outgoing.mark();
    outgoing.flush();
    let after = outgoing.mark();
    let told = until(&mut events, "the last mark", |event| {
        *event == ClientEvent::MarkPlayed { call: id, mark: after }
    });
    let told = told.await;
    assert!(told.contains(&ClientEvent::MarkFlushed { call: id, mark: unspoken }), "{told:?}");
}

#[tokio::test]
async fn who_asks_for_sound_again_takes_it_over() {
    let mut hand = Hand::new();
    let (_alice, call) = called(&mut hand).await;
    let mut first = call.audio().expect("sound");
    within("a frame", first.incoming.next()).await.expect("a frame");
    let mut second = call.audio().expect("sound");
    while within("the end", first.incoming.next()).await.is_some() {}
    assert_eq!(first.outgoing.write(&[1; 160]).await, Err(WriteError::Over));
    within("a frame", second.incoming.next()).await.expect("a frame");
    second.outgoing.write(&[16_000; 1_600]).await.expect("a call");
    hand.hears("the second one", |peak| peak > 14_000);
}

#[tokio::test]
async fn a_reader_that_sleeps_loses_frames_and_knows_how_many() {
    let mut hand = Hand::new();
    let (_alice, call) = called(&mut hand).await;
    let CallAudio { mut incoming, .. } = call.audio().expect("sound");
    let lost = async {
        while incoming.overruns() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("overruns", lost).await;
    let mut last = within("a frame", incoming.next()).await.expect("a frame").number();
    for _ in 0..49 {
        let next = within("a frame", incoming.next()).await.expect("a frame").number();
        assert_eq!(next, last + 1);
        last = next;
    }
    let next = within("a frame", incoming.next()).await.expect("a frame").number();
    assert!(next - last > 3, "{last} and then {next}");
    assert!(incoming.overruns() >= 3);
}

#[tokio::test]
async fn a_file_repeats_through_processors_on_a_thread_of_their_own() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/audio/tone.mp3");
    let (seen, threads) = std::sync::mpsc::channel();
    let alice = named("alice").pipeline(move |_| {
        let seen = seen.clone();
        let double = move |frame: &mut [i16], _: u32| {
            frame.iter_mut().for_each(|sample| *sample *= 2);
            let _ = seen.send(std::thread::current().name().map(str::to_owned));
        };
        AudioPipeline::new().sent(double).apart()
    });
    let (alice, bob) = (alice.build().expect("a client"), named("bob").build().expect("a client"));
    bob.start().await.expect("a client");
    let (at_alice, at_bob) = connected(&alice, &bob).await;
    let mut audio = at_bob.audio().expect("sound");
    at_alice.play(Sound::file("/nowhere.wav")).await.expect_err("no such file");
    let playing = at_alice.play(Sound::file(path).repeat()).await.expect("playing");
    // The file holds half a second.
    for _ in 0..4 {
        hears("the file", &mut audio.incoming, 440.0).await;
    }
    // A quarter of full scale, doubled.
    let frame = within("a frame", audio.incoming.next()).await.expect("a frame");
    let peak = frame.iter().map(|sample| sample.unsigned_abs()).max().expect("samples");
    assert!((13_000..20_000).contains(&peak), "{peak}");
    playing.stop();
    let played = at_alice.play(Sound::file(path)).await.expect("playing");
    assert_eq!(within("the file's end", played.finished()).await, b2b_client::PlayEnd::Finished);
    assert!(threads.try_iter().all(|name| name.as_deref() == Some("pipeline")));
}

#[tokio::test]
async fn processors_that_are_too_slow_are_an_event_of_the_call() {
    let alice = named("alice").pipeline(|_| {
        let slow = |_: &mut [i16], _: u32| std::thread::sleep(Duration::from_millis(60));
        AudioPipeline::new().sent(slow).apart()
    });
    let (alice, bob) = (alice.build().expect("a client"), named("bob").build().expect("a client"));
    bob.start().await.expect("a client");
    let mut events = alice.events().await.expect("a client");
    let (at_alice, _at_bob) = connected(&alice, &bob).await;
    let late = async {
        loop {
            let event = events.next().await.expect("running");
            if let ClientEvent::Audio { call, problem: AudioProblem::Late(packets) } = event {
                return (call, packets);
            }
        }
    };
    let (call, packets) = within("the event", late).await;
    assert!(call == at_alice.id() && packets > 0, "{packets}");
}
