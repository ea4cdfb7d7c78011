//! Source and sink as programs, on every engine of this build, against a raw socket that speaks SIP and RTP
//! to them: their behaviour on the wire. The engines behind `ua` are selected by `--engine` alone; libbaresip
//! requires its own main thread, so they are driven through the program.

use std::net::UdpSocket;
use std::time::Duration;

use super::scene::{Scene, Stream, accepted, calling, rtp_address, sent_by};
use crate::common::audio::{speech_like, write_wav};
use crate::common::child::role;
use b2b::ua::Engine;
use b2b_test_support::peer::{OFFER, Peer, header, reply, wait_until};
use nix::sys::signal::Signal;

on_every_engine! {
    no_rtp_ends_the_call_with_bye_and_65,
    requests_outside_a_call_are_answered_and_are_no_business_of_the_role,
    an_offer_without_a_common_codec_gets_488_and_the_next_call_is_served,
    the_answer_names_real_addresses_and_the_callers_first_codec,
    hold_and_resume_are_told_and_the_call_goes_on,
    digits_by_info_are_told,
    digits_by_rtp_are_told_once_each,
    an_invite_without_an_offer_is_answered_with_one,
    what_arrives_and_what_is_lost_is_counted,
    rubbish_on_the_sip_port_harms_nothing,
    a_storm_of_repeated_200s_harms_nothing,
    an_unanswered_bye_is_given_up_with_65,
    calls_leave_no_descriptor_and_no_thread_behind,
    #[ignore = "takes a minute"]
    two_hundred_calls_leave_no_memory_behind,
    #[ignore = "takes half a minute"]
    a_call_to_where_nobody_listens_fails_with_65,
}

fn no_rtp_ends_the_call_with_bye_and_65(engine: Engine) {
    let mut scene = Scene::new(engine, &["--rtp-timeout-s", "1"]);
    scene.call("silent", OFFER);
    let bye = scene.peer.expect("BYE ");
    scene.send(&reply(&bye, "200 OK"));
    scene.sink.assert_exit(65);
    assert!(scene.sink.output().contains("--rtp-timeout-s"), "{}", scene.sink.output());
}

fn requests_outside_a_call_are_answered_and_are_no_business_of_the_role(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    scene.send(&scene.peer.request("OPTIONS", "o", "Max-Forwards: 70\r\n", ""));
    let ok = scene.peer.expect("SIP/2.0 200");
    assert!(header(&ok, "Allow").contains("INVITE"), "{ok}");
    let bye = scene.peer.request("BYE", "b", "Max-Forwards: 70\r\n", "");
    scene.send(&bye.replace("@127.0.0.1>\r\nCall", "@127.0.0.1>;tag=x\r\nCall"));
    scene.peer.expect("SIP/2.0 481");
    scene.sink.signal(Signal::SIGTERM);
    scene.sink.assert_exit(0);
    let said = scene.sink.stderr();
    assert_eq!(said.iter().filter(|line| line.contains("call")).count(), 0, "{said:?}");
}

fn an_offer_without_a_common_codec_gets_488_and_the_next_call_is_served(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    scene.send(&scene.peer.invite("g729", &OFFER.replace("8 0", "18")));
    let refused = scene.peer.expect("SIP/2.0 488");
    let ack = scene.peer.request("ACK", "g729", "Max-Forwards: 70\r\n", "");
    let to = format!("To: {}", header(&refused, "To"));
    scene.send(&ack.replace("To: <sip:bob@127.0.0.1>", &to).replace("-ACK", "-INVITE"));
    let ok = scene.call("good", OFFER);
    scene.bye(2, &ok);
}

fn the_answer_names_real_addresses_and_the_callers_first_codec(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    let ok = scene.call("wire", OFFER);
    assert!(header(&ok, "Contact").contains(&scene.at.to_string()), "{ok}");
    assert!(!ok.contains("0.0.0.0"), "{ok}");
    assert!(rtp_address(&ok).ip().is_loopback(), "{ok}");
    let media = ok.lines().find(|line| line.starts_with("m=audio ")).expect("audio");
    assert!(media.contains(" RTP/AVP 8"), "{ok}");
    assert!(scene.sink.output().contains("PCMA"), "{}", scene.sink.output());
    scene.bye(2, &ok);
}

