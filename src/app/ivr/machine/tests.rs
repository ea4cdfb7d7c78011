//! The order of actions, and that every flow that passes the check ends.

use proptest::prelude::*;

use super::*;
use crate::ivr::builder::{FlowBuilder, ask, prompts, says};
use crate::ivr::flow::Ask;

fn begin(flow: FlowBuilder) -> (Machine, Do) {
    let flow = flow.build().unwrap_or_else(|error| panic!("{error}"));
    let variables = [("caller".to_owned(), "+4477".to_owned())].into();
    Machine::begin(Arc::new(flow), prompts(), variables)
}

fn digits(digits: &str, end: CollectEnd) -> Came {
    Came::Digits(Collected { digits: digits.to_owned(), end })
}

fn nothing() -> Came {
    digits("", CollectEnd::NoInput)
}

/// The names of a prompt's files.
fn files(prompt: &Prompt) -> Vec<String> {
    let name = |part: &Part| match part {
        Part::File(path) => {
            path.strip_prefix("/p").map_or_else(|_| String::new(), |it| it.display().to_string())
        }
        other => format!("{other:?}"),
    };
    prompt.parts.iter().map(name).collect()
}

fn asks(act: &Do) -> Vec<String> {
    match act {
        Do::Ask(Some(prompt), _) => files(prompt),
        other => panic!("{other:?}"),
    }
}

fn menu() -> FlowBuilder {
    let ask = Ask {
        no_input_prompt: says(&["still-there.wav"]),
        invalid_prompt: says(&["wrong.wav"]),
        no_input: Some("bye".into()),
        invalid: Some("operator".into()),
        ..ask("menu.wav", DigitPlan::new(1))
    };
    IvrFlow::builder("x")
        .play_prompt("hello", &["hello.wav"], Some("menu"))
        .menu_with("menu", ask, &[("1", "sales"), ("*", "hello")])
        .queue("sales", "sales")
        .transfer("operator", "user/1000", Some("bye"))
        .hangup("bye")
}

#[test]
fn a_choice_leads_where_it_says() {
    let (mut machine, act) = begin(menu());
    assert!(matches!(&act, Do::Play(prompt) if files(prompt) == ["hello.wav"]));
    let act = machine.came(Came::Played);
    assert_eq!(asks(&act), ["menu.wav"]);
    assert!(matches!(&act, Do::Ask(_, plan) if plan.max == 1 && plan.terminators.is_empty()));
    assert!(matches!(machine.came(digits("*", CollectEnd::Full)), Do::Play(_)));
    machine.came(Came::Played);
    assert_eq!(machine.came(digits("1", CollectEnd::Full)), Do::Hand("queue/sales".to_owned()));
    assert_eq!(machine.take_changed(), [("digits".to_owned(), "1".to_owned())]);
    assert!(machine.take_changed().is_empty());
}

#[test]
fn no_input_and_wrong_input_have_three_tries_and_ways_of_their_own() {
    let (mut machine, _) = begin(menu());
    machine.came(Came::Played);
    assert_eq!(asks(&machine.came(nothing())), ["still-there.wav", "menu.wav"]);
    assert_eq!(asks(&machine.came(digits("7", CollectEnd::Full))), ["wrong.wav", "menu.wav"]);
    let act = machine.came(digits("8", CollectEnd::Full));
    assert_eq!(act, Do::Dial { to: "user/1000".to_owned(), ring: None, early_media: true });
    assert_eq!(machine.came(Came::Refused(486)), Do::HangUp);
    assert_eq!(machine.variables()["transfer_status"], "486");

    let (mut machine, _) = begin(menu());
    machine.came(Came::Played);
    machine.came(nothing());
    machine.came(nothing());
    assert_eq!(machine.came(nothing()), Do::HangUp);
    assert_eq!(machine.at(), "bye");
}

