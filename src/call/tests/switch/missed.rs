//! Events without effect are counted: late, ignored or impossible ones. No operation waits for ever if its
//! requester is gone when the answer arrives.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::call_fsm::CallState;
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, DialOptions, DialRequest};
use b2b_sip::endpoint::{Event, UsageEvent};
use b2b_testkit::{Handler, Harness, SESSION, Sent};

use crate::hand::{Hand, answered, asked, body, last, nothing_left, talking};
use crate::routed::{ANN, BOB, CAT, contacts, uri};
use crate::transfers::{harness, replacing};

/// Uncounted returns that remain to be fixed, by file.
const LEFT: [(&str, usize); 1] = [("driver/unsent.rs", 1)];

#[test]
fn a_command_for_a_leg_that_is_gone_is_late_and_one_for_what_ends_is_ignored() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    let (service, second) = (harness.service(), Duration::from_secs(1));
    let leg = harness.snapshot()[0].legs.iter().find(|leg| leg.contact.is_none()).unwrap().leg;
    harness.kill(bob);
    let other = harness.snapshot()[0].legs.iter().find(|leg| leg.contact.is_some()).unwrap().leg;
    harness.hang_up(ann, a);
    let before = harness.counters();
    harness.wait(second, service.hangup(other)).unwrap();
    assert_eq!(harness.counters().ignored, before.ignored + 1, "its BYE is under way");
    assert_eq!(harness.counters().late, before.late);
    assert_eq!(harness.wait(second, service.hangup(leg)), Err(CallError::Gone));
    assert_eq!(harness.counters().late, before.late + 1);
    nothing_left(harness);
}

#[test]
fn what_a_handler_decides_on_a_caller_who_has_gone_is_late() {
    let handler = Handler(|_: IncomingCall, service: CallService| async move {
        let _ = service.sleep(Duration::from_secs(3)).await;
        HandlerAction::Dial(Box::new(DialRequest::to(uri(BOB))))
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let ann = harness.party(ANN);
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.cancel(ann, a);
    let before = harness.counters().late;
    harness.run(Duration::from_secs(4));
    assert_eq!((harness.counters().late, harness.counters().dialled), (before + 1, 0));
    nothing_left(harness);
}

#[test]
fn a_newcomer_who_goes_before_the_other_side_agrees_leaves_the_call_as_it_was() {
    for agrees in [true, false] {
        let mut harness = harness(BridgeMode::Intercepting);
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        let invite = replacing(&mut harness, ann, a);
        let c = harness.invite(cat, invite);
        // A CANCEL may not be sent before the 100 (RFC 3261 §9.1).
        harness.run(Duration::from_secs(1));
        harness.cancel(cat, c);
        let late = harness.counters().late;
        if agrees {
            harness.answer(bob, b, Some(SESSION));
            // Bob's answer has no counterpart any more: Bob is offered what Ann supports.
            harness.answer(bob, b, Some(SESSION));
        } else {
            harness.reject(bob, b, 488);
        }
        assert!(harness.counters().late > late);
        assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
        assert_eq!(harness.snapshot()[0].state, CallState::Bridged);
        // Formerly 491 for the rest of the call.
        harness.take(ann);
        harness.refer(ann, a, format!("<{}>", uri(CAT)));
        let taken = harness.take(ann).into_iter().find_map(|event| match event {
            Event::Usage { event: UsageEvent::ReferAnswered { result, .. }, .. } => Some(result),
            _ => None,
        });
        assert_eq!(taken.unwrap().unwrap().status(), 202);
        harness.hang_up(ann, a);
        harness.hang_up(bob, b);
        nothing_left(harness);
    }
}

#[test]
fn an_offer_in_a_2xx_is_answered_though_who_asked_for_it_has_gone() {
    // Ann cancels her re-INVITE, and both stay connected.
    let (mut harness, mut ann, bob) = talking();
    ann.asks(&mut harness, "INVITE", "", "");
    ann.cancels(&mut harness);
    let reinvite = last(&harness, BOB, "INVITE");
    harness.wire.clear();
    bob.says(&mut harness, &reinvite, "200 OK", "", SESSION);
    assert_eq!(asked(&harness, BOB), ["ACK"]);
    assert!(body(&last(&harness, BOB, "ACK")).contains("m=audio"));
    ann.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, ANN, "BYE"), [200]);
    bob.answers(&mut harness, "BYE", "200 OK", "");
    nothing_left(harness);
}

#[test]
fn an_offer_in_a_2xx_is_answered_though_who_asked_for_it_has_hung_up() {
    let handler = Handler(|_: IncomingCall, _: CallService| async {
        let options = DialOptions { auto_hangup: false, ..DialOptions::default() };
        HandlerAction::Dial(Box::new(contacts(&[(BOB, 0)], options)))
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let mut ann = Hand::caller(ANN);
    ann.asks(&mut harness, "INVITE", "", SESSION);
    let mut bob = Hand::callee(&harness, BOB);
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let invite = ann.cseq;
    ann.acks(&mut harness, invite, "");
    ann.asks(&mut harness, "INVITE", "", "");
    let reinvite = last(&harness, BOB, "INVITE");
    ann.asks(&mut harness, "BYE", "", "");
    harness.wire.clear();
    bob.says(&mut harness, &reinvite, "200 OK", "", SESSION);
    assert_eq!(asked(&harness, BOB), ["ACK"]);
    assert!(body(&last(&harness, BOB, "ACK")).contains("m=audio"));
    bob.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, BOB, "BYE"), [200]);
    nothing_left(harness);
}

