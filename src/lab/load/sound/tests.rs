//! What a leg says and hears.

use std::time::Duration;

use super::*;

/// Passes the audio of `from` to `to`, for this many frames.
fn talk(from: &Arc<LegSound>, to: &Arc<LegSound>, frames: u32) {
    let (mut mouth, mut ear) = (Mouth::new(from.clone()), Ear::new(to.clone()));
    // frames are processed faster than real time here, so a mark's delay has no meaning
    let began = NtpTime::from_system(SystemTime::now());
    for n in 0..frames {
        let mut samples = [0; 160];
        let captured_at = began.plus(Duration::from_millis(20) * n);
        mouth.fill(&mut OutFrame { samples: &mut samples, captured_at });
        ear.frame(&InFrame { samples: &samples, captured_at: None, kind: FrameKind::Audio });
    }
}

fn heard(said: Said, wanted: &Wanted) -> bool {
    let (from, to) = (
        Arc::new(LegSound::new(Side::Caller, 1, false, Listens::Always, Arc::default())),
        Arc::new(LegSound::new(Side::Callee, 0, false, Listens::Always, Arc::default())),
    );
    from.say(said);
    to.listen(wanted);
    talk(&from, &to, 50);
    to.is_heard()
}

#[test]
fn a_tone_is_heard_where_it_is_said_and_where_no_other_one_is() {
    let wanted = |these: &[f64], not: &[f64]| Wanted::Tones { these: these.to_vec(), not: not.to_vec() };
    assert!(heard(Said::Tone(440.0), &wanted(&[440.0], &[600.0])));
    assert!(!heard(Said::Tone(600.0), &wanted(&[440.0], &[])));
    assert!(!heard(Said::Tone(440.0), &wanted(&[440.0], &[440.0])));
    assert!(heard(Said::Nothing, &wanted(&[], &[440.0])));
}

#[test]
fn any_sound_is_speech_and_an_echo_is_what_was_heard() {
    for wanted in [Wanted::Sound, Wanted::Speech(Duration::ZERO), Wanted::Speech(Duration::from_secs(1))] {
        assert!(heard(Said::Tone(440.0), &wanted) && !heard(Said::Nothing, &wanted));
    }
    assert!(!heard(Said::Tone(440.0), &Wanted::Speech(Duration::from_millis(1_020))), "it was 1 s");
    assert!(heard(Said::Nothing, &Wanted::Silence(Duration::ZERO)));
    assert!(!heard(Said::Tone(440.0), &Wanted::Silence(Duration::from_secs(1))));
    let sound = LegSound::new(Side::Caller, 1, false, Listens::Always, Arc::default()).with_echo();
    let sound = Arc::new(sound);
    sound.say(Said::Echo);
    let (mut mouth, mut ear) = (Mouth::new(sound.clone()), Ear::new(sound));
    ear.frame(&InFrame { samples: &[7; 160], captured_at: None, kind: FrameKind::Audio });
    let (mut samples, captured_at) = ([0; 160], NtpTime::from_system(SystemTime::now()));
    mouth.fill(&mut OutFrame { samples: &mut samples, captured_at });
    assert_eq!(samples, [7; 160]);
}

#[test]
fn a_callee_says_which_call_it_hears_and_the_caller_knows_whether_it_is_its_own() {
    let sound = |side, call| Arc::new(LegSound::new(side, call, false, Listens::Always, Arc::default()));
    let (caller, other) = (sound(Side::Caller, 7), sound(Side::Caller, 8));
    let (callee, deaf) = (sound(Side::Callee, 0), sound(Side::Callee, 0));
    [&caller, &other, &callee, &deaf].into_iter().for_each(|it| it.say(Said::Mark));
    talk(&caller, &callee, 150);
    assert!(callee.heard().words > 0 && callee.mark().call == 7);
    talk(&callee, &caller, 150);
    assert!(caller.heard().words > 0 && caller.heard().foreign.is_none());
    // another caller that hears this callee is crossed with the first one
    talk(&callee, &other, 250);
    let foreign = Some(Mark { call: 7, side: Side::Callee });
    assert_eq!((other.heard().words, other.heard().foreign), (0, foreign));
    // a callee that hears no caller reports it
    let lonely = sound(Side::Caller, 9);
    talk(&deaf, &lonely, 250);
    assert!(lonely.heard().unheard > 0 && lonely.heard().foreign.is_none());
    // a caller that hears its own voice has an echo
    let echoed = sound(Side::Caller, 10);
    echoed.say(Said::Mark);
    talk(&echoed, &echoed, 250);
    assert_eq!(echoed.heard().foreign, Some(Mark { call: 10, side: Side::Caller }));
    // which is expected with an echo
    let echoed = Arc::new(LegSound::new(Side::Caller, 11, true, Listens::Always, Arc::default()));
    echoed.say(Said::Mark);
    talk(&echoed, &echoed, 150);
    assert!(echoed.heard().words > 0 && echoed.heard().foreign.is_none());
}

#[test]
fn a_call_that_is_not_chosen_says_its_marks_and_is_not_listened_to() {
    let callee = || Arc::new(LegSound::new(Side::Callee, 0, false, Listens::WhereChosen, Arc::default()));
    for (mark, chosen) in [(7, true), (8, false)] {
        let listens = if chosen { Listens::Always } else { Listens::Never };
        let caller = Arc::new(LegSound::new(Side::Caller, mark, false, listens, Arc::default()));
        let callee = callee();
        [&caller, &callee].into_iter().for_each(|it| it.say(Said::Mark));
        talk(&caller, &callee, 250);
        // it adopts the number that it hears, so that its caller can verify it
        assert_eq!(callee.mark().call, mark);
        assert_eq!((callee.is_listened_to(), callee.heard().words > 1), (chosen, chosen));
        talk(&callee, &caller, 150);
        assert_eq!((caller.is_listened_to(), caller.heard().words > 0), (chosen, chosen));
    }
}

#[test]
fn a_file_is_played_once_and_again_when_it_is_said_again() {
    let files: Arc<[Sound]> = vec![vec![1_000; 10].into(), (1..=200).collect::<Vec<i16>>().into()].into();
    let sound = Arc::new(LegSound::new(Side::Caller, 7, false, Listens::Always, files));
    let mut mouth = Mouth::new(sound.clone());
    let mut frame = || {
        let mut samples = [7; 160];
        let captured_at = NtpTime::from_system(SystemTime::now());
        let fill = mouth.fill(&mut OutFrame { samples: &mut samples, captured_at });
        (fill, samples[0], samples[159])
    };
    for _ in 0..2 {
        sound.say(Said::File(1));
        sound.listen(&Wanted::Played);
        assert_eq!(frame(), (Fill::Audio, 1, 160));
        assert_eq!(frame(), (Fill::Audio, 161, 0));
        assert!(!sound.is_heard());
        assert_eq!((frame().0, sound.is_heard()), (Fill::Silence, true));
    }
    sound.say(Said::File(9));
    assert_eq!(frame().0, Fill::Silence);
}
