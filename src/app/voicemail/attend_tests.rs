use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::*;
use b2b_base::util::wall::WallClock;
use b2b_call::bus::{Received, Subscriber};
use b2b_call::call_fsm::CallState;
use b2b_call::event::Event;
use b2b_call::handler::{HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::CallService;
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};

/// Sends callers to the application that they have dialled; `1001` is for leaving a message.
struct Door;

impl ApplicationHandler for Door {
    fn name(&self) -> &str {
        "door"
    }

    fn handle_incoming_call(&self, call: IncomingCall, _: CallService) -> HandlerFuture {
        Box::pin(async move {
            HandlerAction::Handle(match call.called().as_str() {
                "1001" => "voicemail/1001".to_owned(),
                _ => VOICEMAIL.to_owned(),
            })
        })
    }
}

/// Records file operations.
#[derive(Default)]
struct Noted {
    done: Mutex<Vec<String>>,
    fails: Mutex<bool>,
}

impl Noted {
    fn note(&self, what: String) -> FileWork {
        let fails = *self.fails.lock().unwrap();
        self.done.lock().unwrap().push(what);
        Box::pin(async move { if fails { Err("the disk is full".to_owned()) } else { Ok(()) } })
    }
}

/// The last three parts of a path.
fn short(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|it| it.as_os_str().to_string_lossy().into_owned()).collect();
    parts[parts.len() - 2..].join("/")
}

impl MessageFiles for Noted {
    fn rename(&self, from: &Path, to: &Path) -> FileWork {
        self.note(format!("{} to {}", short(from), short(to)))
    }

    fn remove(&self, path: &Path) -> FileWork {
        self.note(format!("no {}", short(path)))
    }
}

struct Test {
    harness: Harness,
    boxes: Mailboxes,
    files: Arc<Noted>,
    events: Subscriber,
}

/// One mailbox, 1001 with PIN 4711, with these messages.
fn test(messages: &[(&str, Age)], change: impl FnOnce(&mut VoicemailConfig)) -> Test {
    let mut config = VoicemailConfig::new("/vm");
    for word in Word::ALL {
        config.words.set(*word, format!("{}.wav", word.as_str()));
    }
    config.mailboxes.push(MailboxConfig::new("1001", SecretText::new("4711")));
    change(&mut config);
    let (boxes, files) = (Mailboxes::default(), Arc::new(Noted::default()));
    let message = |(file, age): &(&str, Age)| Message { file: (*file).to_owned(), age: *age };
    boxes.set(["1001"], |_| messages.iter().map(message).collect());
    let now = Instant::now();
    let clock = WallClock::new(now, SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_404_615));
    let mut handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(Door)];
    handlers.extend(applications(config, &boxes, files.clone(), clock));
    let harness = Harness::new(now, handlers);
    let events = harness.bus().subscribe();
    Test { harness, boxes, files, events }
}

impl Test {
    fn calls(&mut self, number: &str) -> (PartyId, UsageId) {
        let ann = self.harness.party("192.0.2.11:5060");
        let usage = self.harness.call(ann, number, Some(SESSION));
        self.harness.settle();
        (ann, usage)
    }

    fn runs(&mut self, ms: u64) {
        self.harness.run(Duration::from_millis(ms));
    }

    fn presses(&mut self, keys: &str) {
        let endpoint = self.harness.callers_endpoint();
        self.harness.press(endpoint, keys);
        self.runs(400);
    }

    fn heard(&self) -> String {
        self.harness.media().heard_words().join(", ").replace(".wav", "").replace(" silence", "")
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut *self.files.done.lock().unwrap())
    }

    /// Application events since the last call: names and data.
    fn told(&mut self) -> Vec<(String, serde_json::Value)> {
        let mut told = Vec::new();
        while let Some(received) = self.events.try_recv() {
            if let Received::Event(published) = received
                && let Event::Application { name, data, .. } = published.event.clone()
            {
                told.push((name, data));
            }
        }
        told
    }

    fn ends(mut self) {
        self.harness.assert_nothing_left();
    }
}

#[test]
fn a_caller_is_greeted_and_what_they_say_behind_the_beep_until_they_hang_up_is_a_new_message() {
    let mut test = test(&[], |_| {});
    let ann = test.calls("1001");
    test.runs(500);
    assert_eq!(test.harness.snapshot()[0].state, CallState::InIvr);
    assert!(test.harness.media().recordings().is_empty(), "nothing of the greeting is recorded");
    test.runs(7_500);
    let (_, recording) = test.harness.media().recordings().remove(0);
    assert_eq!(test.heard(), "greeting, beep");
    assert!(recording.running && !recording.spec.stereo);
    assert_eq!(short(&recording.spec.path).split('/').next(), Some("tmp"));
    assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 0, old: 0 }), "it is not complete");
    test.harness.hang_up(ann.0, ann.1);
    test.runs(100);
    assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 1, old: 0 }));
    let moved = test.done();
    assert_eq!(moved.len(), 1);
    let file = &test.boxes.messages("1001")[0].file;
    assert_eq!(moved[0], format!("tmp/{file} to new/{file}"));
    assert!(file.starts_with("20261123T033015Z-call-") && file.ends_with(".wav"), "{file}");
    let told = test.told();
    let changed = told.iter().find(|(name, _)| name == "mailbox_changed").expect("told");
    assert_eq!(changed.1, serde_json::json!({ "mailbox": "1001", "new": 1, "old": 0 }));
    test.ends();
}

