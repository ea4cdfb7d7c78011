use std::collections::BTreeSet;
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

/// Records file operations, and has the names of messages.
#[derive(Default)]
struct Noted {
    done: Mutex<Vec<String>>,
    fails: Mutex<bool>,
    /// Nothing answers any more, and whether the next operation is still carried out.
    hangs: Mutex<Option<bool>>,
    disk: Mutex<BTreeSet<String>>,
}

impl Noted {
    fn note(&self, what: String, from: &str, to: Option<String>) -> FileWork {
        let fails = *self.fails.lock().unwrap();
        self.done.lock().unwrap().push(what);
        let hangs = *self.hangs.lock().unwrap();
        if !fails && hangs != Some(false) {
            let mut disk = self.disk.lock().unwrap();
            // What is recorded is there without being noted.
            if !disk.remove(from) && !from.starts_with(COMING) {
                return Box::pin(async { Err("there is no such file".to_owned()) });
            }
            disk.extend(to);
        }
        match (fails, hangs) {
            (_, Some(_)) => Box::pin(std::future::pending()),
            (true, _) => Box::pin(async { Err("the disk is full".to_owned()) }),
            (false, None) => Box::pin(async { Ok(()) }),
        }
    }
}

/// The last three parts of a path.
fn short(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|it| it.as_os_str().to_string_lossy().into_owned()).collect();
    parts[parts.len() - 2..].join("/")
}

impl MessageFiles for Noted {
    fn rename(&self, from: &Path, to: &Path) -> FileWork {
        self.note(format!("{} to {}", short(from), short(to)), &short(from), Some(short(to)))
    }

    fn remove(&self, path: &Path) -> FileWork {
        self.note(format!("no {}", short(path)), &short(path), None)
    }
}

struct Test {
    harness: Harness,
    config: VoicemailConfig,
    clock: WallClock,
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
    let files = Arc::new(Noted::default());
    let named = |(file, age): &(&str, Age)| format!("{}/{file}", age.folder());
    files.disk.lock().unwrap().extend(messages.iter().map(named));
    let now = Instant::now();
    let clock = WallClock::new(now, SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_404_615));
    let (boxes, handlers) = program(&config, &files, clock);
    let harness = Harness::new(now, handlers);
    let events = harness.bus().subscribe();
    Test { harness, config, clock, boxes, files, events }
}