#[test]
fn digits_become_a_variable_for_later_nodes() {
    let flow = IvrFlow::builder("x")
        .collect_input("pin", ask("pin.wav", DigitPlan::new(4)), "pin", 2, Some("say"))
        .play_prompt("say", &["you-said.wav", "digits:${pin}"], Some("set"))
        .set("set", &[("a", "<${pin}>"), ("b", "${a}${caller}")], Some("go"))
        .transfer("go", "user/${pin}", None);
    let (mut machine, act) = begin(flow);
    assert_eq!(asks(&act), ["pin.wav"]);
    assert_eq!(asks(&machine.came(digits("1", CollectEnd::BetweenDigits))), ["pin.wav"], "too short");
    let Do::Play(prompt) = machine.came(digits("42", CollectEnd::Terminator('#'))) else { panic!() };
    assert_eq!(files(&prompt), ["you-said.wav", "digits/4.wav", "digits/2.wav"]);
    let act = machine.came(Came::Played);
    assert_eq!(act, Do::Dial { to: "user/42".to_owned(), ring: None, early_media: true });
    assert_eq!(machine.variables()["b"], "<42>+4477");
}

#[test]
fn no_value_makes_another_target_or_another_url() {
    let flow = IvrFlow::builder("x")
        .set("evil", &[("to", "1@evil.example/../;x\r\n")], Some("ask"))
        .http("ask", "http://h/?n=${to}", Some("go"), None)
        .transfer("go", "user/${to}", None);
    let (mut machine, act) = begin(flow);
    assert!(
        matches!(&act, Do::Http { url, .. } if url == "http://h/?n=1%40evil.example%2F..%2F%3Bx%0D%0A"),
        "{act:?}"
    );
    let act = machine.came(Came::Told(Told::default()));
    assert!(matches!(&act, Do::Dial { to, .. } if to == "user/1evil.example..x"), "{act:?}");
}

#[test]
fn a_value_chooses_a_case() {
    let flow = || {
        IvrFlow::builder("x")
            .branch("who", "${caller}", &[("+4477", "known"), ("+44*", "british")], Some("other"))
            .queue("known", "vip")
            .queue("british", "uk")
            .queue("other", "rest")
            .build()
            .unwrap()
    };
    for (caller, queue) in
        [("+4477", "queue/vip"), ("+44771", "queue/uk"), ("+1", "queue/rest"), ("", "queue/rest")]
    {
        let variables = [("caller".to_owned(), caller.to_owned())].into();
        let (_, act) = Machine::begin(Arc::new(flow()), prompts(), variables);
        assert_eq!(act, Do::Hand(queue.to_owned()), "{caller}");
    }
}

#[test]
fn a_url_names_the_next_node_or_fails() {
    let flow = || {
        IvrFlow::builder("x")
            .http("ask", "http://h/", Some("usual"), Some("down"))
            .hangup("usual")
            .queue("vip", "vip")
            .voicemail("down", "1001")
    };
    let told = |next: Option<&str>| {
        Came::Told(Told {
            next: next.map(str::to_owned),
            variables: [("name".to_owned(), "Ann".to_owned())].into(),
        })
    };
    let after = |came: Came| {
        let (mut machine, _) = begin(flow());
        let act = machine.came(came);
        (act, machine.at().to_owned(), machine.variables().contains_key("name"))
    };
    assert_eq!(after(told(Some("vip"))), (Do::Hand("queue/vip".to_owned()), "vip".to_owned(), true));
    assert_eq!(after(told(None)), (Do::HangUp, "usual".to_owned(), true));
    for came in [told(Some("none")), Came::NotTold] {
        assert_eq!(after(came), (Do::Hand("voicemail/1001".to_owned()), "down".to_owned(), false));
    }
}

#[test]
fn a_prompt_that_cannot_be_played_leads_on() {
    let (mut machine, _) = begin(menu());
    assert_eq!(asks(&machine.came(Came::NotPlayed)), ["menu.wav"]);
    assert_eq!(machine.came(Came::NotPlayed), Do::HangUp);
}

#[test]
fn who_goes_round_for_ever_is_hung_up_at_last() {
    let (mut machine, _) = begin(menu());
    machine.came(Came::Played);
    for _ in 0..MOST_NODES {
        if machine.came(digits("*", CollectEnd::Full)) == Do::HangUp {
            return;
        }
        machine.came(Came::Played);
    }
    panic!("the caller goes round");
}

