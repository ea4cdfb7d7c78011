use proptest::prelude::*;

use super::*;

const S: u64 = 1_000_000_000;

fn plan(max: usize) -> DigitPlan {
    DigitPlan { total: Duration::from_secs(7), ..DigitPlan::new(max) }
}

/// Presses these digits, one per second from second 1 on; returns the result and its time.
fn press(mut collector: Collector, digits: &str) -> (Collected, u64) {
    let mut at = 0;
    for digit in digits.chars() {
        at += S;
        if let Some(end) = collector.time(at).or_else(|| collector.digit(at, digit)) {
            return (collector.finish(end, &mut Typed::default()), at);
        }
    }
    let due = collector.due();
    assert_eq!(collector.time(due - 1), None, "not before its time");
    let end = collector.time(due).expect("it ends by itself");
    (collector.finish(end, &mut Typed::default()), due)
}

fn ended(plan: DigitPlan, digits: &str) -> (String, CollectEnd, u64) {
    let (Collected { digits, end }, at) = press(Collector::new(plan, false, 0), digits);
    (digits, end, at)
}

#[test]
fn it_ends_with_the_last_digit_the_terminator_or_time() {
    assert_eq!(ended(plan(3), "123"), ("123".into(), CollectEnd::Full, 3 * S));
    assert_eq!(ended(plan(3), "12#"), ("12".into(), CollectEnd::Terminator('#'), 3 * S));
    assert_eq!(ended(plan(3), "#"), (String::new(), CollectEnd::Terminator('#'), S));
    assert_eq!(ended(plan(3), ""), (String::new(), CollectEnd::NoInput, 5 * S));
    assert_eq!(ended(plan(3), "1"), ("1".into(), CollectEnd::BetweenDigits, 4 * S));
    assert_eq!(ended(plan(9), "12345"), ("12345".into(), CollectEnd::TotalTime, 7 * S));
    let none = DigitPlan { terminators: String::new(), ..plan(2) };
    assert_eq!(ended(none, "*#"), ("*#".into(), CollectEnd::Full, 2 * S), "nothing ends it early");
    let short = DigitPlan { total: Duration::from_secs(2), ..plan(3) };
    assert_eq!(ended(short, ""), (String::new(), CollectEnd::NoInput, 2 * S));
}

#[test]
fn time_runs_from_the_end_of_the_prompt() {
    let mut collector = Collector::new(plan(2), true, 0);
    assert_eq!(collector.due(), 0);
    assert_eq!(collector.time(1_000 * S), None);
    assert_eq!(collector.prompt_over(60 * S), None);
    assert_eq!(collector.due(), 65 * S);
    collector.digit(64 * S, '7');
    assert_eq!(collector.due(), 67 * S, "3 s for the next one, 7 s in all");
    assert_eq!(collector.time(67 * S), Some(CollectEnd::BetweenDigits));
}

#[test]
fn digits_wait_for_the_end_of_the_prompt_and_what_is_too_much_is_left() {
    let mut collector = Collector::new(plan(2), true, 0);
    for digit in "12345".chars() {
        assert_eq!(collector.digit(S, digit), None);
    }
    let end = collector.prompt_over(9 * S).unwrap();
    let mut rest = Typed::default();
    assert_eq!(collector.finish(end, &mut rest).digits, "12");
    assert_eq!([rest.pop(), rest.pop(), rest.pop(), rest.pop()], [Some('3'), Some('4'), Some('5'), None]);
}

#[test]
fn a_key_that_is_held_is_waited_for() {
    // Whoever interrupts a message that is all there is to wait for.
    let meanwhile = DigitPlan { first: Duration::from_millis(1), ..plan(1) };
    for (plan, down) in [(meanwhile, 60 * S), (plan(1), 64 * S)] {
        let mut collector = Collector::new(plan, true, 0);
        assert_eq!(collector.prompt_over(60 * S), None);
        collector.key_down(down);
        assert_eq!(collector.time(down + 2 * S), None);
        assert_eq!(collector.digit(down + 2 * S, '3'), Some(CollectEnd::Full));
    }
    let mut never = Collector::new(plan(1), false, 0);
    never.key_down(S);
    assert_eq!((never.due(), never.time(6 * S)), (6 * S, Some(CollectEnd::NoInput)));
}

proptest! {
    /// Whatever is pressed at whatever time: it ends once, in time, with the digits pressed.
    #[test]
    fn a_collection_ends_as_planned(
        presses in proptest::collection::vec((0u64..4_000, "[0-9*#A-D]"), 0..12),
        max in 1usize..6,
        terminators in "[#*]{0,2}",
        prompt_ms in proptest::option::of(0u64..6_000),
    ) {
        let plan = DigitPlan { max, terminators: terminators.clone(), ..plan(max) };
        let (first, between, total) = (plan.first, plan.between, plan.total);
        let ns = |time: Duration| time.as_nanos() as u64;
        let mut collector = Collector::new(plan, prompt_ms.is_some(), 0);
        let over = prompt_ms.map_or(0, |ms| ms * 1_000_000);
        let mut at = 0;
        let mut pressed = String::new();
        let mut end = None;
        let mut is_over = prompt_ms.is_none();
        let mut last = over;
        for (pause, digit) in presses {
            let digit = digit.chars().next().unwrap();
            at += pause * 1_000_000;
            if !is_over && at >= over {
                is_over = true;
                end = collector.prompt_over(over);
                at = at.max(over);
            }
            let due = collector.due();
            if end.is_none() && due != 0 && at >= due {
                end = collector.time(due);
                at = due;
                prop_assert!(end.is_some());
            }
            if end.is_some() {
                break;
            }
            if is_over {
                last = at;
            }
            pressed.push(digit);
            end = collector.digit(at, digit);
            prop_assert!(is_over || end.is_none(), "not while the prompt is heard");
            if end.is_some() {
                break;
            }
        }
        if !is_over && end.is_none() {
            at = over;
            end = collector.prompt_over(over);
        }
        if end.is_none() {
            at = collector.due();
            prop_assert!(at <= over + ns(total));
            prop_assert!(at <= last.max(over) + ns(first.max(between)));
            end = collector.time(at);
        }
        let end = end.expect("it ends");
        let Collected { digits, end } = collector.finish(end, &mut Typed::default());
        prop_assert!(pressed.starts_with(&digits), "{pressed:?} {digits:?}");
        prop_assert!(!digits.contains(|digit| terminators.contains(digit)));
        match end {
            CollectEnd::Full => prop_assert_eq!(digits.len(), max),
            CollectEnd::Terminator(by) => prop_assert!(terminators.contains(by) && digits.len() < max),
            CollectEnd::NoInput => prop_assert!(digits.is_empty() && at - over >= ns(first).min(ns(total))),
            CollectEnd::BetweenDigits => prop_assert!(!digits.is_empty() && at - last >= ns(between)),
            CollectEnd::TotalTime => prop_assert!(!digits.is_empty() && at - over >= ns(total)),
            CollectEnd::Stopped => prop_assert!(false, "nobody stopped it"),
        }
    }
}
