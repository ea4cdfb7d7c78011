//! Menu trees over calls in virtual time: every kind of node, each exit, and a caller who hangs up at each
//! step.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Prompts;
use crate::ivr::builder::{FlowBuilder, ask, says};
use crate::ivr::flow::Does;
use crate::ivr::{Ask, AskUrl, Ivr, IvrFlow, UrlAnswer, UrlQuestion};
use b2b_call::bus::{Received, Subscriber};
use b2b_call::call_fsm::CallState;
use b2b_call::controller::{DigitPlan, EndpointId};
use b2b_call::event::Event;
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallService, Place};
use b2b_testkit::{Harness, PartyId, SESSION};

const ANN: &str = "192.0.2.11:5060";
const BOB: &str = "192.0.2.12:5060";
const TO_BOB: &str = "sip:bob@192.0.2.12";

/// Sends every call to the tree.
struct First;

impl ApplicationHandler for First {
    fn name(&self) -> &str {
        "first"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        Box::pin(async { HandlerAction::Handle("ivr/x".to_owned()) })
    }
}

/// Another application, in which callers stay until they hang up.
struct Queue;

impl ApplicationHandler for Queue {
    fn name(&self) -> &str {
        "queue/sales"
    }

    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Box::pin(async move {
            let entered = service.enter(call.call, Place::Queue).await;
            let _ended = service.wait_for_termination(call.leg).await;
            if entered.is_err() { HandlerAction::Disconnect } else { HandlerAction::Complete }
        })
    }
}

/// A URL with this answer, or none.
#[derive(Default)]
struct Url {
    answers: Option<Result<String, String>>,
    asked: Arc<Mutex<Vec<(String, serde_json::Value)>>>,
}

impl AskUrl for Url {
    fn ask(&self, question: UrlQuestion) -> UrlAnswer {
        let body = serde_json::from_slice(&question.body).expect("JSON");
        self.asked.lock().unwrap().push((question.url, body));
        match self.answers.clone() {
            Some(answer) => Box::pin(std::future::ready(answer.map(String::into_bytes))),
            None => Box::pin(std::future::pending()),
        }
    }
}

fn tree() -> FlowBuilder {
    IvrFlow::builder("x")
}

fn harness_with(flow: FlowBuilder, url: Option<Url>) -> Harness {
    Harness::new(Instant::now(), program(flow, url))
}

fn program(flow: FlowBuilder, url: Option<Url>) -> Vec<Arc<dyn ApplicationHandler>> {
    let prompts = Prompts::new("/p");
    let flow = flow.build().unwrap_or_else(|error| panic!("{error}"));
    let mut ivr = Ivr::new(flow, prompts);
    if let Some(url) = url {
        ivr = ivr.with_urls(Arc::new(url));
    }
    // The tree is only selected by name.
    vec![Arc::new(First), Arc::new(ivr), Arc::new(Queue)]
}