// ---- every flow that passes the check ends

/// A node of a random flow; the numbers choose its action and its targets.
fn node(flow: FlowBuilder, index: usize, nodes: usize, (kind, to): (u8, [u8; 3])) -> FlowBuilder {
    let name = |index: usize| format!("n{index}");
    // One number more than there are nodes means none: the call is hung up.
    let next = |to: u8| Some(usize::from(to) % (nodes + 1)).filter(|to| *to < nodes).map(name);
    let some = |to: u8| name(usize::from(to) % nodes);
    let own = name(index);
    let ask = Ask {
        no_input: next(to[0]),
        invalid: next(to[1]),
        tries: u32::from(to[2] % 3) + 1,
        ..ask("a.wav", DigitPlan::new(2))
    };
    let (one, other) = (some(to[1]), some(to[2]));
    match kind % 8 {
        0 | 1 => flow.play_prompt(&own, &["a.wav"], next(to[0]).as_deref()),
        2 => flow.menu_with(&own, ask, &[("1", &one), ("22", &other)]),
        3 => flow.collect_input(&own, ask, "pin", 1, next(to[2]).as_deref()),
        4 => flow.branch(&own, "${pin}", &[("1*", &one)], next(to[0]).as_deref()),
        5 => flow.http(&own, "http://h/", next(to[0]).as_deref(), next(to[1]).as_deref()),
        6 => flow.set(&own, &[("pin", "${caller}1")], next(to[0]).as_deref()),
        _ => flow.transfer(&own, "user/1", next(to[0]).as_deref()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    /// A caller who presses nothing, with URLs that do not answer, reaches an end after at most as many nodes
    /// as there are. A caller who presses keys at random reaches an end, too.
    #[test]
    fn every_flow_that_passes_the_check_ends(
        nodes in proptest::collection::vec((any::<u8>(), any::<[u8; 3]>()), 1..9),
        presses in proptest::collection::vec(0_u8..6, 0..50),
    ) {
        let count = nodes.len();
        let flow = nodes.into_iter().enumerate().fold(IvrFlow::builder("x"), |flow, (index, it)| {
            node(flow, index, count, it)
        });
        let Ok(flow) = flow.build() else { return Err(TestCaseError::reject("not valid")) };
        let flow = Arc::new(flow);
        for silent in [true, false] {
            let (mut machine, mut act) = Machine::begin(flow.clone(), prompts(), Variables::new());
            let mut presses = presses.iter().copied();
            let (mut steps, mut asked) = (0, 0);
            loop {
                let press = if silent { 0 } else { presses.next().unwrap_or(0) };
                act = match (act, press) {
                    (Do::HangUp | Do::Hand(_), _) => break,
                    (Do::Play(_), _) => machine.came(Came::Played),
                    (Do::Dial { .. }, _) => machine.came(Came::Refused(480)),
                    (Do::Http { .. }, 1) => {
                        let next = Some(flow.nodes[steps % flow.nodes.len()].name.clone());
                        machine.came(Came::Told(Told { next, variables: Variables::new() }))
                    }
                    (Do::Http { .. }, 2) => machine.came(Came::Told(Told::default())),
                    (Do::Http { .. }, _) => machine.came(Came::NotTold),
                    (Do::Ask(..), press) => {
                        asked += 1;
                        machine.came(match press {
                            1 => digits("1", CollectEnd::BetweenDigits),
                            2 => digits("22", CollectEnd::Full),
                            3 => digits("9", CollectEnd::BetweenDigits),
                            4 => digits("", CollectEnd::Terminator('#')),
                            _ => nothing(),
                        })
                    }
                };
                steps += 1;
                prop_assert!(steps <= MOST_NODES as usize * 4, "no end");
            }
            if silent {
                prop_assert!(machine.nodes as usize <= count, "{} of {count} nodes", machine.nodes);
                prop_assert!(asked <= 3 * count);
            }
        }
    }
}
