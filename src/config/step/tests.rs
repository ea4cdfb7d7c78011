//! Parsing of steps.

use super::*;

fn deed(text: &str) -> Deed {
    step(text).unwrap_or_else(|error| panic!("{error}")).deed
}

#[test]
fn steps_read_as_they_are_said() {
    assert_eq!(deed("dial 8000"), Deed::Dial("8000".to_owned()));
    assert_eq!(
        deed("hears 440 Hz and 350 not 900 Hz within 2.5 s"),
        Deed::Hears { these: vec![440.0, 350.0], not: vec![900.0] }
    );
    assert_eq!(deed("hears not 900"), Deed::Hears { these: vec![], not: vec![900.0] });
    assert_eq!(step("hears 440 within 2.5 s").unwrap().within, Duration::from_millis(2_500));
    assert_eq!(step("wait 2 s").unwrap().within, Duration::from_secs(2));
    let all = steps("answer; say 700 Hz; hold; resume; press *1; transfer 700; cue parked").unwrap();
    assert_eq!(all.len(), 7);
    assert_eq!((&all[4].deed, all[4].text.as_str()), (&Deed::Press("*1".to_owned()), "press *1"));
    let all = steps("answer; record my heard.wav; play hello.wav; say nothing; hung up").unwrap();
    assert_eq!(all[1].deed, Deed::Record("my heard.wav".to_owned()));
    assert_eq!((&all[2].deed, &all[3].deed), (&Deed::Play("hello.wav".to_owned()), &Deed::SayNothing));
    assert!(steps("answer; record").unwrap_err().contains("record heard.wav"));
}

