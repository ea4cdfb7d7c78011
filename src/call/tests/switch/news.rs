//! Events of prompts, recordings and INFO during a call.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::application::{AppEvent, Application, Wants};
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::bus::{Received, Subscriber};
use b2b_call::controller::{DigitPlan, Part, Prompt, RecordingSpec};
use b2b_call::event::{Event, EventFilter, INFO_BODY, InfoSaid};
use b2b_call::handler::{ApplicationHandler, EventFuture, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallService, DialOptions, DialRequest, MediaVerbs};
use b2b_call::{CallId, LegId};
use b2b_sip::endpoint::{Body, Event as SipEvent, InDialog, UsageEvent};
use b2b_sip::msg::Method;
use b2b_testkit::{Handler, Harness, PartyId, SESSION};

use crate::digits::press;
use crate::routed::{ANN, BOB, contacts, recorded, routed, uri};

fn hears(bus: &mut Subscriber) -> Vec<Event> {
    let all = std::iter::from_fn(|| bus.try_recv());
    all.map(|received| match received {
        Received::Event(it) => it.event.clone(),
        Received::Lagged(lost) => panic!("{lost} lost"),
    })
    .collect()
}

fn only(harness: &Harness, word: &str) -> Subscriber {
    harness.bus().subscribe_to(EventFilter::all().of_types(word).unwrap())
}

#[test]
fn a_prompt_is_told_at_its_beginning_and_with_how_it_ended() {
    let plays = |call: IncomingCall, service: CallService| async move {
        service.answer(call.leg).await.expect("an answer");
        let prompt = Prompt::file("welcome.wav");
        service.play(call.leg, &prompt).await.expect("played");
        service.play_and_collect(call.leg, &prompt, &DigitPlan::new(1)).await.expect("collected");
        // The caller hangs up during the prompt.
        let _gone = service.play(call.leg, &prompt).await;
        HandlerAction::Complete
    };
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(Handler(plays))]);
    let mut bus = only(&harness, "playback");
    let ann = harness.party(ANN);
    let a = harness.call(ann, "welcome", Some(SESSION));
    let mut told = || {
        let heard = hears(&mut bus).into_iter();
        let seen = heard.map(|event| match event {
            Event::Playback(it) if it.files == ["welcome.wav"] => (it.number, it.on, it.complete),
            other => panic!("{other:?}"),
        });
        seen.collect::<Vec<_>>()
    };
    harness.settle();
    assert_eq!(told(), [(1, true, None)]);
    harness.run(Duration::from_millis(1_100));
    assert_eq!(told(), [(1, false, Some(true)), (2, true, None)]);
    let endpoint = harness.callers_endpoint();
    harness.press(endpoint, "5");
    harness.settle();
    assert_eq!(told(), [(2, false, None), (3, true, None)]);
    harness.hang_up(ann, a);
    harness.run(Duration::from_secs(1));
    assert_eq!(told(), [(3, false, Some(false))]);
    harness.assert_nothing_left();
}

/// Plays two files, one after the other, and then a tone until the caller hangs up.
struct Speaks(LegId, u8);

impl Application for Speaks {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        if !matches!(event, AppEvent::Begin | AppEvent::Answered { .. }) {
            return;
        }
        match self.1 {
            0 => drop(wants.answer(self.0)),
            1 | 2 => drop(wants.play(self.0, &Prompt::file(format!("{}.wav", self.1)))),
            _ => drop(wants.play(self.0, &Prompt::new(vec![Part::tone(440, Duration::from_secs(60))]))),
        }
        self.1 += 1;
    }
}

struct Menu;

impl ApplicationHandler for Menu {
    fn name(&self) -> &str {
        "menu"
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        Some(Box::new(Speaks(call.leg, 0)))
    }
}

#[test]
fn a_prompt_of_an_application_is_over_before_its_next_one_begins() {
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(Menu)]);
    let mut bus = only(&harness, "playback");
    let ann = harness.party(ANN);
    let a = harness.call(ann, "menu", Some(SESSION));
    harness.run(Duration::from_secs(5));
    harness.hang_up(ann, a);
    harness.run(Duration::from_secs(1));
    let heard = hears(&mut bus).into_iter();
    let told = heard.map(|event| match event {
        Event::Playback(it) => (it.number, it.on, it.files.join(" ")),
        other => panic!("{other:?}"),
    });
    let both = |number, file: &str| [(number, true, file.to_owned()), (number, false, file.to_owned())];
    let expected = [both(1, "1.wav"), both(2, "2.wav"), both(3, "")].concat();
    assert_eq!(told.collect::<Vec<_>>(), expected);
    harness.assert_nothing_left();
}

