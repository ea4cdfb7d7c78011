use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn take(lasts_ms: u64, spoken_ms: u64, cut: bool) -> Came {
    let ms = Duration::from_millis;
    Came::Recorded { lasts: ms(lasts_ms), spoken: ms(spoken_ms), cut }
}

fn say<const N: usize>(said: [Word; N]) -> Do {
    Do::Say(words(said))
}

#[test]
fn a_message_is_kept_only_if_somebody_has_said_something() {
    for (came, kept, act, then) in [
        (take(1_000, 200, false), Came::Done, Do::Keep, Some(Word::Kept)),
        (take(9_000, 9_000, true), Came::Done, Do::Keep, Some(Word::Cut)),
        (take(9_000, 9_000, false), Came::NotDone, Do::Keep, Some(Word::NotRecorded)),
        (take(999, 999, false), Came::Done, Do::Discard, Some(Word::NotKept)),
        (take(9_000, 199, false), Came::NotDone, Do::Discard, Some(Word::NotKept)),
        (Came::NotRecorded, Came::Done, say([Word::NotRecorded, Word::Goodbye]), None),
    ] {
        let (mut machine, first) = Leaving::begin(true);
        assert_eq!(first, Do::Ask(vec![Saying::Greeting], Keys::Meanwhile));
        assert_eq!(
            machine.came(&Came::NotSaid),
            say([Word::Beep]),
            "a greeting that is missing is passed over"
        );
        assert_eq!(machine.came(&Came::Said), Do::Record);
        assert_eq!(machine.came(&came), act, "{came:?}");
        if let Some(word) = then {
            assert_eq!(machine.came(&kept), say([word, Word::Goodbye]), "{came:?}");
        }
        assert_eq!(machine.came(&Came::Said), Do::HangUp);
    }
    let (mut machine, first) = Leaving::begin(false);
    assert_eq!(first, say([Word::Full, Word::Goodbye]));
    assert_eq!(machine.came(&Came::Said), Do::HangUp);
}

fn pins() -> Pins {
    let pin = |(name, pin): (&str, &str)| (name.to_owned(), SecretText::new(pin));
    Arc::new([("1001", "4711"), ("1002", "")].map(pin).into())
}

fn keys(keys: &str) -> Came {
    Came::Keys(keys.to_owned())
}

/// At the first of these messages.
fn hearing(messages: &[Age]) -> Hearing {
    let (mut machine, first) = Hearing::begin(pins(), Some("1001".to_owned()));
    assert_eq!(first, Do::Ask(words([Word::AskPin]), Keys::Pin));
    assert_eq!(machine.came(keys("4711")), Do::Open("1001".to_owned()));
    machine.came(Came::Opened(messages.to_vec()));
    machine
}

fn play(n: usize) -> Do {
    Do::Ask(vec![Saying::Message(n)], Keys::Meanwhile)
}

fn choices() -> Do {
    Do::Ask(words([Word::Choices]), Keys::Choice)
}

#[test]
fn an_owner_is_asked_for_the_pin_and_a_stranger_for_the_mailbox_first_three_times() {
    let pin = |before: &[Word]| {
        Do::Ask(before.iter().chain(&[Word::AskPin]).map(|word| Saying::Word(*word)).collect(), Keys::Pin)
    };
    let (mut machine, _) = Hearing::begin(pins(), Some("1001".to_owned()));
    assert_eq!(machine.came(keys("1")), pin(&[Word::Wrong]));
    assert_eq!(machine.came(keys("")), pin(&[Word::Wrong]));
    assert_eq!(machine.came(keys("47110")), say([Word::Wrong, Word::Goodbye]));
    assert_eq!((machine.refused(), machine.came(Came::Said)), (3, Do::HangUp));
    let (mut machine, first) = Hearing::begin(pins(), None);
    assert_eq!(first, Do::Ask(words([Word::AskMailbox]), Keys::Mailbox));
    assert_eq!(machine.came(keys("7")), pin(&[]), "nobody learns which mailboxes there are");
    assert_eq!(machine.came(keys("4711")), Do::Ask(words([Word::Wrong, Word::AskMailbox]), Keys::Mailbox));
    assert_eq!(machine.came(keys("1001")), pin(&[]));
    assert_eq!(machine.came(keys("4711")), Do::Open("1001".to_owned()));
}

#[test]
fn counts_are_told_and_an_empty_mailbox_says_so() {
    let (new, old) = (Age::New, Age::Old);
    for (messages, said) in [
        (
            vec![new, new, old],
            vec![
                Saying::Word(Word::YouHave),
                Saying::Number(2, new),
                Saying::Word(Word::NewMessages),
                Saying::Number(1, old),
                Saying::Word(Word::OldMessages),
            ],
        ),
        (
            vec![old],
            vec![Saying::Word(Word::YouHave), Saying::Number(1, old), Saying::Word(Word::OldMessages)],
        ),
    ] {
        let (mut machine, _) = Hearing::begin(pins(), Some("1001".to_owned()));
        machine.came(keys("4711"));
        assert_eq!(machine.came(Came::Opened(messages)), Do::Ask(said, Keys::Meanwhile));
    }
    let (mut machine, _) = Hearing::begin(pins(), Some("1001".to_owned()));
    machine.came(keys("4711"));
    assert_eq!(machine.came(Came::Opened(Vec::new())), say([Word::NoMessages, Word::Goodbye]));
}

