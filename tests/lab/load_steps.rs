//! Steps and audio analysis of the load role, with one process that calls and one that answers.

use tempfile::TempDir;

use super::load::{callees, run};
use b2b_test_support::peer::{OFFER, Peer};

#[test]
fn a_part_of_the_calls_is_listened_to_and_the_others_are_heard_to_say_their_marks() {
    let mut words = vec!["--role", "load", "--sip-bind", "127.0.0.1:0", "--ears", "sample=1%"];
    words.extend(["--callee", "answer; say mark; hung up"]);
    let mut callees = crate::common::child::b2b(&words);
    let target = format!("sip:1000@{}", callees.ready());
    let flags = ["--ears", "sample=40%", "--rate", "10", "--calls", "20", "--hold-s", "5.2", "--seed", "3"];
    let (_, run) = run(&target, &flags);
    let ears = &run["callers"]["ears"];
    let (judged, others) = (ears["judged"].as_u64().unwrap(), ears["not_listened_to"].as_u64().unwrap());
    assert_eq!(judged + others, 20, "{run:#}");
    // calls without audio analysis are not judged
    assert!(run["callers"]["failed"].as_u64().unwrap() <= judged, "{run:#}");
    assert!((3..=14).contains(&judged), "{run:#}");
}

#[test]
fn header_fields_of_the_invite_and_of_its_answer_are_looked_at() {
    let (_callees, target) = callees("expect header X-Account: 47*; answer; hung up");
    let caller = "header X-Account: 4711; dial 1000; expect header Server: b2b/*; stay; hang up";
    let (_, run_of) = run(&target, &["--caller", caller, "--calls", "3", "--rate", "10", "--hold-s", "0.1"]);
    assert_eq!(run_of["callers"]["done"], 3, "{run_of:#}");
    let caller = "header X-Account: 4711; dial 1000; expect header Server: other; stay; hang up";
    let (code, run_of) = run(&target, &["--caller", caller, "--calls", "2", "--rate", "10"]);
    let failure = &run_of["callers"]["failures"][0];
    assert_eq!((code, &failure["why"]), (1, &"it has another value".into()), "{run_of:#}");
    // and a callee called without the field does not refuse the call, but fails its step and ends it
    let caller = "dial 1000; stay; hang up";
    let (code, run_of) = run(&target, &["--caller", caller, "--calls", "1"]);
    assert_eq!((code, &run_of["callers"]["failed"]), (1, &1.into()), "{run_of:#}");
}

#[test]
fn a_file_is_played_in_every_call() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tone.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&file, spec).unwrap();
    for n in 0..48_000 {
        let phase = f64::from(n) * 700.0 / 16_000.0 * std::f64::consts::TAU;
        wav.write_sample((phase.sin() * 8_000.0) as i16).unwrap();
    }
    wav.finalize().unwrap();
    let (_callees, target) = callees(&format!("answer; play {}; hung up", file.display()));
    let caller = "dial 1000; hears 700 not 440; hang up";
    let (_, run) = run(&target, &["--caller", caller, "--calls", "4", "--rate", "10"]);
    assert_eq!(run["callers"]["done"], 4, "{run:#}");
    let missing = ["--role", "load", "--callee", "answer; play /no/such.wav; hung up"];
    let status = crate::common::child::b2b(&missing).wait();
    assert_eq!(status.code(), Some(64));
}

/// A caller whose SIP and RTP are written by hand.
struct Caller {
    peer: Peer,
    rtp: Peer,
    target: String,
}

impl Caller {
    fn calls(target: &str) -> Caller {
        let caller = Caller { peer: Peer::new(), rtp: Peer::new(), target: target.to_owned() };
        let offer = OFFER.replace("39998", &caller.rtp.local.port().to_string());
        let session =
            format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{offer}", offer.len());
        caller.sends("INVITE", &format!("To: <{target}>"), &session);
        caller
    }

    fn sends(&self, method: &str, to: &str, rest: &str) {
        let (target, local) = (&self.target, self.peer.local);
        let request = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKhand{}\r\nMax-Forwards: 70\r\n\
             From: <sip:ann@{local}>;tag=1\r\n{to}\r\nCall-ID: hand{}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:ann@{local}>\r\n{rest}",
            local.port(),
            local.port()
        );
        self.peer.send(target.split_once('@').unwrap().1.parse().unwrap(), &request);
    }

    /// Waits for this final response, and acknowledges it.
    fn is_answered(&self, status: &str) {
        let last = self.peer.expect(&format!("SIP/2.0 {status}"));
        let to = last.lines().find(|line| line.starts_with("To: ")).unwrap();
        self.sends("ACK", to, "Content-Length: 0\r\n\r\n");
    }
}

#[test]
fn a_callee_with_early_media_is_heard_before_it_refuses_or_answers() {
    for (last, status) in [("refuse 404", "404"), ("answer; hung up", "200")] {
        let (_callees, target) = callees(&format!("progress; say 700; wait 0.4; {last}"));
        let caller = Caller::calls(&target);
        let progress = caller.peer.expect("SIP/2.0 183");
        assert!(progress.contains("m=audio "), "{progress}");
        let mut packet = [0; 1_500];
        let length = caller.rtp.socket.recv(&mut packet).expect("RTP before the final response");
        let mut octets = packet[12..length].to_vec();
        octets.sort_unstable();
        octets.dedup();
        assert!(octets.len() > 4, "a tone, and no silence: {octets:?}");
        caller.is_answered(status);
    }
}

#[test]
fn a_callee_offers_the_codecs_that_its_step_names() {
    let (_callees, target) = callees("answer; offer g722 and pcma; hung up");
    let caller = Caller::calls(&target);
    caller.is_answered("200");
    let offer = caller.peer.expect("INVITE ");
    let audio = offer.lines().find(|line| line.starts_with("m=audio ")).unwrap_or_default();
    assert!(audio.contains(" RTP/AVP 9 8"), "{offer}");
    assert!(!audio.contains(" 0"), "{offer}");
}

#[test]
fn callers_and_callees_change_the_codec_in_mid_call_and_are_heard_on() {
    let (_callees, target) = callees("answer; say 440; hears 600; offer g722 and pcmu; hears 700; hung up");
    let caller = "dial 1000; say 600; hears 440; say 700; wait 1; offer pcmu; hears 440; wait 1; hang up";
    let (code, run) = run(&target, &["--caller", caller, "--calls", "2", "--rate", "5"]);
    assert_eq!((code, &run["callers"]["done"]), (0, &2.into()), "{run:#}");
}

#[test]
fn a_callee_that_has_vanished_answers_no_bye_and_hears_of_no_refusal() {
    let (_callees, target) = callees("answer; wait 0.3; vanish");
    let caller = "dial 1000; stay; hang up";
    let flags = ["--caller", caller, "--calls", "2", "--rate", "10", "--hold-s", "1", "--signalling-only"];
    let (code, run) = run(&target, &flags);
    // a 481 would have ended them at once; BYE is retransmitted until 64*T1 have passed (RFC 3261 §17.1.2.2)
    let failure = &run["callers"]["failures"][0];
    let told = (&failure["step"], &failure["why"], &failure["calls"]);
    assert_eq!((code, told), (1, (&"hang up".into(), &"not in time".into(), &2.into())), "{run:#}");
    assert_eq!(run["ending"]["count"], 0, "{run:#}");
}
