use super::DialOutput::*;
use super::WhyCancelled::*;
use super::*;

const LIMITS: DialLimits =
    DialLimits { round: Duration::from_secs(20), total: Duration::from_secs(50), redirects: 2 };

fn target(target: &'static str) -> DialTarget<&'static str> {
    DialTarget { target, stops_at_refusal: false }
}

fn dial(now: Instant, rounds: &[&[&'static str]]) -> Dial<&'static str> {
    let rounds = rounds.iter().map(|round| round.iter().copied().map(target).collect()).collect();
    Dial::new(now, rounds, LIMITS)
}

fn outputs<T>(dial: &mut Dial<T>) -> Vec<DialOutput<T>> {
    std::iter::from_fn(|| dial.poll()).collect()
}

fn busy() -> DialFailure {
    DialFailure::new(486, "Busy Here")
}

fn progress(branch: BranchNo, status: u16, early_media: bool) -> DialOutput<&'static str> {
    Progress { branch, status, early_media }
}

#[test]
fn the_first_2xx_wins_and_the_others_are_cancelled() {
    let mut dial = dial(Instant::now(), &[&["a", "b", "c"]]);
    assert_eq!(outputs(&mut dial), [Start(0, "a"), Start(1, "b"), Start(2, "c")]);
    dial.answered(1);
    assert_eq!(outputs(&mut dial), [Cancel(0, AnsweredElsewhere), Cancel(2, AnsweredElsewhere), Won(1)]);
    dial.answered(0);
    dial.failed(Instant::now(), 2, busy());
    dial.cancel();
    assert_eq!(outputs(&mut dial), [], "it is decided");
    assert_eq!(dial.next_timeout(), None);
}

#[test]
fn the_caller_hears_the_first_branch_with_a_session_and_no_other() {
    let mut dial = dial(Instant::now(), &[&["a", "b", "c"]]);
    outputs(&mut dial);
    dial.provisional(0, 180, false);
    dial.provisional(1, 180, false);
    assert_eq!(outputs(&mut dial), [progress(0, 180, false)], "ringing is told once");
    dial.provisional(1, 183, true);
    dial.provisional(2, 183, true);
    dial.provisional(0, 180, false);
    dial.provisional(1, 183, true);
    assert_eq!(outputs(&mut dial), [progress(1, 183, true), progress(1, 183, true)]);
    // Its branch is gone: the next one with a session may be heard.
    dial.failed(Instant::now(), 1, busy());
    dial.provisional(2, 183, true);
    assert_eq!(outputs(&mut dial), [progress(2, 183, true)]);
}

#[test]
fn rounds_follow_each_other_and_the_best_failure_is_told() {
    let now = Instant::now();
    let mut dial = dial(now, &[&["a", "b"], &[], &["c"]]);
    outputs(&mut dial);
    dial.failed(now, 0, DialFailure::new(503, "Unreachable"));
    assert_eq!(outputs(&mut dial), [], "the round is not over");
    dial.failed(now, 1, busy());
    assert_eq!(outputs(&mut dial), [Start(2, "c")]);
    dial.failed(now, 2, DialFailure::new(408, "Request Timeout"));
    assert_eq!(outputs(&mut dial), [Failed(busy())]);
}

#[test]
fn a_round_and_all_of_it_have_their_time() {
    let now = Instant::now();
    let mut dial = dial(now, &[&["a"], &["b"], &["c"], &["d"]]);
    outputs(&mut dial);
    let mut at = now;
    for (number, target) in [(0, "b"), (1, "c")] {
        at += Duration::from_secs(20);
        assert_eq!(dial.next_timeout(), Some(at));
        dial.timeout(at);
        assert_eq!(outputs(&mut dial), [Cancel(number, NoAnswer), Start(number + 1, target)]);
    }
    let end = now + Duration::from_secs(50);
    assert_eq!(dial.next_timeout(), Some(end));
    dial.timeout(end);
    let failure = DialFailure { q850: Some(19), ..DialFailure::new(408, "Request Timeout") };
    assert_eq!(outputs(&mut dial), [Cancel(2, NoAnswer), Failed(failure)], "d is not tried");
}

#[test]
fn a_decline_by_the_callee_ends_it_everywhere() {
    let now = Instant::now();
    let mut dial = dial(now, &[&["a", "b"], &["c"]]);
    outputs(&mut dial);
    dial.failed(now, 0, DialFailure::new(603, "Decline"));
    assert_eq!(outputs(&mut dial), [Cancel(1, Declined), Failed(DialFailure::new(603, "Decline"))]);
}

#[test]
fn a_busy_callee_behind_a_gateway_is_not_tried_by_the_next_one() {
    let now = Instant::now();
    let gateways = || {
        let target = |target| vec![DialTarget { target, stops_at_refusal: true }];
        let mut dial = Dial::new(now, vec![target("a"), target("b")], LIMITS);
        outputs(&mut dial);
        dial
    };
    let mut dial = gateways();
    dial.failed(now, 0, busy());
    assert_eq!(outputs(&mut dial), [Failed(busy())]);
    let mut dial = gateways();
    dial.failed(now, 0, DialFailure::new(503, "Service Unavailable"));
    assert_eq!(outputs(&mut dial), [Start(1, "b")]);
}

#[test]
fn redirects_are_followed_to_a_limit() {
    let now = Instant::now();
    let moved = || DialFailure::new(302, "Moved Temporarily");
    let mut dial = dial(now, &[&["a"]]);
    outputs(&mut dial);
    dial.redirected(now, 0, moved(), vec!["b", "c"]);
    assert_eq!(outputs(&mut dial), [Start(1, "b"), Start(2, "c")]);
    dial.redirected(now, 1, moved(), vec!["d"]);
    assert_eq!(outputs(&mut dial), [Start(3, "d")]);
    dial.redirected(now, 2, moved(), vec!["e"]);
    dial.redirected(now, 3, moved(), vec![]);
    assert_eq!(outputs(&mut dial), [Failed(moved())]);
}

#[test]
fn a_caller_who_gives_up_cancels_every_branch_once() {
    let now = Instant::now();
    let mut dial = dial(now, &[&["a", "b"], &["c"]]);
    outputs(&mut dial);
    dial.cancel();
    dial.cancel();
    let failure = DialFailure::new(487, "Request Terminated");
    assert_eq!(outputs(&mut dial), [Cancel(0, CallerGone), Cancel(1, CallerGone), Failed(failure)]);
}

#[test]
fn nobody_to_dial_is_not_found() {
    let mut dial = dial(Instant::now(), &[]);
    assert_eq!(outputs(&mut dial), [Failed(DialFailure::new(404, "Not Found"))]);
}

#[test]
fn branches_do_not_multiply_without_end() {
    let now = Instant::now();
    let mut dial = Dial::new(now, vec![vec![target("a")]], DialLimits { redirects: u8::MAX, ..LIMITS });
    let mut started = 0;
    let mut next = 0;
    while !dial.is_over() {
        started += outputs(&mut dial).iter().filter(|output| matches!(output, Start(..))).count();
        dial.redirected(now, next, DialFailure::new(302, ""), vec!["x"; 10]);
        next += 1;
    }
    assert_eq!(started, MAX_BRANCHES);
}
