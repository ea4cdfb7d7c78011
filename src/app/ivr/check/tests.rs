//! The errors of flows, each with a flow that has it.

use super::*;
use crate::ivr::builder::{self, FlowBuilder, prompts};
use crate::ivr::flow::Ask;
use b2b_call::controller::DigitPlan;

fn problem(flow: FlowBuilder) -> (Option<String>, FlowProblem) {
    match flow.build() {
        Err(FlowError { node, problem }) => (node, problem),
        other => panic!("{other:?}"),
    }
}

fn at(node: &str, problem: FlowProblem) -> (Option<String>, FlowProblem) {
    (Some(node.to_owned()), problem)
}

fn ask() -> Ask {
    builder::ask("a.wav", DigitPlan::new(4))
}

#[test]
fn names_are_there_and_used_once() {
    let flow = || IvrFlow::builder("x");
    assert_eq!(problem(flow()), (None, FlowProblem::Empty));
    assert_eq!(problem(flow().hangup("a").hangup("a")), at("a", FlowProblem::Twice));
    assert_eq!(
        problem(flow().play_prompt("a", &["a.wav"], Some("b"))),
        at("a", FlowProblem::Unknown("b".to_owned()))
    );
    assert_eq!(problem(flow().start("z").hangup("a")), (None, FlowProblem::NoStart("z".to_owned())));
    let menu = flow().menu("a", "a.wav", &[("1", "none")]);
    assert_eq!(problem(menu), at("a", FlowProblem::Unknown("none".to_owned())));
}

#[test]
fn every_node_is_reached_and_left() {
    let lost = IvrFlow::builder("x").hangup("a").hangup("lost");
    assert_eq!(problem(lost), at("lost", FlowProblem::Unreachable));
    let trapped = IvrFlow::builder("x")
        .menu("a", "a.wav", &[("1", "b"), ("2", "bye")])
        .play_prompt("b", &["b.wav"], Some("c"))
        .play_prompt("c", &["c.wav"], Some("b"))
        .hangup("bye");
    assert_eq!(problem(trapped), at("b", FlowProblem::NoEnd));
    // The answer of a URL may name any node.
    let named = IvrFlow::builder("x").http("a", "http://h/", None, None).hangup("b");
    assert!(named.build().is_ok());
}

#[test]
fn a_caller_who_presses_nothing_comes_to_an_end() {
    let round = |no_input: Option<&str>| {
        let asks = Ask { no_input: no_input.map(str::to_owned), ..ask() };
        IvrFlow::builder("x")
            .play_prompt("hello", &["a.wav"], Some("menu"))
            .menu_with("menu", asks, &[("1", "hello"), ("2", "bye")])
            .hangup("bye")
    };
    assert!(round(None).build().is_ok(), "who presses 1 may go round");
    let circle = FlowProblem::Circle("hello -> menu -> hello".to_owned());
    assert_eq!(problem(round(Some("hello"))), at("hello", circle));
    let dials = IvrFlow::builder("x").transfer("a", "user/1", Some("a"));
    assert_eq!(problem(dials), at("a", FlowProblem::Circle("a -> a".to_owned())));
    let spins = IvrFlow::builder("x")
        .branch("a", "${n}", &[("1", "bye")], Some("b"))
        .set("b", &[("n", "${n}")], Some("a"))
        .hangup("bye");
    assert_eq!(problem(spins), at("a", FlowProblem::Circle("a -> b -> a".to_owned())));
}

#[test]
fn prompts_can_be_played() {
    let flow =
        IvrFlow::builder("x").play_prompt("a", &["hello.wav", "tone:440:100", "digits:${caller}"], None);
    let flow = flow.build().unwrap();
    let with = |missing: &str| {
        let missing = missing.to_owned();
        let can_play = move |path: &Path| match path == Path::new(&missing) {
            true => Err(format!("no {missing}")),
            false => Ok(()),
        };
        check(&flow, &prompts(), &can_play).map_err(|error| error.problem)
    };
    assert_eq!(with("/none"), Ok(()));
    for missing in ["/p/hello.wav", "/p/digits/7.wav"] {
        assert_eq!(with(missing), Err(FlowProblem::Prompt(format!("no {missing}"))));
    }
}

#[test]
fn choices_can_be_pressed_and_targets_are_the_operators() {
    let menu = |choices: &[(&str, &str)]| IvrFlow::builder("x").menu("a", "a.wav", choices).hangup("b");
    assert_eq!(problem(menu(&[])), at("a", FlowProblem::NoChoices));
    assert_eq!(problem(menu(&[("x", "b")])), at("a", FlowProblem::Keys("x".to_owned())));
    let twice = FlowProblem::ChoiceTwice("1".to_owned());
    assert_eq!(problem(menu(&[("1", "b"), ("1", "b")])), at("a", twice));
    for open in ["${digits}@host", "sip:${digits}@example.com", "s${digits}"] {
        let flow = IvrFlow::builder("x").transfer("a", open, None);
        assert_eq!(problem(flow), at("a", FlowProblem::Open(open.to_owned())));
    }
    for fine in ["user/${digits}", "gateway/carrier/+44${digits}", "1${digits}", "${digits}", "sip:a@b"] {
        let flow = IvrFlow::builder("x").transfer("a", fine, None);
        assert_eq!(flow.build().err(), None, "{fine}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let collect = |change: fn(&mut Ask), variable: &str, least| {
        let mut asks = ask();
        change(&mut asks);
        problem(IvrFlow::builder("x").collect_input("a", asks, variable, least, None)).1
    };
    assert_eq!(collect(|_| (), "a b", 1), FlowProblem::Variable("a b".to_owned()));
    assert_eq!(collect(|_| (), "pin", 5), FlowProblem::Least { least: 5, most: 4 });
    assert_eq!(collect(|ask| ask.tries = 0, "pin", 4), FlowProblem::Zero { what: "tries" });
    assert_eq!(collect(|ask| ask.plan.max = 0, "pin", 0), FlowProblem::Zero { what: "max" });
}