fn hold_and_resume_are_told_and_the_call_goes_on(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    let ok = scene.call("hold", OFFER);
    let held = format!("{OFFER}a=sendonly\r\n").replace("o=a 1 1", "o=a 1 2");
    scene.send(&scene.peer.in_dialog("INVITE", 2, &ok, "application/sdp", &held));
    let answer = scene.peer.expect("SIP/2.0 200");
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");
    scene.send(&scene.peer.in_dialog("ACK", 2, &ok, "", ""));
    scene.sink.wait_for_line("the far end holds us");
    let resumed = OFFER.replace("o=a 1 1", "o=a 1 3");
    scene.send(&scene.peer.in_dialog("INVITE", 3, &ok, "application/sdp", &resumed));
    let answer = scene.peer.expect("SIP/2.0 200");
    assert!(!answer.contains("only\r\n") && !answer.contains("inactive"), "{answer}");
    scene.send(&scene.peer.in_dialog("ACK", 3, &ok, "", ""));
    scene.sink.wait_for_line("the far end takes us back");
    scene.bye(4, &ok);
}

fn digits_by_info_are_told(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    let ok = scene.call("info", OFFER);
    let relay = "Signal=7\r\nDuration=200\r\n";
    scene.send(&scene.peer.in_dialog("INFO", 2, &ok, "application/dtmf-relay", relay));
    scene.peer.expect("SIP/2.0 200");
    scene.sink.wait_for_line("the far end pressed 7");
    scene.bye(3, &ok);
}

fn digits_by_rtp_are_told_once_each(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    let mut stream = Stream::new();
    let offer = stream.offer("0 96") + "a=rtpmap:96 telephone-event/8000\r\n";
    let ok = scene.call("rtp-digits", &offer);
    assert!(ok.contains("a=rtpmap:96 telephone-event/8000\r\n"), "{ok}");
    stream.to = Some(rtp_address(&ok));
    // Audio first, so that the source is known; then each event with its updates and its end three times
    // (RFC 4733 §2.5.1.4).
    let pause = || std::thread::sleep(Duration::from_millis(5));
    for sequence in 0..20 {
        stream.audio(sequence);
        pause();
    }
    let mut sequence = 20;
    for (event, start) in [(5u8, 4_000), (11, 8_000)] {
        for (end, duration) in [(0, 800u16), (0x80, 1_600), (0x80, 1_600), (0x80, 1_600)] {
            let [high, low] = duration.to_be_bytes();
            stream.send(96, sequence, start, &[event, end | 10, high, low]);
            sequence += 1;
            pause();
        }
    }
    for digit in ["5", "#"] {
        scene.sink.wait_for_line(&format!("the far end pressed {digit} for 200 ms"));
    }
    scene.bye(2, &ok);
    let told = scene.sink.stderr().iter().filter(|line| line.contains("the far end pressed")).count();
    assert_eq!(told, 2, "{}", scene.sink.output());
}

fn an_invite_without_an_offer_is_answered_with_one(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    scene.send(&scene.peer.invite("late", ""));
    let ok = scene.peer.expect("SIP/2.0 200");
    let media = ok.lines().find(|line| line.starts_with("m=audio ")).expect("an offer");
    assert!(media.contains(" RTP/AVP 0 8"), "{ok}");
    scene.send(&scene.peer.in_dialog("ACK", 1, &ok, "application/sdp", OFFER));
    let line = scene.sink.wait_for_line("the call is up");
    assert!(line.contains("PCMA"), "the answer's first: {line}");
    scene.bye(2, &ok);
}