/// Ann calls a tree whose files are one second long each.
fn called(flow: FlowBuilder) -> (Harness, PartyId, EndpointId) {
    let mut harness = harness_with(flow, None);
    let ann = harness.party(ANN);
    harness.call(ann, "x", Some(SESSION));
    let endpoint = harness.callers_endpoint();
    (harness, ann, endpoint)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The name and value of a variable of the only call.
fn variable(harness: &Harness, name: &str) -> Option<String> {
    let call = harness.snapshot().into_iter().next()?;
    call.variables.into_iter().find(|(it, _)| it == name).map(|(_, value)| value)
}

fn menu() -> FlowBuilder {
    let ask = Ask {
        no_input_prompt: says(&["still-there.wav"]),
        invalid_prompt: says(&["wrong.wav"]),
        no_input: Some("bye".into()),
        invalid: Some("operator".into()),
        ..ask("menu.wav", DigitPlan::new(1))
    };
    tree()
        .play_prompt("hello", &["hello.wav"], Some("menu"))
        .menu_with("menu", ask, &[("1", "sales"), ("2", "operator"), ("3", "bye")])
        .queue("sales", "sales")
        .transfer("operator", TO_BOB, Some("bye"))
        .play_prompt("bye", &["bye.wav"], None)
}

#[test]
fn a_caller_hears_presses_and_is_in_the_queue() {
    let (mut harness, _, endpoint) = called(menu());
    let call = harness.snapshot().remove(0);
    assert_eq!((call.state, call.application.as_deref()), (CallState::InIvr, Some("ivr/x")));
    assert_eq!(harness.media().heard_words(), ["hello.wav"]);
    harness.run(seconds(1));
    assert_eq!(harness.media().heard_words(), ["menu.wav"]);
    harness.press(endpoint, "1");
    let call = harness.snapshot().remove(0);
    assert_eq!((call.state, call.application.as_deref()), (CallState::InQueue, Some("queue/sales")));
    assert_eq!(variable(&harness, "digits").as_deref(), Some("1"));
    assert_eq!(variable(&harness, "ivr").as_deref(), Some("x"));
    harness.hang_up_all();
    harness.assert_nothing_left();
}

/// The events of a tree: the name, the node, and the action or the pressed key.
fn told(bus: &mut Subscriber) -> Vec<String> {
    let all = std::iter::from_fn(|| bus.try_recv());
    let told = all.filter_map(|received| match received {
        Received::Event(it) => match &it.event {
            Event::Application { call: Some(_), app, name, data } if app == "ivr/x" => {
                let last = data["does"].as_str().or(data["key"].as_str()).or(data["error"].as_str());
                Some(format!("{name} {} {}", data["node"].as_str()?, last.unwrap_or("-")))
            }
            _ => None,
        },
        Received::Lagged(_) => None,
    });
    told.collect()
}

#[test]
fn each_node_and_each_choice_is_told_and_no_secret() {
    let secret = ask("pin.wav", DigitPlan { secret: true, ..DigitPlan::new(4) });
    let flow = tree()
        .menu("menu", "menu.wav", &[("1", "ask")])
        .collect_input("ask", secret, "pin", 4, Some("bye"))
        .play_prompt("bye", &["bye.wav"], None);
    let mut harness = harness_with(flow, None);
    let mut bus = harness.bus().subscribe();
    let ann = harness.party(ANN);
    harness.call(ann, "x", Some(SESSION));
    let endpoint = harness.callers_endpoint();
    assert_eq!(told(&mut bus), ["node menu asks"]);
    harness.press(endpoint, "2");
    assert_eq!(told(&mut bus), ["node menu asks"], "a wrong one is no choice");
    harness.press(endpoint, "1");
    assert_eq!(told(&mut bus), ["choice menu 1", "node ask asks"]);
    assert_eq!(variable(&harness, "ivr_node").as_deref(), Some("ask"));
    harness.press(endpoint, "4711");
    assert_eq!(told(&mut bus), ["choice ask -", "node bye plays"]);
    harness.run(seconds(2));
    assert_eq!(told(&mut bus), ["node bye hangs up"]);
    harness.assert_nothing_left();
}

#[test]
fn who_says_nothing_is_asked_three_times_and_hung_up_with_a_word() {
    let (mut harness, _, _) = called(menu());
    harness.run(seconds(1 + 3 * 5 + 1 + 2 * 2 + 1));
    let heard = harness.media().heard_words();
    assert_eq!(
        heard,
        ["hello.wav", "menu.wav", "still-there.wav menu.wav", "still-there.wav menu.wav", "bye.wav"]
    );
    harness.run(seconds(2));
    assert!(harness.snapshot().is_empty());
    harness.assert_nothing_left();
}

#[test]
fn wrong_digits_lead_to_the_operator_after_three_tries() {
    let (mut harness, ann, endpoint) = called(menu());
    let bob = harness.party(BOB);
    harness.run(seconds(1));
    for _ in 0..3 {
        harness.press(endpoint, "9");
    }
    let heard = harness.media().heard_words();
    assert_eq!(heard[..4], ["hello.wav", "menu.wav", "wrong.wav menu.wav", "wrong.wav menu.wav"]);
    assert_eq!(heard[4], "tone 425 silence", "it rings while Bob is called");
    assert!(harness.media().is_playing(endpoint));
    harness.answer_next(bob, SESSION);
    assert!(!harness.media().is_playing(endpoint));
    let call = harness.snapshot().remove(0);
    assert_eq!((call.state, call.application), (CallState::Bridged, None));
    assert_eq!(harness.media().bridges().len(), 1);
    harness.kill(ann);
    harness.hang_up_all();
    harness.assert_nothing_left();
}

#[test]
fn a_transfer_that_fails_leads_on_and_says_why() {
    for (status, rings) in [(Some(486), false), (None, true)] {
        let flow = tree()
            .transfer("dial", TO_BOB, Some("why"))
            .branch("why", "${transfer_status}", &[("486", "busy"), ("408", "late")], None)
            .play_prompt("busy", &["busy.wav"], None)
            .play_prompt("late", &["late.wav"], None);
        let mut harness = harness_with(flow, None);
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        harness.call(ann, "x", Some(SESSION));
        let call = harness.next_call(bob);
        let endpoint = harness.callers_endpoint();
        if rings {
            harness.ring(bob, call, 180, None);
            harness.run(seconds(30));
        }
        if let Some(status) = status {
            harness.reject(bob, call, status);
        }
        let heard = harness.media().heard_words();
        let word = if rings { "late.wav" } else { "busy.wav" };
        assert_eq!(heard, ["tone 425 silence", word]);
        assert!(harness.media().is_playing(endpoint));
        harness.run(seconds(2));
        assert!(harness.snapshot().is_empty());
        harness.assert_nothing_left();
    }
}

#[test]
fn what_a_target_sends_before_it_answers_takes_the_place_of_the_ringing_unless_that_is_not_wanted() {
    for wanted in [true, false] {
        let flow = tree().transfer("dial", TO_BOB, None);
        let prompts = Prompts::new("/p");
        let mut flow = flow.build().unwrap_or_else(|error| panic!("{error}"));
        for node in &mut flow.nodes {
            if let Does::Transfer { early_media, .. } = &mut node.does {
                *early_media = wanted;
            }
        }
        let handlers: Vec<Arc<dyn ApplicationHandler>> =
            vec![Arc::new(First), Arc::new(Ivr::new(flow, prompts))];
        let mut harness = Harness::new(Instant::now(), handlers);
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        harness.call(ann, "x", Some(SESSION));
        let call = harness.next_call(bob);
        let endpoint = harness.callers_endpoint();
        harness.ring(bob, call, 180, None);
        harness.run(seconds(1));
        assert!(harness.media().is_playing(endpoint), "it rings");
        harness.ring(bob, call, 183, Some(SESSION));
        harness.run(seconds(1));
        assert_eq!(harness.media().is_playing(endpoint), !wanted);
        assert_eq!(harness.media().bridges().len(), 1, "they are joined");
        harness.answer(bob, call, Some(SESSION));
        harness.run(seconds(1));
        assert!(!harness.media().is_playing(endpoint));
        harness.hang_up_all();
        harness.assert_nothing_left();
    }
}

#[test]
fn digits_are_said_again_and_dialled() {
    let (mut harness, _, endpoint) = called(
        tree()
            .collect_input("ext", ask("extension.wav", DigitPlan::new(4)), "ext", 2, Some("say"))
            .play_prompt("say", &["you-want.wav", "digits:${ext}"], Some("dial"))
            .transfer("dial", "sip:1001@192.0.2.12", None),
    );
    let bob = harness.party(BOB);
    harness.press(endpoint, "12#");
    assert_eq!(harness.media().heard_words(), ["extension.wav", "you-want.wav 1.wav 2.wav"]);
    assert_eq!(variable(&harness, "ext").as_deref(), Some("12"));
    harness.run(seconds(3));
    harness.answer_next(bob, SESSION);
    assert_eq!(harness.snapshot().remove(0).state, CallState::Bridged);
    harness.hang_up_all();
    harness.assert_nothing_left();
}

#[test]
fn a_caller_who_hangs_up_at_any_moment_leaves_nothing() {
    // Every tenth of a second of: greeting, menu, a wrong key, a right one, ringing, joined.
    for moment in 0..40 {
        let mut harness = harness_with(menu(), None);
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "x", Some(SESSION));
        let mut answered = false;
        for tenth in 0..moment {
            let endpoint = harness.callers_endpoint();
            match tenth {
                12 => harness.press(endpoint, "9"),
                20 => harness.press(endpoint, "2"),
                30 => {
                    harness.answer_next(bob, SESSION);
                    answered = true;
                }
                _ => harness.run(Duration::from_millis(100)),
            }
        }
        assert_eq!(harness.media().bridges().len(), usize::from(answered));
        harness.hang_up(ann, a);
        harness.run(seconds(1));
        assert!(harness.snapshot().is_empty(), "after {moment} tenths");
        harness.assert_nothing_left();
    }
}