/// The mailboxes and handlers of a process that starts.
fn program(
    config: &VoicemailConfig,
    files: &Arc<Noted>,
    clock: WallClock,
) -> (Mailboxes, Vec<Arc<dyn ApplicationHandler>>) {
    let boxes = Mailboxes::default();
    let message = |name: &String| {
        let (folder, file) = name.split_once('/')?;
        let age = [Age::New, Age::Old].into_iter().find(|age| age.folder() == folder)?;
        Some(Message { file: file.to_owned(), age })
    };
    boxes.set(["1001"], |_| files.disk.lock().unwrap().iter().filter_map(message).collect());
    let mut handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(Door)];
    handlers.extend(applications(config.clone(), &boxes, files.clone(), clock));
    (boxes, handlers)
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

    /// The server dies, and the next one goes on: what was being recorded is a new message there, if it is long enough.
    fn dies(&mut self) {
        // What is on the wire comes before the folder is read.
        self.harness.settle();
        for (_, it) in self.harness.media().recordings() {
            let file = it.spec.path.file_name().unwrap().to_string_lossy().into_owned();
            let mut disk = self.files.disk.lock().unwrap();
            let is_kept =
                [Age::New, Age::Old].iter().any(|age| disk.contains(&format!("{}/{file}", age.folder())));
            let done = self.files.done.lock().unwrap();
            let is_removed =
                done.contains(&format!("no tmp/{file}")) && *self.files.hangs.lock().unwrap() != Some(false);
            if !is_kept && !is_removed && it.lasts >= SHORTEST {
                disk.insert(format!("new/{file}"));
            }
            disk.remove(&format!("tmp/{file}"));
        }
        *self.files.hangs.lock().unwrap() = None;
        let handlers;
        (self.boxes, handlers) = program(&self.config, &self.files, self.clock);
        self.harness.dies(handlers);
    }

    fn disk(&self) -> Vec<String> {
        self.files.disk.lock().unwrap().iter().cloned().collect()
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

/// A caller leaves a message, between 2 and 8 s; the server dies at these times, in ms. What is there at the end, and how
/// long the message lasts.
fn leaves(died: &[u64], hangs_up: bool, coding: Coding) -> (String, f64) {
    let mut test = test(&[], |config| config.coding = coding);
    let mut call = None;
    for ms in (0..15_000).step_by(50) {
        match ms {
            0 => call = Some(test.calls("1001")),
            8_000 if hangs_up => call.iter().for_each(|(ann, call)| test.harness.hang_up(*ann, *call)),
            8_000 => {
                let endpoint = test.harness.callers_endpoint();
                test.harness.press(endpoint, "#");
            }
            _ => {}
        }
        if died.contains(&ms) {
            test.dies();
        }
        test.runs(50);
    }
    let told = test.told();
    let count = |wanted: &str| told.iter().filter(|(name, _)| name == wanted).count();
    let (messages, failures) = (count("message"), count("failed"));
    let lasts = told.iter().find_map(|(_, data)| data.get("lasts_s")?.as_f64());
    let (boxes, disk) = (test.boxes.messages("1001"), test.disk());
    assert!(test.harness.snapshot().is_empty(), "{died:?}");
    test.ends();
    (format!("{messages} {failures} {boxes:?} {disk:?}"), lasts.unwrap_or_default())
}

#[test]
fn a_message_is_left_whole_and_once_whenever_the_server_dies() {
    for (hangs_up, coding) in [(false, Coding::Pcm), (true, Coding::Gsm)] {
        let (lives, lasts) = leaves(&[], hangs_up, coding);
        assert!(lives.starts_with("1 0 [Message") && (5.5..6.5).contains(&lasts), "{lives} {lasts}");
        for ms in (0..11_000).step_by(150) {
            // A caller who has hung up has no call that goes on.
            if hangs_up && ms >= 8_000 {
                continue;
            }
            for died in [&[ms][..], &[ms, ms + 1_500]] {
                let (goes_on, lasts) = leaves(died, hangs_up, coding);
                assert_eq!(goes_on, lives, "it has died after {died:?} ms");
                // The greeting and the beep are heard whole, and less than a second is not kept.
                assert!((4.4..6.6).contains(&lasts), "{lasts} s after {died:?} ms");
            }
        }
    }
}

#[test]
fn a_message_in_ogg_is_two_when_the_server_dies() {
    let (goes_on, lasts) = leaves(&[5_000], false, Coding::Opus);
    assert!(goes_on.starts_with("1 0 ") && (2.5..3.5).contains(&lasts), "{goes_on} {lasts}");
    assert_eq!(goes_on.matches("new/").count(), 2, "{goes_on}");
}

#[test]
fn a_message_is_kept_or_discarded_once_although_the_server_dies_meanwhile() {
    for (spoken, carried_out) in [(9_000, false), (9_000, true), (100, false), (100, true)] {
        let mut test = test(&[], |_| {});
        test.calls("1001");
        test.runs(5_000);
        let (id, _) = test.harness.media().recordings().remove(0);
        test.harness.media().say_little(id, Duration::from_millis(spoken));
        *test.files.hangs.lock().unwrap() = Some(carried_out);
        test.presses("#");
        test.dies();
        test.runs(3_000);
        let (kept, word) = if spoken > 200 { (1, "kept goodbye") } else { (0, "not_kept goodbye") };
        assert_eq!(test.heard(), format!("greeting, beep, {word}"), "{carried_out}");
        assert_eq!(
            (test.boxes.counts("1001").unwrap().new, test.disk().len()),
            (kept, kept),
            "{carried_out}"
        );
        let told: Vec<_> = test.told().into_iter().map(|it| it.0).collect();
        let count = |wanted: &str| told.iter().filter(|name| *name == wanted).count();
        assert_eq!((count("message"), count("discarded"), count("failed")), (kept, 1 - kept, 0), "{told:?}");
        test.ends();
    }
}

#[test]
fn a_caller_who_hangs_up_while_the_message_is_taken_back_has_left_it() {
    let mut test = test(&[], |_| {});
    let ann = test.calls("1001");
    test.runs(5_000);
    // Nothing can be renamed for now.
    *test.files.fails.lock().unwrap() = true;
    test.dies();
    *test.files.fails.lock().unwrap() = false;
    test.runs(2_000);
    test.harness.hang_up(ann.0, ann.1);
    test.runs(1_000);
    assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 2, old: 0 }), "each part is one");
    assert_eq!(test.disk().len(), 2);
    test.ends();
}

