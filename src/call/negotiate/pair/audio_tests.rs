//! Offers and answers for parties with audio rules.

use std::num::NonZeroU8;

use super::*;

const EVENT: &str = "a=rtpmap:101 telephone-event/8000\r\n";

fn side(port: u16, rules: AudioRules) -> Side {
    Side::new(([192, 0, 2, 1], port).into(), 7).with_audio(rules)
}

fn digits(digits: DtmfMode) -> AudioRules {
    AudioRules { digits, ..AudioRules::default() }
}

/// A party's description: payload types, and lines about them.
fn said(types: &str, lines: &str) -> Vec<u8> {
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.1.1.1\r\ns=-\r\nc=IN IP4 10.1.1.1\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP {types}\r\n{lines}"
    )
    .into_bytes()
}

fn has_events(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("telephone-event")
}

#[test]
fn a_party_with_tones_is_told_of_no_events_and_the_other_may_send_them() {
    for rules in [digits(DtmfMode::Tones), digits(DtmfMode::Info)] {
        let (mut a, mut b) = (side(1, AudioRules::default()), side(2, rules));
        let offered = offer(&mut a, &mut b, &said("8 101", EVENT), &PairPolicy::default()).unwrap();
        assert!(!has_events(&offered));
        // The party declares events all the same.
        let answered = answer(&mut b, &mut a, &said("8 101", EVENT)).unwrap();
        assert!(has_events(&answered), "they become tones");
        let remote = b.remote().unwrap();
        assert_eq!(remote.takes_event, None);
        assert_eq!(remote.takes_tones, rules.digits == DtmfMode::Tones);
        assert!(a.remote().unwrap().takes_event.is_some());

        // The party calls.
        let (mut a, mut b) = (side(1, rules), side(2, AudioRules::default()));
        let offered = offer(&mut a, &mut b, &said("8 101", EVENT), &PairPolicy::default()).unwrap();
        assert!(has_events(&offered));
        let answered = answer(&mut b, &mut a, &said("8 101", EVENT)).unwrap();
        assert!(!has_events(&answered), "{rules:?}");
        let way = join(&b, &a).unwrap().forward.way;
        assert_eq!(way.payload_types.get(101), None, "{rules:?}: it has offered them, and gets none");

        // Without another party.
        let mut alone = side(3, rules);
        assert!(!has_events(&local_offer(&mut alone, None, &PairPolicy::default()).unwrap()));
        let mut alone = side(3, rules);
        let answered = local_answer(&mut alone, &said("8 101", EVENT), &PairPolicy::default()).unwrap();
        assert!(!has_events(&answered));
    }
}

#[test]
fn a_party_with_either_has_events_where_it_takes_them_and_else_tones() {
    for (says, lines, events) in [("8 101", EVENT, true), ("8", "", false)] {
        let (mut a, mut b) = (side(1, AudioRules::default()), side(2, digits(DtmfMode::Either)));
        let offered = offer(&mut a, &mut b, &said("8 101", EVENT), &PairPolicy::default()).unwrap();
        assert!(has_events(&offered));
        let answered = answer(&mut b, &mut a, &said(says, lines)).unwrap();
        assert!(has_events(&answered));
        let remote = b.remote().unwrap();
        assert_eq!((remote.takes_event.is_some(), remote.takes_tones), (events, !events));
        assert_eq!(b.hears_tones(), !events, "nobody looks for tones where there are events");
        let cuts = join(&b, &a).unwrap().forward.way.transcode.is_some_and(|plan| plan.cuts_tones);
        assert_eq!(cuts, !events);
    }
}

#[test]
fn digits_that_are_turned_are_not_led_past() {
    let (mut a, mut b) = (side(1, AudioRules::default()), side(2, digits(DtmfMode::Tones)));
    offer(&mut a, &mut b, &said("8 101", EVENT), &PairPolicy::default()).unwrap();
    answer(&mut b, &mut a, &said("8", "")).unwrap();
    let heard = "10.1.1.1:4000".parse().unwrap();
    assert_eq!(direct(&a, &mut b, heard, &PairPolicy::default()), Err(DirectError::Digits));
    assert_eq!(direct(&b, &mut a, heard, &PairPolicy::default()), Err(DirectError::Digits));
}