#[test]
fn a_caller_who_gives_up_before_the_answer_to_our_offer_leaves_nothing() {
    let mut harness = harness_with(menu(), None);
    let ann = harness.party(ANN);
    harness.call(ann, "x", None);
    harness.kill(ann);
    harness.run(seconds(40));
    assert!(harness.snapshot().is_empty());
    assert!(harness.media().heard().is_empty());
    harness.assert_nothing_left();
}

#[test]
fn a_prompt_that_is_missing_is_passed_over_and_told() {
    let mut harness = harness_with(menu(), None);
    harness.media().lose_file("/p/hello.wav");
    let mut events = harness.bus().subscribe();
    let ann = harness.party(ANN);
    harness.call(ann, "x", Some(SESSION));
    assert_eq!(harness.media().heard_words(), ["menu.wav"]);
    let told =
        std::iter::from_fn(|| events.try_recv()).any(|event| format!("{event:?}").contains("/p/hello.wav"));
    assert!(told, "nobody is told");
    harness.hang_up_all();
    harness.assert_nothing_left();
}

fn asking() -> FlowBuilder {
    tree()
        .http("ask", "http://crm/next?n=${caller}", Some("usual"), Some("down"))
        .play_prompt("usual", &["usual.wav"], None)
        .play_prompt("vip", &["vip.wav"], None)
        .play_prompt("down", &["down.wav"], None)
}