#[test]
fn a_recording_that_a_program_starts_by_itself_is_told_with_its_number() {
    let (mut harness, ann, a) = recorded();
    let mut bus = only(&harness, "recording");
    let leg = harness.snapshot()[0].legs[0].leg;
    let (service, soon) = (harness.service(), Duration::from_secs(1));
    let mut told = |harness: &mut Harness| {
        harness.run(Duration::from_millis(100));
        let heard = hears(&mut bus).into_iter();
        let seen = heard.map(|event| match event {
            Event::Recording(it) => (it.id, it.leg, it.on, it.file, it.seconds.is_some()),
            other => panic!("{other:?}"),
        });
        seen.collect::<Vec<_>>()
    };
    for (file, is_stopped) in [("one.wav", true), ("two.wav", false)] {
        let spec = RecordingSpec::new(file);
        let id = harness.wait(soon, service.start_recording(leg, &spec)).expect("it starts");
        let file = Some(file.to_owned());
        assert_eq!(told(&mut harness), [(Some(id.0), Some(leg), true, file.clone(), false)]);
        match is_stopped {
            true => drop(harness.wait(soon, service.stop_recording(id)).expect("its end")),
            false => harness.hang_up(ann, a),
        }
        assert_eq!(told(&mut harness), [(Some(id.0), Some(leg), false, file, true)]);
    }
    harness.assert_nothing_left();
}