#[test]
fn hash_or_the_longest_time_ends_a_message_and_the_caller_is_told() {
    for hash in [true, false] {
        let mut test = test(&[], |config| config.mailboxes[0].longest = Duration::from_secs(30));
        let ann = test.calls("1001");
        test.runs(4_000);
        if hash {
            test.presses("12#");
        } else {
            test.runs(30_000);
        }
        test.runs(3_000);
        assert_eq!(test.heard(), "greeting, beep, kept goodbye");
        assert!(!test.harness.is_up(ann.0, ann.1));
        assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 1, old: 0 }));
        test.ends();
    }
}

#[test]
fn who_hangs_up_early_says_nothing_or_too_little_leaves_nothing() {
    for at in [0, 500, 1_500, 2_500] {
        let mut test = test(&[], |_| {});
        let ann = test.calls("1001");
        test.runs(at);
        test.harness.hang_up(ann.0, ann.1);
        test.runs(1_000);
        assert_eq!(test.boxes.counts("1001"), Some(Counts::default()), "{at}");
        let removed = test.done();
        assert!(removed.iter().all(|it| it.starts_with("no tmp/")), "{at}: {removed:?}");
        assert_eq!(removed.len(), test.harness.media().recordings().len(), "{at}");
        test.ends();
    }
    let mut test = test(&[], |_| {});
    test.calls("1001");
    test.runs(3_000);
    let (id, _) = test.harness.media().recordings().remove(0);
    test.harness.media().say_little(id, Duration::from_millis(100));
    test.runs(10_000);
    test.harness.media().end_recording(id, None);
    test.runs(3_000);
    assert_eq!(test.heard(), "greeting, beep, not_kept goodbye");
    assert_eq!(test.done().len(), 1);
    assert_eq!(test.boxes.counts("1001"), Some(Counts::default()));
    test.ends();
}

#[test]
fn a_disk_that_is_full_ends_the_message_and_not_the_call() {
    let mut test = test(&[], |_| {});
    let ann = test.calls("1001");
    test.runs(8_000);
    let (id, _) = test.harness.media().recordings().remove(0);
    test.harness.media().end_recording(id, Some("the disk is full"));
    test.runs(200);
    assert!(test.harness.is_up(ann.0, ann.1));
    test.runs(3_000);
    assert_eq!(test.heard(), "greeting, beep, cut goodbye");
    assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 1, old: 0 }));
    test.ends();
}

#[test]
fn without_a_folder_the_caller_is_told_and_the_record_says_why() {
    let mut test = test(&[], |_| {});
    test.harness.media().lose_file("/vm/1001/tmp");
    let ann = test.calls("1001");
    test.runs(5_000);
    assert_eq!(test.heard(), "greeting, beep, not_recorded goodbye");
    assert!(!test.harness.is_up(ann.0, ann.1));
    let records = test.harness.records();
    let shown = format!("{records:?}");
    assert!(shown.contains("voicemail_error") && shown.contains("permission denied"), "{shown}");
    test.ends();
}

#[test]
fn a_full_mailbox_takes_no_more_and_who_is_speaking_counts() {
    let mut test = test(&[("a.wav", Age::Old)], |config| config.mailboxes[0].most = 2);
    let ann = test.calls("1001");
    test.runs(3_000);
    test.heard();
    let bob = test.harness.party("192.0.2.12:5060");
    let b = test.harness.call(bob, "1001", Some(SESSION));
    test.runs(3_000);
    assert_eq!(test.heard(), "full goodbye");
    assert!(!test.harness.is_up(bob, b) && test.harness.is_up(ann.0, ann.1));
    test.harness.hang_up(ann.0, ann.1);
    test.runs(1_000);
    assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 1, old: 1 }));
    test.ends();
}