#[test]
fn a_url_is_asked_with_the_variables_and_says_where_it_goes_on() {
    for (answer, heard) in [
        (Ok(r#"{"next":"vip","variables":{"level":3}}"#), "vip.wav"),
        (Ok("{}"), "usual.wav"),
        (Ok(r#"{"next":"none"}"#), "down.wav"),
        (Ok("<html>"), "down.wav"),
        (Err("refused"), "down.wav"),
    ] {
        let answers = answer.map(str::to_owned).map_err(str::to_owned);
        let url = Url { answers: Some(answers), ..Url::default() };
        let asked = url.asked.clone();
        let mut harness = harness_with(asking(), Some(url));
        let ann = harness.party(ANN);
        harness.call(ann, "x", Some(SESSION));
        assert_eq!(harness.media().heard_words(), [heard], "{answer:?}");
        let asked = asked.lock().unwrap().pop().expect("a question");
        assert_eq!(asked.0, "http://crm/next?n=party1");
        assert_eq!(asked.1["variables"]["called"], "x");
        assert_eq!((asked.1["ivr"].as_str(), asked.1["node"].as_str()), (Some("x"), Some("ask")));
        assert_eq!(
            variable(&harness, "level").as_deref(),
            answer.ok().filter(|it| it.contains("vip")).map(|_| "3")
        );
        harness.hang_up_all();
        harness.assert_nothing_left();
    }
}

#[test]
fn a_url_that_does_not_answer_is_given_up_in_time_and_a_caller_may_go_meanwhile() {
    let mut harness = harness_with(asking(), Some(Url::default()));
    let ann = harness.party(ANN);
    harness.call(ann, "x", Some(SESSION));
    harness.run(Duration::from_millis(4_800));
    assert!(harness.media().heard().is_empty());
    harness.run(Duration::from_millis(300));
    assert_eq!(harness.media().heard_words(), ["down.wav"]);
    harness.run(seconds(2));
    let a = harness.call(ann, "x", Some(SESSION));
    harness.run(seconds(1));
    harness.hang_up(ann, a);
    harness.run(seconds(6));
    assert!(harness.media().heard().is_empty());
    harness.assert_nothing_left();
}

#[test]
fn without_somebody_who_asks_urls_the_node_fails() {
    let mut harness = harness_with(asking(), None);
    let mut bus = harness.bus().subscribe();
    let ann = harness.party(ANN);
    harness.call(ann, "x", Some(SESSION));
    assert_eq!(harness.media().heard_words(), ["down.wav"]);
    let told = told(&mut bus);
    let failed = told.iter().find(|it| it.starts_with("failed ask ")).expect("an event of the call");
    assert!(failed.contains("no HTTP client"), "{failed}");
    harness.hang_up_all();
    harness.assert_nothing_left();
}

#[test]
fn variables_are_noted_on_the_call_and_later_nodes_have_them() {
    let (mut harness, _, _) = called(
        tree()
            .set("set", &[("language", "en"), ("who", "${caller}-${language}")], Some("branch"))
            .branch("branch", "${who}", &[("party1-*", "english")], Some("other"))
            .play_prompt("english", &["english.wav"], None)
            .play_prompt("other", &["other.wav"], None),
    );
    assert_eq!(harness.media().heard_words(), ["english.wav"]);
    assert_eq!(variable(&harness, "who").as_deref(), Some("party1-en"));
    harness.run(seconds(1));
    let records = harness.records();
    assert!(format!("{records:?}").contains("party1-en"), "{records:?}");
    harness.assert_nothing_left();
}

#[test]
fn who_is_led_to_an_application_that_is_not_there_is_hung_up() {
    let mut harness = harness_with(tree().application("room", "conference/none"), None);
    let ann = harness.party(ANN);
    harness.call(ann, "x", Some(SESSION));
    harness.run(seconds(1));
    assert!(harness.snapshot().is_empty());
    harness.assert_nothing_left();
}

#[test]
fn a_number_is_dialled_as_the_caller_could() {
    /// Routes calls by the dialled number.
    struct Dialplan;
    impl ApplicationHandler for Dialplan {
        fn name(&self) -> &str {
            "dialplan"
        }
        fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
            Box::pin(async { HandlerAction::Handle("ivr/x".to_owned()) })
        }
        fn handle_referral(&self, referral: b2b_call::handler::Referral) -> HandlerFuture {
            Box::pin(async move {
                match referral.target.as_str() {
                    "1" => HandlerAction::TransferTo(TO_BOB.to_owned()),
                    "2" => HandlerAction::Handle("queue/sales".to_owned()),
                    _ => HandlerAction::Reject { status: 403, reason: String::new() },
                }
            })
        }
    }
    for (number, state) in [("1", CallState::Bridged), ("2", CallState::InQueue), ("3", CallState::InIvr)] {
        let flow = tree().transfer("dial", number, Some("no")).play_prompt("no", &["no.wav"], None);
        let prompts = Prompts::new("/p");
        let ivr = Ivr::new(flow.build().unwrap(), prompts);
        let handlers: Vec<Arc<dyn ApplicationHandler>> =
            vec![Arc::new(Dialplan), Arc::new(ivr), Arc::new(Queue)];
        let mut harness = Harness::new(Instant::now(), handlers);
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        harness.call(ann, "x", Some(SESSION));
        if number == "1" {
            harness.answer_next(bob, SESSION);
        }
        assert_eq!(harness.snapshot().remove(0).state, state, "{number}");
        assert_eq!(variable(&harness, "transfer_status").as_deref(), (number == "3").then_some("403"));
        harness.hang_up_all();
        harness.assert_nothing_left();
    }
}

#[test]
fn a_caller_is_at_the_same_node_with_the_same_tries_when_the_server_dies() {
    let (mut harness, _, endpoint) = called(menu());
    harness.run(seconds(1));
    let mut bus = harness.bus().subscribe();
    // Two wrong keys; the third one, after two deaths, leads to the operator.
    for _ in 0..2 {
        harness.press(endpoint, "9");
        harness.dies(program(menu(), None));
        assert_eq!(harness.media().heard_words().last().map(String::as_str), Some("menu.wav"));
        assert!(harness.media().is_collecting(endpoint));
    }
    assert_eq!(told(&mut bus), ["node menu asks"; 2], "a node that goes on is not told again");
    let bob = harness.party(BOB);
    harness.press(endpoint, "9");
    let to_bob = harness.next_call(bob);
    harness.dies(program(menu(), None));
    assert!(harness.media().is_playing(endpoint), "it rings");
    harness.answer(bob, to_bob, Some(SESSION));
    assert!(!harness.media().is_playing(endpoint));
    let call = harness.snapshot().remove(0);
    assert_eq!((call.state, call.application), (CallState::Bridged, None));
    assert_eq!(variable(&harness, "ivr").as_deref(), Some("x"));
    harness.hang_up_all();
    harness.assert_nothing_left();
}

#[test]
fn a_url_that_had_not_answered_when_the_server_died_has_failed_and_is_not_asked_again() {
    let flow = || {
        tree()
            .http("ask", "https://127.0.0.1/next", Some("bye"), Some("sorry"))
            .play_prompt("bye", &["bye.wav"], None)
            .play_prompt("sorry", &["sorry.wav"], None)
    };
    let mut harness = harness_with(flow(), Some(Url::default()));
    let ann = harness.party(ANN);
    harness.call(ann, "x", Some(SESSION));
    let next = Url { answers: Some(Ok("{}".to_owned())), ..Url::default() };
    let asked = next.asked.clone();
    harness.dies(program(flow(), Some(next)));
    assert_eq!(harness.media().heard_words(), ["sorry.wav"]);
    assert!(asked.lock().unwrap().is_empty());
    harness.run(seconds(2));
    assert!(harness.snapshot().is_empty());
    harness.assert_nothing_left();
}