#[test]
fn a_message_that_is_heard_to_its_end_is_old_and_without_a_key_the_next_one_follows() {
    let mut machine = hearing(&[Age::New, Age::Old]);
    assert_eq!(machine.came(keys("")), play(0));
    assert_eq!(machine.came(keys("")), Do::Age(0));
    assert_eq!(machine.came(Came::Done), choices());
    assert_eq!(machine.came(keys("")), play(1));
    assert_eq!(machine.came(keys("")), choices(), "it is old");
    assert_eq!(machine.came(keys("")), say([Word::NoMore, Word::Goodbye]));
    assert_eq!(machine.came(Came::Said), Do::HangUp);
}

#[test]
fn keys_do_what_they_do_elsewhere() {
    for (pressed, acts) in [
        ("1", vec![play(1)]),
        ("5", vec![play(1)]),
        ("2", vec![Do::Age(1), play(2)]),
        ("6", vec![Do::Age(1), play(2)]),
        ("#", vec![Do::Age(1), play(2)]),
        ("3", vec![Do::Delete(1), Do::Ask(words([Word::Deleted]), Keys::Meanwhile), play(2)]),
        ("7", vec![Do::Delete(1), Do::Ask(words([Word::Deleted]), Keys::Meanwhile), play(2)]),
        ("4", vec![play(0)]),
        ("9", vec![say([Word::Goodbye]), Do::HangUp]),
        ("*", vec![say([Word::Goodbye]), Do::HangUp]),
        ("8", vec![choices()]),
    ] {
        let mut machine = hearing(&[Age::New; 3]);
        machine.came(keys(""));
        machine.came(keys("#"));
        assert_eq!(machine.came(Came::Done), play(1));
        let mut came = keys(pressed);
        for act in acts {
            assert_eq!(machine.came(came), act, "{pressed}");
            came = if matches!(act, Do::Ask(..)) { keys("") } else { Came::Done };
        }
    }
}

#[test]
fn what_is_deleted_or_missing_is_passed_over() {
    let mut machine = hearing(&[Age::New; 3]);
    machine.came(keys(""));
    assert_eq!(machine.came(Came::NotSaid), play(1), "its file is gone");
    machine.came(keys("3"));
    machine.came(Came::Done);
    assert_eq!(machine.came(keys("")), play(2));
    assert_eq!(machine.came(keys("4")), play(0));
    assert_eq!(machine.came(keys("4")), play(0), "there is none before it");
    machine.came(keys("2"));
    assert_eq!(machine.came(Came::NotDone), play(2));
    machine.came(keys("3"));
    assert_eq!(machine.came(Came::NotDone), Do::Ask(words([Word::NotDone]), Keys::Meanwhile));
    assert_eq!(machine.came(Came::Said), say([Word::NoMore, Word::Goodbye]));
}

#[test]
fn no_debug_output_has_a_pin() {
    let (mut machine, _) = Hearing::begin(pins(), None);
    let shown = format!("{machine:?} {:?}", keys("4711"));
    machine.came(keys("1001"));
    let shown = format!("{shown} {machine:?}");
    machine.came(keys("4711"));
    assert!(!format!("{shown} {machine:?}").contains("4711"), "{shown}");
}

proptest! {
    /// In any sequence of events: only existing messages are played, aged and deleted, a deleted message is
    /// not touched again, and a caller who presses nothing reaches the end.
    #[test]
    fn nothing_is_done_to_a_message_that_is_not_there(
        count in 0_usize..5,
        steps in prop::collection::vec((prop::sample::select(vec!["", "1", "2", "3", "4", "9", "8", "#"]), any::<bool>()), 0..60),
    ) {
        let (mut machine, _) = Hearing::begin(pins(), Some("1001".to_owned()));
        let mut act = machine.came(keys("4711"));
        let mut gone = vec![false; count];
        let silent = (0..5 * count + 5).map(|_| ("", true));
        for (key, well) in steps.into_iter().chain(silent) {
            let came = match &act {
                Do::Open(_) => Came::Opened(vec![Age::New; count]),
                Do::Ask(said, _) => {
                    if let [Saying::Message(n)] = said[..] {
                        prop_assert!(!gone[n]);
                    }
                    if well { keys(key) } else { Came::NotSaid }
                }
                Do::Age(n) | Do::Delete(n) => {
                    prop_assert!(!gone[*n]);
                    gone[*n] |= well && matches!(act, Do::Delete(_));
                    if well { Came::Done } else { Came::NotDone }
                }
                Do::Say(_) => Came::Said,
                Do::HangUp => return Ok(()),
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            act = machine.came(came);
        }
        prop_assert_eq!(act, Do::HangUp);
    }
}