fn recordings(bus: &mut Subscriber) -> Vec<(Option<LegId>, bool, Option<String>, bool)> {
    let heard = hears(bus).into_iter();
    let told = heard.map(|event| match event {
        Event::Recording(it) => (it.leg, it.on, it.file, it.seconds.is_some()),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn a_recording_is_told_with_its_file_and_is_over_once_that_is_complete() {
    let (mut harness, ann, a) = recorded();
    let mut bus = only(&harness, "recording");
    let (call, leg) = {
        let call = harness.snapshot().remove(0);
        (call.call, call.legs[0].leg)
    };
    let service = harness.service();
    let soon = Duration::from_secs(1);
    harness.wait(soon, service.record_call(call, None)).expect("of the call");
    let [(None, true, Some(of_call), false)] = &recordings(&mut bus)[..] else { panic!("no file") };
    let of_call = of_call.clone();
    harness.wait(soon, service.stop_call_recording(call)).expect("its end");
    assert_eq!(recordings(&mut bus), [(None, false, Some(of_call), true)]);
    // One of each kind ends with the call.
    harness.wait(soon, service.record_call(call, None)).expect("of the call");
    harness.wait(soon, service.record_leg(leg, true)).expect("of the leg");
    let begun = recordings(&mut bus);
    harness.hang_up(ann, a);
    harness.run(soon);
    let mut over = recordings(&mut bus);
    over.sort_unstable_by_key(|(leg, ..)| *leg);
    let expected: Vec<_> = begun.iter().map(|(leg, _, file, _)| (*leg, false, file.clone(), true)).collect();
    assert_eq!((begun.len(), over), (2, expected));
    harness.assert_nothing_left();
}

#[test]
fn recordings_pause_until_the_last_of_several_secrets_is_over() {
    let (mut harness, ann, a) = recorded();
    let call = harness.snapshot().remove(0);
    let (call, legs) = (call.call, [call.legs[0].leg, call.legs[1].leg]);
    let (service, soon) = (harness.service(), Duration::from_secs(1));
    harness.wait(soon, service.record_call(call, None)).expect("of the call");
    harness.wait(soon, service.record_leg(legs[0], true)).expect("of the leg");
    let mut paused = |leg: LegId, on: bool| {
        harness.wait(soon, service.keep_secret(leg, on)).expect("kept");
        let all = harness.media().recordings();
        all.into_iter().map(|(_, it)| it.paused).collect::<Vec<_>>()
    };
    assert_eq!(paused(legs[0], true), [true, true]);
    assert_eq!(paused(legs[0], true), [true, true]);
    assert_eq!(paused(legs[1], true), [true, true]);
    assert_eq!(paused(legs[0], false), [true, true]);
    assert_eq!(paused(legs[0], false), [true, false], "another leg's");
    assert_eq!(paused(legs[1], false), [false, false]);
    assert_eq!(paused(legs[1], false), [false, false], "one too many");
    assert_eq!(paused(legs[1], true), [true, false]);
    // It is over with the leg.
    harness.wait(soon, service.unbridge(legs[0], false)).expect("apart");
    harness.run(soon);
    assert!(!harness.media().recordings()[0].1.paused);
    harness.hang_up(ann, a);
}

#[test]
fn a_recording_that_a_full_disk_ends_is_told_with_why() {
    let (mut harness, ann, a) = recorded();
    let mut bus = only(&harness, "recording");
    let call = harness.snapshot()[0].call;
    let service = harness.service();
    harness.wait(Duration::from_secs(1), service.record_call(call, None)).expect("of the call");
    let recording = harness.media().recordings()[0].0;
    harness.media().end_recording(recording, Some("no space left"));
    harness.run(Duration::from_secs(1));
    let heard = hears(&mut bus);
    let [Event::Recording(_), Event::Recording(over)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((over.on, over.error.as_deref()), (false, Some("no space left")));
    assert!(over.file.as_ref().is_some_and(|file| PathBuf::from(file).starts_with("recordings")), "{over:?}");
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

/// Dials Bob, and subscribes to the call's events.
struct Curious;

impl ApplicationHandler for Curious {
    fn name(&self) -> &str {
        "curious"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
        let request = DialRequest { options, ..DialRequest::to(uri(BOB)) };
        Box::pin(async { HandlerAction::Dial(Box::new(request)) })
    }

    fn wants_events(&self) -> bool {
        true
    }

    fn handle_event(&self, _: CallId, _: Event, _: CallService) -> EventFuture {
        Box::pin(std::future::ready(()))
    }
}

fn status(harness: &mut Harness, party: PartyId) -> Option<u16> {
    harness.take(party).into_iter().find_map(|event| match event {
        SipEvent::Usage { event: UsageEvent::Response { result: Ok(response), .. }, .. } => {
            Some(response.status())
        }
        _ => None,
    })
}

const XML: &str = "application/media_control+xml";

#[test]
fn an_info_that_is_no_digit_is_told_and_taken_where_somebody_hears_of_it() {
    for heard in [false, true] {
        let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
        let mut harness = match heard {
            true => Harness::new(Instant::now(), vec![Arc::new(Curious)]),
            false => routed(contacts(&[(BOB, 0)], options)),
        };
        let mut bus = only(&harness, "info");
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        harness.answer_next(bob, SESSION);
        harness.take(ann);
        press(&mut harness, (ann, a), XML, "<fast_update/>", Vec::new());
        assert_eq!(status(&mut harness, ann), Some(if heard { 200 } else { 415 }));
        let told = hears(&mut bus);
        let [Event::Info(InfoSaid { content_type, body, size, passed_on: false, .. })] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!((content_type.as_str(), body.as_deref(), *size), (XML, Some("<fast_update/>"), 14));
        // A digit is reported as a digit; of an overlong body only the length is reported.
        press(&mut harness, (ann, a), "application/dtmf-relay", "Signal=5\r\n", Vec::new());
        let long: &'static str = "x".repeat(INFO_BODY + 1).leak();
        press(&mut harness, (ann, a), XML, long, Vec::new());
        let told = hears(&mut bus);
        let [Event::Info(InfoSaid { body: None, size, .. })] = &told[..] else { panic!("{told:?}") };
        assert_eq!(*size, long.len());
        harness.hang_up(ann, a);
        harness.assert_nothing_left();
    }
}

#[test]
fn an_info_that_goes_across_is_told_too() {
    let mut harness = routed(contacts(&[(BOB, 0)], DialOptions::default()));
    let mut bus = only(&harness, "info");
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    press(&mut harness, (ann, a), XML, "<fast_update/>", Vec::new());
    let told = hears(&mut bus);
    assert!(matches!(&told[..], [Event::Info(InfoSaid { passed_on: true, .. })]), "{told:?}");
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_party_that_floods_with_infos_makes_few_events_and_each_is_answered() {
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(Curious)]);
    let mut bus = only(&harness, "info,digit");
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.take(ann);
    let begun = harness.now();
    // Ten at once, repeatedly.
    let mut flood = |harness: &mut Harness, kind: &'static str, body: &'static str, times: usize| {
        let mut answers = std::collections::BTreeMap::new();
        for _ in 0..times {
            for _ in 0..10 {
                let body = Body { content_type: kind.into(), data: body.into() };
                let info = InDialog { method: Method::Info, headers: Vec::new(), body: Some(body) };
                let now = harness.now();
                harness.endpoint(ann).request(now, a, info).unwrap();
            }
            harness.settle();
        }
        harness.run(Duration::from_millis(500));
        for event in harness.take(ann) {
            if let SipEvent::Usage { event: UsageEvent::Response { result: Ok(response), .. }, .. } = event {
                *answers.entry(response.status()).or_insert(0) += 1;
            }
        }
        (answers, hears(&mut bus).len())
    };
    let (answers, told) = flood(&mut harness, XML, "<fast_update/>", 50);
    let allowed = 42 + (harness.now() - begun).as_millis() as usize / 100;
    assert!((40..=allowed).contains(&told) && told < 400, "{told}, {allowed} are allowed");
    // Every INFO is answered: one that is dropped may be sent again, and digits are passed on.
    assert_eq!(answers, [(200, told), (503, 500 - told)].into());
    let (digits, more) = flood(&mut harness, "application/dtmf-relay", "Signal=5\r\n", 6);
    assert!(more < 60 && !digits.contains_key(&503), "{more}, {digits:?}");
    assert_eq!(harness.counters().infos_untold as usize, 560 - told - more);
    // The flood is over: INFO is processed again.
    harness.run(Duration::from_secs(10));
    press(&mut harness, (ann, a), XML, "<fast_update/>", Vec::new());
    assert_eq!((status(&mut harness, ann), hears(&mut bus).len()), (Some(200), 1));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}