#[test]
fn an_owner_is_at_the_same_place_of_the_mailbox_whenever_the_server_dies() {
    let keys = ["1001#", "1#", "1001#", "4711#", "0", "5", "2", "4", "6", "3", "0", "7", "0", "9"];
    let hears = |died: &dyn Fn(usize) -> bool| {
        let messages = [("1.wav", Age::Old), ("2.wav", Age::New), ("3.wav", Age::New), ("4.wav", Age::New)];
        let mut test = test(&messages, |_| {});
        for (file, age) in
            [("1", "old"), ("2", "new"), ("2", "old"), ("3", "new"), ("3", "old"), ("4", "new")]
        {
            let lasts = Duration::from_secs(99);
            test.harness.media().set_length(format!("/vm/1001/{age}/{file}.wav"), lasts);
        }
        let ann = test.calls("vm");
        test.runs(200);
        let mut all = Vec::new();
        for (n, keys) in keys.into_iter().enumerate() {
            test.presses(keys);
            let told: Vec<_> = test.told().into_iter().map(|(name, data)| format!("{name} {data}")).collect();
            let heard = test.heard();
            all.push(format!("{heard} {told:?} {:?} {:?}", test.done(), test.boxes.messages("1001")));
            if died(n) {
                test.dies();
                assert_eq!(test.told(), [], "{keys}");
                // What is being played is played again; of several words the last ones.
                let again = test.heard();
                assert!(heard.ends_with(&again) && !again.is_empty(), "{keys}: {again}");
            }
        }
        test.runs(1_000);
        assert!(!test.harness.is_up(ann.0, ann.1));
        test.ends();
        all
    };
    let lives = hears(&|_| false);
    assert!(lives[3].starts_with("you_have") && lives[4].starts_with('2'), "{lives:?}");
    for (n, keys) in keys.iter().enumerate() {
        assert_eq!(hears(&|it| it == n), lives, "it has died after {keys}");
    }
    assert_eq!(hears(&|_| true), lives, "it dies all the time");
}

#[test]
fn three_wrong_pins_are_the_end_although_the_server_dies_after_each() {
    let mut test = test(&[("1.wav", Age::New)], |_| {});
    let ann = test.calls("vm");
    test.runs(200);
    for _ in 0..3 {
        test.presses("1001#");
        test.dies();
        test.presses("4712#");
        test.dies();
    }
    test.runs(3_000);
    assert!(!test.harness.is_up(ann.0, ann.1) && !test.heard().contains("you_have"));
    assert_eq!(test.told().iter().filter(|(name, _)| name == "wrong_pin").count(), 3);
    test.ends();
}

#[test]
fn a_message_is_deleted_or_becomes_old_once_although_the_server_dies_meanwhile() {
    for (key, carried_out) in [("3", false), ("3", true), ("2", false), ("2", true)] {
        let mut test = test(&[("1.wav", Age::New), ("2.wav", Age::New)], |_| {});
        test.calls("vm");
        test.runs(200);
        test.presses("1001#4711#");
        test.presses("0");
        test.harness.media().set_length("/vm/1001/new/2.wav", Duration::from_secs(99));
        *test.files.hangs.lock().unwrap() = Some(carried_out);
        test.presses(key);
        test.dies();
        assert_eq!(test.told().iter().filter(|(name, _)| name == "deleted").count(), usize::from(key == "3"));
        test.runs(1_200);
        let heard = test.heard();
        assert!(
            heard.ends_with(if key == "3" { "1, deleted, 2" } else { "1, 2" }),
            "{key} {carried_out}: {heard}"
        );
        let old = usize::from(key == "2");
        assert_eq!(test.boxes.counts("1001"), Some(Counts { new: 1, old }), "{key} {carried_out}");
        let disk = if key == "3" { vec!["new/2.wav"] } else { vec!["new/2.wav", "old/1.wav"] };
        assert_eq!(test.disk(), disk, "{key} {carried_out}");
        test.harness.hang_up_all();
        test.ends();
    }
}