/// The source files of a folder, without tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false if path.ends_with("tests.rs") || path.extension().is_none_or(|it| it != "rs") => Vec::new(),
        false => vec![path],
    };
    entries.flat_map(of).collect()
}

/// The lines where a `let … else` or an `else` only returns, without a value.
fn silent(text: &str) -> Vec<usize> {
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines: Vec<&str> = production.lines().map(str::trim).collect();
    let is_silent = |at: &usize| {
        let Some((_, rest)) = lines[*at].split_once("else {") else { return false };
        let next = lines[at + 1..].iter().take(2).copied();
        let body: String = std::iter::once(rest).chain(next).flat_map(str::split_whitespace).collect();
        body.starts_with("return}") || body.starts_with("return;}")
    };
    (0..lines.len()).filter(is_silent).map(|at| at + 1).collect()
}

#[test]
fn no_machine_of_the_switch_returns_without_a_word() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("switch");
    let files = sources(&folder);
    assert!(files.len() > 40, "{} files", files.len());
    for file in files {
        let name = file.strip_prefix(&folder).unwrap().to_string_lossy().replace('\\', "/");
        let places = silent(&fs::read_to_string(&file).unwrap());
        let may = LEFT.iter().find(|(file, _)| *file == name).map_or(0, |(_, places)| *places);
        assert!(
            places.len() <= may,
            "{name}:{places:?}: say what it means, by late(), ignored() or impossible() of its counters"
        );
    }
}

#[test]
fn a_silent_return_is_found_in_one_line_and_in_three() {
    let one = "let Some(it) = it else { return };\nlet x = 1;";
    let three = "let Some(it) = it\n    else {\n        return;\n    };";
    assert_eq!((silent(one), silent(three)), (vec![1], vec![2]));
    let counted = "let Some(it) = it else { return self.counters.late() };\nelse {\n    return false;\n}";
    assert!(silent(counted).is_empty());
    assert!(silent("fn it() {}\n#[cfg(test)]\nmod tests {\nlet Some(x) = y else { return };\n").is_empty());
}

#[test]
fn a_bye_that_the_notify_behind_it_overtakes_is_sent_again() {
    let mut harness = harness(BridgeMode::Intercepting);
    let mut ann = Hand::caller(ANN);
    ann.asks(&mut harness, "INVITE", "", SESSION);
    let mut bob = Hand::callee(&harness, BOB);
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let invite = ann.cseq;
    ann.acks(&mut harness, invite, "");
    bob.asks(&mut harness, "REFER", &format!("Refer-To: <{}>\r\n", uri(CAT)), "");
    assert_eq!(answered(&harness, BOB, "REFER"), [202]);
    let cat = Hand::callee(&harness, CAT);
    cat.answers(&mut harness, "INVITE", "180 Ringing", "");
    // Bob learns of the end of the transfer after answering the earlier offer.
    ann.asks(&mut harness, "BYE", "", "");
    cat.answers(&mut harness, "CANCEL", "200 OK", "");
    cat.answers(&mut harness, "INVITE", "487 Request Terminated", "");
    let bye = last(&harness, BOB, "BYE");
    bob.answers(&mut harness, "NOTIFY", "200 OK", "");
    bob.answers(&mut harness, "NOTIFY", "200 OK", "");
    let number = |sent: &Sent| sent.field("CSeq").unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(number(&last(&harness, BOB, "NOTIFY")), number(&bye) + 1, "it goes out behind the BYE");
    bob.says(&mut harness, &bye, "500 Server Internal Error", "", "");
    let again = last(&harness, BOB, "BYE");
    assert_eq!(number(&again), number(&bye) + 2);
    bob.says(&mut harness, &again, "200 OK", "", "");
    nothing_left(harness);
}

#[test]
fn what_went_across_to_who_has_gone_is_refused_in_the_order_in_which_it_came() {
    let (mut harness, mut ann, mut bob) = talking();
    let body = "Content-Type: text/plain\r\n";
    let sent: Vec<String> = (0..6).map(|_| ann.asks(&mut harness, "MESSAGE", body, "hi")).collect();
    bob.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, ANN, "MESSAGE"), [480; 6]);
    let refused = harness.wire.iter().filter(|it| it.line().starts_with("SIP/2.0 480"));
    let refused: Vec<String> = refused.filter_map(|it| it.field("CSeq")).collect();
    assert!(sent.iter().zip(&refused).all(|(sent, cseq)| sent.contains(cseq.as_str())), "{refused:?}");
    ann.answers(&mut harness, "BYE", "200 OK", "");
    nothing_left(harness);
}