#[test]
fn what_has_to_be_decoded_is_offered_no_other_codec() {
    const G729: &str = "a=fmtp:18 annexb=no\r\n";
    for (types, offered_as) in [("18 8", Some("8 9 111 0")), ("18", None)] {
        let (mut a, mut b) = (side(1, AudioRules::default()), side(2, AudioRules::default()));
        let policy = PairPolicy { decodes: true, ..PairPolicy::default() };
        let offered = offer(&mut a, &mut b, &said(types, G729), &policy);
        let Some(wanted) = offered_as else {
            assert_eq!(offered, Err(NegotiateError::NoCommonCodec));
            continue;
        };
        let text = String::from_utf8(offered.unwrap().into()).unwrap();
        let mut types: Vec<&str> =
            text.split("RTP/AVP ").nth(1).unwrap().lines().next().unwrap().split(' ').collect();
        assert_eq!(types[0], "8");
        types.sort_unstable();
        let mut wanted: Vec<&str> = wanted.split(' ').collect();
        wanted.sort_unstable();
        assert_eq!(types, wanted);
    }
}

#[test]
fn a_party_is_asked_for_its_packet_time_and_gets_it_where_it_names_none() {
    let rules = AudioRules { ptime_ms: NonZeroU8::new(30), ..AudioRules::default() };
    for (line, sent) in
        [("", 30), ("a=ptime:40\r\n", 40), ("a=maxptime:20\r\n", 20), ("a=ptime:60\r\na=maxptime:30\r\n", 30)]
    {
        let (mut a, mut b) = (side(1, AudioRules::default()), side(2, rules));
        let offered = offer(&mut a, &mut b, &said("8", "a=ptime:20\r\n"), &PairPolicy::default()).unwrap();
        assert!(String::from_utf8_lossy(&offered).contains("a=ptime:30\r\n"));
        // The other law: packets are re-encoded.
        let answered = answer(&mut b, &mut a, &said("0", line)).unwrap();
        let theirs = line.starts_with("a=ptime").then(|| &line[..10]);
        let told = String::from_utf8_lossy(&answered).into_owned();
        assert_eq!(told.lines().find(|line| line.starts_with("a=ptime")), theirs, "{told}");
        let plan = join(&a, &b).unwrap().forward.way.transcode.expect("a transcoder");
        assert_eq!(plan.to.ptime_ms, sent, "{line:?}");
        assert_eq!(b.remote().unwrap().voice.gets.unwrap().ptime_ms, sent);
        // Packets to the other party are not re-encoded: it has no such rule.
        assert!(join(&a, &b).unwrap().backward.way.recode.is_some());
    }
    let answered = local_answer(&mut side(3, rules), &said("8", ""), &PairPolicy::default()).unwrap();
    assert!(String::from_utf8_lossy(&answered).contains("a=ptime:30\r\n"));
    let (mut a, mut b) = (side(1, rules), side(2, AudioRules::default()));
    offer(&mut a, &mut b, &said("8", ""), &PairPolicy::default()).unwrap();
    let answered = answer(&mut b, &mut a, &said("8", "a=ptime:20\r\n")).unwrap();
    assert!(String::from_utf8_lossy(&answered).contains("a=ptime:30\r\n"));
}

#[test]
fn a_party_is_told_of_our_opus_as_its_rules_say() {
    let rules = AudioRules { opus: OpusRules::new(false, Some(16)), ..AudioRules::default() };
    let line = "a=fmtp:111 maxaveragebitrate=16000;useinbandfec=0\r\n";
    let (mut a, mut b) = (side(1, AudioRules::default()), side(2, rules));
    let offered = offer(&mut a, &mut b, &said("8", ""), &PairPolicy::default()).unwrap();
    assert!(String::from_utf8_lossy(&offered).contains(line));
    // Another party's Opus is passed on with that party's own parameters.
    let theirs = "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 stereo=1\r\n";
    let (mut a, mut b) = (side(1, AudioRules::default()), side(2, rules));
    let offered = offer(&mut a, &mut b, &said("111", theirs), &PairPolicy::default()).unwrap();
    assert!(String::from_utf8_lossy(&offered).contains("a=fmtp:111 stereo=1\r\n"));
    // The party calls, and is answered.
    let (mut a, mut b) = (side(1, rules), side(2, AudioRules::default()));
    offer(&mut a, &mut b, &said("111", theirs), &PairPolicy::default()).unwrap();
    let answered = answer(&mut b, &mut a, &said("8", "")).unwrap();
    assert!(String::from_utf8_lossy(&answered).contains(line));
    let answered = local_answer(&mut side(3, rules), &said("111", theirs), &PairPolicy::default()).unwrap();
    assert!(String::from_utf8_lossy(&answered).contains(line));
}

