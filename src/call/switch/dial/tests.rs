use super::DialOutput::*;
use super::WhyCancelled::*;
use super::*;

const LIMITS: DialLimits =
    DialLimits { ring: Duration::from_secs(20), trying: None, total: Duration::from_secs(50), redirects: 2 };

fn target(target: &'static str) -> DialTarget<&'static str> {
    DialTarget::new(target)
}

fn dial(now: Instant, rounds: &[&[&'static str]]) -> Dial<&'static str> {
    Dial::new(now, vec![stage(rounds, Failover::Always)], LIMITS)
}

fn stage(rounds: &[&[&'static str]], failover: Failover) -> Stage<&'static str> {
    let rounds = rounds.iter().map(|round| round.iter().copied().map(target).collect()).collect();
    Stage { rounds, lasts: None, failover }
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
    for status in [180, 180, 182] {
        dial.provisional(1, status, false);
        dial.provisional(2, status, false);
    }
    assert_eq!(outputs(&mut dial), [progress(1, 180, false), progress(1, 182, false)], "its own ringing");
    // The branch with early media is gone: the next one with a session may be heard.
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
fn a_member_that_declines_ends_its_own_branches_and_no_others() {
    let now = Instant::now();
    let of = |target, member: &str| DialTarget { member: Some(member.into()), ..DialTarget::new(target) };
    let members = |failover: Failover| {
        let rounds = vec![
            vec![of("a", "ann"), of("a2", "ann"), of("b", "bob")],
            vec![of("a3", "ann"), of("b2", "bob")],
        ];
        let stages = vec![Stage { rounds, ..stage(&[], failover) }, stage(&[&["z"]], Failover::Never)];
        let mut dial = Dial::new(now, stages, LIMITS);
        outputs(&mut dial);
        dial
    };
    let decline = || DialFailure::new(603, "Decline");
    let mut dial = members(Failover::Always);
    dial.failed(now, 0, decline());
    assert_eq!(outputs(&mut dial), [Cancel(1, Declined)], "Bob's rings on");
    dial.failed(now, 2, DialFailure::new(480, ""));
    assert_eq!(outputs(&mut dial), [Start(3, "b2")], "and his other one, but none of Ann's");
    dial.answered(3);
    assert_eq!(outputs(&mut dial), [Won(3)]);
    // Ann's other phone was heard: with its end the others are.
    let mut dial = members(Failover::Always);
    dial.provisional(1, 183, true);
    dial.failed(now, 0, decline());
    dial.provisional(2, 183, true);
    assert_eq!(outputs(&mut dial), [progress(1, 183, true), Cancel(1, Declined), progress(2, 183, true)]);
    // If everybody declines, the next stage counts that as busy.
    for (failover, leads) in [(Failover::Always, true), (Failover::On([(408, 408)].into()), false)] {
        let mut dial = members(failover);
        dial.failed(now, 0, decline());
        dial.failed(now, 2, decline());
        let last = outputs(&mut dial).pop();
        assert_eq!(last, Some(if leads { Start(3, "z") } else { Failed(decline()) }));
    }
    // Contacts of a redirection are the member's, too.
    let mut dial = members(Failover::Always);
    dial.redirected(now, 0, DialFailure::new(302, ""), vec![vec!["elsewhere"]]);
    assert_eq!(outputs(&mut dial), [Start(3, "elsewhere")]);
    dial.failed(now, 3, decline());
    assert_eq!(outputs(&mut dial), [Cancel(1, Declined)]);
}

#[test]
fn a_busy_callee_behind_a_gateway_is_not_tried_by_the_next_host() {
    let now = Instant::now();
    let gateways = || {
        let host = |target, kin: &str| vec![DialTarget { kin: Some(kin.into()), ..DialTarget::new(target) }];
        let rounds = vec![host("a", "+44"), host("b", "+44"), host("c", "+49")];
        let mut dial = Dial::new(now, vec![Stage { rounds, ..stage(&[], Failover::Always) }], LIMITS);
        outputs(&mut dial);
        dial
    };
    let mut dial = gateways();
    dial.failed(now, 0, busy());
    assert_eq!(outputs(&mut dial), [Start(1, "c")], "another number");
    dial.failed(now, 1, DialFailure::new(480, ""));
    assert_eq!(outputs(&mut dial), [Failed(busy())]);
    for lead in [Dial::failed, Dial::silent] {
        let mut dial = gateways();
        lead(&mut dial, now, 0, DialFailure::new(503, "Service Unavailable"));
        assert_eq!(outputs(&mut dial), [Start(1, "b")]);
    }
}

#[test]
fn an_emergency_call_goes_to_every_host_of_a_gateway_whatever_one_says() {
    let now = Instant::now();
    for status in [404, 486, 603] {
        let host = |target| vec![DialTarget { kin: Some("112".into()), ..DialTarget::new(target) }];
        let stages = vec![Stage { rounds: vec![host("a"), host("b")], ..stage(&[], Failover::Whatever) }];
        let mut dial = Dial::new(now, stages, LIMITS);
        outputs(&mut dial);
        dial.failed(now, 0, DialFailure::new(status, ""));
        assert_eq!(outputs(&mut dial), [Start(1, "b")], "{status}");
    }
}

#[test]
fn from_stage_to_stage_leads_what_the_rule_says_and_silence() {
    let now = Instant::now();
    let on = |ranges: &[(u16, u16)]| Failover::On(ranges.into());
    for (failover, status, leads) in [
        (Failover::Always, 486, true),
        (Failover::Always, 603, false),
        (Failover::Whatever, 603, true),
        (Failover::Never, 503, false),
        (on(&[(500, 599)]), 503, true),
        (on(&[(500, 599)]), 486, false),
        (on(&[(408, 408), (480, 486)]), 486, true),
    ] {
        let stages = || vec![stage(&[&["a", "b"]], failover.clone()), stage(&[&["c"]], Failover::Never)];
        let mut dial = Dial::new(now, stages(), LIMITS);
        outputs(&mut dial);
        let failure = || DialFailure::new(status, "");
        dial.failed(now, 0, failure());
        // A failure without a response does not count against one with a response.
        dial.silent(now, 1, DialFailure::new(503, "Unreachable"));
        let told = outputs(&mut dial).into_iter().find(|it| !matches!(it, Cancel(..)));
        let expected = if leads { Start(2, "c") } else { Failed(failure()) };
        assert_eq!(told, Some(expected), "{failover:?} {status}");

        let mut dial = Dial::new(now, stages(), LIMITS);
        outputs(&mut dial);
        dial.silent(now, 0, DialFailure::new(503, "Unreachable"));
        dial.silent(now, 1, DialFailure::new(408, "No Response"));
        assert_eq!(outputs(&mut dial), [Start(2, "c")], "silence: {failover:?}");
    }
}

#[test]
fn a_stage_that_rang_counts_as_408_and_one_that_did_not_as_silent() {
    let now = Instant::now();
    for (rang, failover, leads) in [
        (true, Failover::Never, false),
        (true, Failover::On([(500, 599)].into()), false),
        (true, Failover::On([(408, 408)].into()), true),
        (false, Failover::Never, true),
    ] {
        let mut dial =
            Dial::new(now, vec![stage(&[&["a"]], failover), stage(&[&["b"]], Failover::Never)], LIMITS);
        outputs(&mut dial);
        if rang {
            dial.provisional(0, 180, false);
        }
        dial.timeout(now + LIMITS.ring);
        assert_eq!(outputs(&mut dial).contains(&Start(1, "b")), leads, "rang: {rang}");
        assert_eq!(dial.is_over(), !leads);
    }
}

#[test]
fn targets_and_stages_ring_for_as_long_as_they_say() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let rings = |target, ring| DialTarget { ring: Some(ring), ..DialTarget::new(target) };
    let first = Stage {
        rounds: vec![vec![rings("a", 5 * second), rings("b", 9 * second)], vec![target("c")]],
        lasts: Some(12 * second),
        failover: Failover::Always,
    };
    let mut dial = Dial::new(now, vec![first, stage(&[&["d"]], Failover::Always)], LIMITS);
    outputs(&mut dial);
    assert_eq!(dial.next_timeout(), Some(now + 5 * second));
    dial.timeout(now + 5 * second);
    assert_eq!(outputs(&mut dial), [Cancel(0, NoAnswer)], "b rings on");
    assert_eq!(dial.next_timeout(), Some(now + 9 * second));
    dial.timeout(now + 9 * second);
    assert_eq!(outputs(&mut dial), [Cancel(1, NoAnswer), Start(2, "c")]);
    assert_eq!(dial.next_timeout(), Some(now + 12 * second), "the stage ends before c does");
    dial.timeout(now + 12 * second);
    assert_eq!(outputs(&mut dial), [Cancel(2, NoAnswer), Start(3, "d")]);
    assert_eq!(dial.next_timeout(), Some(now + 32 * second), "the next one has its own time");
}

#[test]
fn redirects_are_followed_to_a_limit() {
    let now = Instant::now();
    let moved = || DialFailure::new(302, "Moved Temporarily");
    let mut dial = dial(now, &[&["a"]]);
    outputs(&mut dial);
    dial.redirected(now, 0, moved(), vec![vec!["b", "c"]]);
    assert_eq!(outputs(&mut dial), [Start(1, "b"), Start(2, "c")]);
    dial.redirected(now, 1, moved(), vec![vec!["d"]]);
    assert_eq!(outputs(&mut dial), [Start(3, "d")]);
    dial.redirected(now, 2, moved(), vec![vec!["e"]]);
    dial.redirected(now, 3, moved(), Vec::<Vec<&str>>::new());
    assert_eq!(outputs(&mut dial), [Failed(moved())]);
}

#[test]
fn a_gateways_redirect_leads_to_each_number_and_not_back_to_its_other_host() {
    let now = Instant::now();
    let host = |target| vec![DialTarget { kin: Some("2000".into()), ..DialTarget::new(target) }];
    let stages = vec![Stage { rounds: vec![host("a"), host("b")], ..stage(&[], Failover::Always) }];
    let mut dial = Dial::new(now, stages, LIMITS);
    outputs(&mut dial);
    dial.redirected(now, 0, DialFailure::new(300, ""), vec![vec!["2003"], vec!["2002"]]);
    assert_eq!(outputs(&mut dial), [Start(1, "2003")]);
    dial.failed(now, 1, DialFailure::new(404, ""));
    assert_eq!(outputs(&mut dial), [Start(2, "2002")]);
    dial.failed(now, 2, busy());
    assert!(matches!(outputs(&mut dial)[..], [Failed(_)]));
}

#[test]
fn rounds_of_a_redirect_go_before_those_that_wait() {
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let moved = || DialFailure::new(302, "Moved Temporarily");
    let mut dial = dial(now, &[&["a"], &["z"]]);
    outputs(&mut dial);
    dial.redirected(at(5), 0, moved(), vec![vec!["b", "c"], vec!["d"]]);
    assert_eq!(outputs(&mut dial), [Start(1, "b"), Start(2, "c")]);
    assert_eq!(dial.next_timeout(), Some(at(20)), "they have the time of whom they replace");
    // One of two that ring is redirected: its first contacts join the other, the rest follow.
    dial.redirected(at(6), 1, moved(), vec![vec!["e"], vec!["f"]]);
    assert_eq!(outputs(&mut dial), [Start(3, "e")]);
    dial.failed(at(7), 2, busy());
    dial.failed(at(7), 3, busy());
    assert_eq!(outputs(&mut dial), [Start(4, "f")]);
    dial.failed(at(8), 4, busy());
    assert_eq!(outputs(&mut dial), [Start(5, "d")]);
    dial.failed(at(9), 5, busy());
    assert_eq!(outputs(&mut dial), [Start(6, "z")]);
    dial.failed(at(9), 6, DialFailure::new(404, ""));
    assert_eq!(outputs(&mut dial), [Failed(busy())]);
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
    let limits = DialLimits { redirects: u8::MAX, ..LIMITS };
    let mut dial = Dial::new(now, vec![stage(&[&["a"]], Failover::Always)], limits);
    let mut started = 0;
    let mut next = 0;
    while !dial.is_over() {
        started += outputs(&mut dial).iter().filter(|output| matches!(output, Start(..))).count();
        dial.redirected(now, next, DialFailure::new(302, ""), vec![vec!["x"; 10]]);
        next += 1;
    }
    assert_eq!(started, MAX_BRANCHES);
}

#[test]
fn who_gives_no_response_in_time_is_given_up_and_the_next_one_is_tried_whatever_leads_on() {
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let limits = DialLimits { trying: Some(Duration::from_secs(4)), ..LIMITS };
    let patient = DialTarget { trying: Some(Duration::from_secs(9)), ..target("b") };
    let first = Stage { rounds: vec![vec![target("a"), patient]], ..stage(&[], Failover::Never) };
    let mut dial = Dial::new(now, vec![first, stage(&[&["c", "d"]], Failover::Never)], limits);
    outputs(&mut dial);
    assert_eq!(dial.next_timeout(), Some(at(4)));
    assert_eq!(dial.silent_at(at(4)), [0]);
    dial.timeout(at(4));
    assert_eq!(outputs(&mut dial), [Cancel(0, Silent)]);
    assert_eq!(dial.next_timeout(), Some(at(9)));
    dial.timeout(at(9));
    assert_eq!(outputs(&mut dial), [Cancel(1, Silent), Start(2, "c"), Start(3, "d")]);
    // 100 from one, 180 from the other: both may now ring for their full time.
    dial.silence(2, Silence::Over);
    dial.provisional(3, 180, false);
    assert_eq!(dial.next_timeout(), Some(at(29)));
    assert!(dial.silent_at(at(28)).is_empty());
    dial.failed(at(10), 3, busy());
    dial.timeout(at(29));
    assert_eq!(outputs(&mut dial).last(), Some(&Failed(busy())), "what somebody said counts");
}