fn what_arrives_and_what_is_lost_is_counted(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    let mut stream = Stream::new();
    let ok = scene.call("lossy", &stream.offer("0"));
    stream.to = Some(rtp_address(&ok));
    // Fifty packets at their regular pace; 20 to 24 are missing.
    for sequence in (0..50).filter(|n| !(20..25).contains(n)) {
        stream.audio(sequence);
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.bye(2, &ok);
    let metrics = scene.sink.metrics();
    let last = metrics.last().expect("the last line");
    assert!(last.last);
    assert_eq!((last.packets_rx, last.rtp_loss), (45, 5), "{last:?}");
    assert_eq!(last.bytes_rx, 45 * 160, "{last:?}");
    assert_eq!(last.rtp_gap_ms_max, 120.0, "{last:?}");
    assert!(last.arrival_gap_ms_max >= 19.0, "{last:?}");
    assert!(!last.in_call && last.packets_tx > 0, "{last:?}");
}

fn rubbish_on_the_sip_port_harms_nothing(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    let good = scene.peer.invite("mangled", OFFER);
    for rubbish in [
        "",
        "\r\n\r\n",
        "\0\0\0\0",
        "INVITE",
        "INVITE sip:x SIP/2.0\r\n\r\n",
        "SIP/2.0 200 OK\r\n\r\n",
        &good[..good.len() / 2],
        &good.replace("Content-Length: ", "Content-Length: 9999999"),
        &good.replace("CSeq: 1 INVITE", "CSeq: 99999999999 BYE"),
        &good.replace("v=0", "v=\u{fffd}"),
    ] {
        scene.send(rubbish);
    }
    let ok = scene.call("after-all", &OFFER.replace("o=a 1 1", "o=a 5 5"));
    scene.bye(2, &ok);
}

fn a_storm_of_repeated_200s_harms_nothing(engine: Engine) {
    let peer = Peer::new();
    let (_dir, mut source, invite) = calling(engine, &peer, &[]);
    let from = sent_by(&invite);
    let ok = accepted(&peer, &invite, OFFER);
    let send = |message: &str| {
        peer.socket.send_to(message.as_bytes(), from).expect("sent");
    };
    (0..50).for_each(|_| send(&ok));
    source.wait_for_line("the call is up");
    peer.expect("ACK ");
    source.signal(Signal::SIGTERM);
    let bye = peer.expect("BYE ");
    send(&reply(&bye, "200 OK"));
    (0..10).for_each(|_| send(&ok));
    source.assert_exit(0);
}

fn an_unanswered_bye_is_given_up_with_65(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    scene.call("gone", OFFER);
    scene.sink.signal(Signal::SIGTERM);
    scene.peer.expect("BYE ");
    scene.sink.assert_exit(65);
}

fn a_call_to_where_nobody_listens_fails_with_65(engine: Engine) {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("an address");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let wav = dir.path().join("speech.wav");
    write_wav(&wav, 8_000, &speech_like(8_000, 1.0));
    let target = format!("sip:nobody@{free}");
    role(engine, "source", &["--target", &target, "--audio-file", wav.to_str().expect("UTF-8")])
        .assert_exit(65);
}

/// Resources held by a process.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn no_more_than(&self, before: &Held) -> bool {
        self.descriptors <= before.descriptors && self.threads <= before.threads
    }
}

impl Scene {
    fn held(&self) -> Held {
        let count = |what: &str| {
            std::fs::read_dir(format!("/proc/{}/{what}", self.sink.pid())).expect("it runs").count()
        };
        Held { descriptors: count("fd"), threads: count("task") }
    }

    /// Anonymous memory, kB.
    fn memory_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.sink.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

fn calls_leave_no_descriptor_and_no_thread_behind(engine: Engine) {
    let mut scene = Scene::new(engine, &["--calls", "100"]);
    scene.calls("first", 5);
    let before = scene.held();
    scene.calls("then", 20);
    // Resources that are released a little later are not a leak.
    wait_until("what the calls held is given back", || scene.held().no_more_than(&before));
    scene.sink.signal(Signal::SIGTERM);
    scene.sink.assert_exit(0);
}

fn two_hundred_calls_leave_no_memory_behind(engine: Engine) {
    let mut scene = Scene::new(engine, &["--calls", "1000"]);
    scene.calls("first", 200);
    let (before, memory_before) = (scene.held(), scene.memory_kb());
    // Transactions stay for 64 times T1 (RFC 3261 §17): those of the first half are released before the
    // second half adds its own.
    std::thread::sleep(Duration::from_secs(34));
    scene.calls("second", 200);
    wait_until("what the calls held is given back", || scene.held().no_more_than(&before));
    let growth_kb = scene.memory_kb().saturating_sub(memory_before);
    println!("{engine}: {before:?}, {memory_before} kB, then {growth_kb} kB more");
    assert!(growth_kb < 200, "{growth_kb} kB more after 200 more calls");
    scene.sink.signal(Signal::SIGTERM);
    scene.sink.assert_exit(0);
}