const NOISE: &str = "a=rtpmap:13 CN/8000\r\n";

fn noise() -> AudioRules {
    AudioRules { comfort_noise: true, ..AudioRules::default() }
}

#[test]
fn comfort_noise_is_offered_and_answered_to_who_is_to_have_it() {
    let has = |body: &[u8]| String::from_utf8_lossy(body).contains(NOISE);
    // The party is called.
    let (mut a, mut b) = (side(1, AudioRules::default()), side(2, noise()));
    assert!(has(&offer(&mut a, &mut b, &said("8", ""), &PairPolicy::default()).unwrap()));
    assert!(!has(&answer(&mut b, &mut a, &said("8 13", NOISE)).unwrap()), "the other one has none");
    let joined = join(&a, &b).unwrap();
    assert_eq!((joined.forward.way.noise, joined.backward.way.noise), (None, Some(13)));
    // The party calls.
    for (theirs, answers) in [(NOISE, true), ("", false)] {
        let (mut a, mut b) = (side(1, noise()), side(2, AudioRules::default()));
        let types = if answers { "8 13" } else { "8" };
        assert_eq!(
            has(&offer(&mut a, &mut b, &said(types, theirs), &PairPolicy::default()).unwrap()),
            answers
        );
        assert_eq!(has(&answer(&mut b, &mut a, &said("8", "")).unwrap()), answers);
        assert_eq!(join(&a, &b).unwrap().forward.way.noise, answers.then_some(13));
        let answered = local_answer(&mut side(3, noise()), &said(types, theirs), &PairPolicy::default());
        assert_eq!(has(&answered.unwrap()), answers);
    }
    // Beside audio of another clock rate it has no meaning.
    let policy = PairPolicy { transcode: false, ..PairPolicy::default() };
    let opus = said("111", "a=rtpmap:111 opus/48000/2\r\n");
    let (mut a, mut b) = (side(1, AudioRules::default()), side(2, noise()));
    assert!(!has(&offer(&mut a, &mut b, &opus, &policy).unwrap()));
}

#[test]
fn comfort_noise_of_two_who_have_it_passes_as_it_is() {
    let (mut a, mut b) = (side(1, noise()), side(2, noise()));
    offer(&mut a, &mut b, &said("8 13", NOISE), &PairPolicy::default()).unwrap();
    answer(&mut b, &mut a, &said("8 13", NOISE)).unwrap();
    for way in [join(&a, &b).unwrap().forward.way, join(&a, &b).unwrap().backward.way] {
        assert_eq!((way.payload_types.get(13), way.noise), (Some(13), None));
    }
}

#[test]
fn events_that_nobody_has_named_are_heard_under_their_usual_number_if_it_is_free() {
    let heard = |rules, types: &str, lines: &str| -> Vec<(u8, u32)> {
        let mut alone = side(3, rules);
        local_answer(&mut alone, &said(types, lines), &PairPolicy::default()).unwrap();
        alone.remote().unwrap().telephone_events.iter().collect()
    };
    let usual = AudioRules::default;
    assert_eq!(heard(usual(), "8", ""), [(101, 8_000)]);
    assert_eq!(heard(usual(), "8 96", "a=rtpmap:96 telephone-event/8000\r\n"), [(96, 8_000)]);
    assert_eq!(heard(usual(), "101 8", "a=rtpmap:101 opus/48000/2\r\n"), [], "it is Opus here");
    assert_eq!(heard(digits(DtmfMode::Info), "8", ""), []);
}