#[test]
fn callers_and_callees_of_a_load_have_steps_of_their_own() {
    let read = caller(
        "header X-Account: 47 11; dial 8000; say mark; hears mark within 2 s; 30 %: press 1; stay; hang up",
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read[0].deed, Deed::Header { name: "X-Account".to_owned(), value: "47 11".to_owned() });
    assert_eq!((&read[4].deed, read[4].chance), (&Deed::Press("1".to_owned()), 0.3));
    assert_eq!(read[3].within, Duration::from_secs(2));
    assert!(caller("dial 8000; expect 486").is_ok());
    assert!(callee("ring; wait 2; answer; say mark; hung up").is_ok());
    assert!(callee("ring; wait 2; refuse 486").is_ok());
    let read = callee("expect header X-Account: 47*; answer; play a b.wav; wait 1; vanish").unwrap();
    let (name, value) = ("X-Account".to_owned(), "47*".to_owned());
    assert_eq!(read[0].deed, Deed::ExpectHeader { name, value });
    assert_eq!(read[2].deed, Deed::Play("a b.wav".to_owned()));
    assert!(callee("ring; vanish").is_ok());
    let read = callee("answer; offer g722 and PCMA; hung up").unwrap();
    assert_eq!(read[1].deed, Deed::Offer(vec![Codec::G722, Codec::Pcma]));
    assert!(callee("progress; speak Not in use.; said; refuse 404").is_ok());
    assert!(callee("progress; say 425; wait 2; answer; say mark; hung up").is_ok());
    let read =
        caller("dial 1; may refuse; 10 %: give up after 0.5 s; may hang up; wait 1 to 5 s; hang up").unwrap();
    assert_eq!((&read[2].deed, read[2].chance), (&Deed::GiveUp(Duration::from_millis(500)), 0.1));
    assert_eq!(
        (&read[4].deed, read[4].within),
        (&Deed::WaitUpTo(Duration::from_secs(5)), Duration::from_secs(1))
    );
    assert!(callee("may hang up; wait 0 to 1.5; answer; transfer 700; may refuse; hang up").is_ok());
    assert!(caller("dial 1; expect header Server: *; 50 %: vanish; hang up").is_ok());
    for (reader, text, said) in [
        (caller as fn(&str) -> _, "answer; hung up", "callers dial"),
        (caller, "hears mark; dial 1", "needs a call"),
        (caller, "dial 1; header A: b", "too late"),
        (caller, "dial 1; hang up; dial 2", "each scenario is one call"),
        (caller, "dial 1; cue x", "is for phones"),
        (caller, "dial 1; record x.wav", "is for phones"),
        (callee, "say 425; answer; hung up", "write dial, answer or progress before"),
        (callee, "progress; hears 425; answer", "needs a call"),
        (callee, "answer; progress", "too late"),
        (caller, "dial 1; progress; hang up", "is for callees"),
        (caller, "dial 1; refuse 486", "is for callees"),
        (caller, "dial 1; offer g729", "like offer g722 and pcma"),
        (caller, "dial 1; offer", "like offer g722 and pcma"),
        (caller, "offer pcmu; dial 1", "needs a call"),
        (steps, "dial 1; offer pcmu; hang up", "--role load"),
        (callee, "answer; refuse 486", "too late"),
        (callee, "answer; expect header A: b", "too late"),
        (caller, "expect header A: b; dial 1", "needs a call"),
        (caller, "dial 1; say 440; give up after 2", "is for a dial"),
        (callee, "answer; may refuse", "is for a dial or a transfer"),
        (caller, "dial 1; wait 5 to 1", "the shorter time first"),
        (steps, "dial 1; may hang up", "--role load"),
        (caller, "vanish; dial 1", "needs a call"),
        (caller, "dial 1; expect header Server", "like expect header"),
        (caller, "dial 1; play", "like play hello.wav"),
        (steps, "dial 1; vanish", "--role load"),
        (callee, "press 1; answer", "needs a call"),
        (caller, "dial 1; 130 %: press 1", "0 to 100 %"),
        (caller, "dial 1; expect 200", "like expect 486"),
        (steps, "dial 1; say mark; hang up", "--role load"),
    ] {
        let error = reader(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn speech_and_silence_are_steps_of_a_load() {
    let read = caller(
        "dial 1; hears speech within 3; 50 %: speak Two tickets, within 5; said within 60; hears silence for 0.5 s within 4 s; \
         hears nothing for 2 s; echo; hears speech for 1.5 within 4; stay",
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&read[1].deed, read[1].within), (&Deed::HearsSpeech(Duration::ZERO), Duration::from_secs(3)));
    assert_eq!((&read[2].deed, read[2].chance), (&Deed::Speak("Two tickets, within 5".to_owned()), 0.5));
    let silence = Deed::HearsSilence(Duration::from_millis(500));
    assert_eq!((&read[4].deed, read[4].within), (&silence, Duration::from_secs(4)));
    assert_eq!((&read[5].deed, read[5].within), (&Deed::HearsNothing, Duration::from_secs(2)));
    assert_eq!((&read[3].deed, &read[6].deed), (&Deed::Said, &Deed::Echo));
    let speech = Deed::HearsSpeech(Duration::from_millis(1_500));
    assert_eq!((&read[7].deed, read[7].within), (&speech, Duration::from_secs(4)));
    for (text, said) in [
        ("dial 1; hears speech for 5 within 2", "hears speech for 2 s"),
        ("dial 1; speak", "it needs a text"),
        ("dial 1; speak ...", "it needs a text"),
        ("dial 1; hears silence for 5 within 2", "like hears silence for 1 s within 5 s"),
        ("dial 1; hears nothing for 5 within 9", "hears nothing for 3 s"),
        ("dial 1; hears nothing", "like hears 440"),
        ("speak hello; dial 1", "needs a call"),
    ] {
        let error = caller(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
    assert!(steps("dial 1; echo; hang up").unwrap_err().contains("--role load"));
}

#[test]
fn what_is_wrong_names_the_step_and_says_what_to_write() {
    for (text, said) in [
        ("jump", "choose from dial"),
        ("hears 40", "100 to 3800 Hz"),
        ("hears 440 and", "like hears"),
        ("press 1-2", "like press 123#"),
        ("hang up within 3", "takes no within"),
        ("dial 8000 within long", "like within 10 s"),
        ("wait 2 within 3", "like wait 2 s"),
        ("hang up", "write dial or answer before"),
        ("dial 1; hand over", "write consult before"),
        ("dial 1; consult 2; hang up", "write hand over before"),
        ("dial 1; consult 2; hand over; say 440", "write dial or answer before"),
        ("dial 1; answer", "write hang up or hung up before"),
        (";", "no steps"),
    ] {
        let error = steps(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}