#[test]
fn a_stranger_names_the_mailbox_and_the_pin_and_hears_new_messages_first() {
    let mut test = test(&[("1.wav", Age::Old), ("2.wav", Age::New), ("3.wav", Age::New)], |_| {});
    let ann = test.calls("vm");
    test.runs(200);
    test.presses("1001#4711#");
    test.runs(60_000);
    let heard = test.heard();
    let said = "ask_mailbox, ask_pin, you_have tone 880 tone 880 new_messages tone 440 old_messages, \
                2, choices, 3, choices, 1, choices, no_more goodbye";
    assert_eq!(heard, said);
    assert_eq!(test.done(), ["new/2.wav to old/2.wav", "new/3.wav to old/3.wav"]);
    assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 0, old: 3 }));
    assert!(!test.harness.is_up(ann.0, ann.1));
    let changes = test.told().into_iter().filter(|(name, _)| name == "mailbox_changed").count();
    assert_eq!(changes, 2);
    test.ends();
}

#[test]
fn three_wrong_pins_are_the_end_and_no_event_has_one() {
    let mut test = test(&[], |_| {});
    let ann = test.calls("vm");
    for pin in ["1234#", "4712#", "47110#"] {
        test.runs(1_000);
        test.presses("1001#");
        test.presses(pin);
    }
    test.runs(4_000);
    assert!(!test.harness.is_up(ann.0, ann.1));
    assert!(test.heard().ends_with("wrong goodbye"));
    let told = test.told();
    assert_eq!(told.iter().filter(|(name, _)| name == "wrong_pin").count(), 3, "{told:?}");
    let shown = format!("{told:?}");
    assert!(!["1234", "4712", "47110"].iter().any(|pin| shown.contains(pin)), "{shown}");
    test.ends();
}

#[test]
fn messages_are_skipped_repeated_and_deleted_and_a_message_without_a_file_is_passed_over() {
    let mut test = test(&[("1.wav", Age::New), ("2.wav", Age::New), ("3.wav", Age::New)], |_| {});
    test.harness.media().lose_file("/vm/1001/new/1.wav");
    test.calls("vm");
    test.runs(200);
    test.presses("1001#4711#");
    // The key skips the counts.
    test.presses("0");
    assert!(test.heard().ends_with("2"));
    test.presses("1");
    test.presses("2");
    test.presses("3");
    test.runs(5_000);
    assert_eq!(test.heard(), "2, 3, deleted, no_more goodbye");
    assert_eq!(test.done(), ["new/2.wav to old/2.wav", "no new/3.wav"]);
    assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 1, old: 1 }));
    test.ends();
}

#[test]
fn prompts_that_are_missing_are_passed_over() {
    let mut test = test(&[("1.wav", Age::New)], |_| {});
    for word in ["ask_mailbox", "ask_pin", "you_have", "choices", "goodbye"] {
        test.harness.media().lose_file(format!("{word}.wav"));
    }
    let ann = test.calls("vm");
    test.runs(100);
    test.presses("1001#4711#");
    test.runs(20_000);
    assert_eq!(test.heard(), "tone 880, new_messages, 1, no_more");
    assert!(!test.harness.is_up(ann.0, ann.1));
    let mut test = self::test(&[], |_| {});
    test.harness.media().lose_file("greeting.wav");
    test.calls("1001");
    test.runs(3_000);
    assert_eq!(test.heard(), "beep");
    assert_eq!(test.harness.media().recordings().len(), 1);
}

#[test]
fn what_the_disk_refuses_is_told_and_stays() {
    let mut test = test(&[("1.wav", Age::New)], |_| {});
    *test.files.fails.lock().unwrap() = true;
    test.calls("vm");
    test.runs(100);
    test.presses("1001#4711#");
    test.presses("0");
    test.presses("3");
    test.runs(5_000);
    assert!(test.heard().ends_with("not_done, no_more goodbye"));
    assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 1, old: 0 }));
    test.ends();
}

#[test]
fn hanging_up_at_any_moment_leaves_nothing_behind() {
    for ms in (0..9_000).step_by(300) {
        let mut test = test(&[("1.wav", Age::New), ("2.wav", Age::New)], |_| {});
        let ann = test.calls("vm");
        test.runs(100);
        test.presses("1001#4711#");
        test.runs(ms);
        test.harness.hang_up(ann.0, ann.1);
        test.ends();
    }
}

#[test]
fn an_owner_is_known_by_any_of_their_names() {
    let mut config = VoicemailConfig::new("/vm");
    let users = vec!["1001".to_owned(), "alice".to_owned()];
    config.mailboxes.push(MailboxConfig { users, ..MailboxConfig::new("1001", SecretText::new("4711")) });
    let house = House {
        pins: Pins::default(),
        mailboxes: Mailboxes::default(),
        files: Arc::new(Noted::default()),
        clock: WallClock::new(Instant::now(), SystemTime::UNIX_EPOCH),
        config,
    };
    for user in ["1001", "alice", "alice@b2b.example"] {
        assert_eq!(house.owner(user).as_deref(), Some("1001"), "{user}");
    }
    assert_eq!(house.owner("bob"), None);
}
