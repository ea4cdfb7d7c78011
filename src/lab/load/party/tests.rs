//! A party, event by event.

use super::*;
use b2b_config::step;
use rand::SeedableRng;

struct Bench {
    party: Party,
    now: Instant,
}

impl Bench {
    fn of(steps: Result<Vec<Step>, String>) -> Self {
        let now = Instant::now();
        let steps = steps.unwrap_or_else(|error| panic!("{error}")).into();
        Bench { party: Party::new(steps, Holding::Fixed(10.0), SmallRng::seed_from_u64(1), now), now }
    }

    fn at(&mut self, after_ms: u64, event: PartyEvent) -> Vec<PartyEffect> {
        self.now += Duration::from_millis(after_ms);
        let mut effects = Vec::new();
        self.party.step(self.now, &event, &mut effects);
        effects
    }
}

fn failed(effects: &[PartyEffect]) -> Option<(&str, &str)> {
    match effects.last() {
        Some(PartyEffect::Over(Outcome::Failed { step, why })) => Some((step, why)),
        _ => None,
    }
}

#[test]
fn a_caller_dials_says_and_hears_its_mark_presses_stays_and_hangs_up() {
    let mut bench = Bench::of(step::caller(
        "header A: b; dial 8000; say mark; hears mark within 2 s; press 12; stay; hang up",
    ));
    let dialled = bench.at(0, PartyEvent::Begin);
    let headers = vec![("A".to_owned(), "b".to_owned())];
    assert_eq!(dialled[0], PartyEffect::Dial { to: "8000".to_owned(), headers });
    let answered = bench.at(100, PartyEvent::Answered);
    assert_eq!(answered[..2], [PartyEffect::Say(Said::Mark), PartyEffect::Listen(Wanted::Mark)]);
    assert_eq!(bench.at(100, PartyEvent::Due), [PartyEffect::WakeAt(bench.now + LOOK)]);
    let heard = bench.at(10, PartyEvent::Heard);
    assert_eq!(heard, [PartyEffect::Press('1'), PartyEffect::WakeAt(bench.now + DIGIT)]);
    assert_eq!(bench.at(250, PartyEvent::Due)[0], PartyEffect::Press('2'));
    let stays = bench.at(250, PartyEvent::Due);
    assert_eq!(stays, [PartyEffect::WakeAt(bench.now + Duration::from_secs(10))]);
    assert_eq!(bench.at(10_000, PartyEvent::Due)[0], PartyEffect::HangUp);
    assert_eq!(bench.at(5, PartyEvent::Ended { by_them: false }), [PartyEffect::Over(Outcome::Done)]);
    assert!(bench.at(5, PartyEvent::Due).is_empty());
}

#[test]
fn what_is_not_heard_in_time_fails_its_step_and_ends_the_call() {
    let mut bench = Bench::of(step::caller("dial 1; hears mark within 2 s; hang up"));
    bench.at(0, PartyEvent::Begin);
    bench.at(0, PartyEvent::Answered);
    let late = bench.at(2_000, PartyEvent::Due);
    assert_eq!(late[0], PartyEffect::HangUp);
    assert_eq!(failed(&late), Some(("hears mark within 2 s", "not in time")));
}

#[test]
fn a_refusal_is_a_failure_unless_it_is_expected() {
    let mut bench = Bench::of(step::caller("dial 1; expect 486"));
    bench.at(0, PartyEvent::Begin);
    let refused = bench.at(0, PartyEvent::Refused { status: Some(486) });
    assert_eq!(refused, [PartyEffect::Over(Outcome::Done)]);
    for event in [PartyEvent::Refused { status: Some(404) }, PartyEvent::Answered] {
        let mut bench = Bench::of(step::caller("dial 1; expect 486"));
        bench.at(0, PartyEvent::Begin);
        assert!(failed(&bench.at(0, event.clone())).is_some(), "{event:?}");
    }
}

#[test]
fn a_callee_rings_answers_and_waits_for_the_far_end_to_hang_up() {
    let mut bench = Bench::of(step::callee("ring; wait 1; answer; say mark; hung up"));
    assert_eq!(bench.at(0, PartyEvent::Begin)[0], PartyEffect::Ring);
    assert_eq!(bench.at(1_000, PartyEvent::Due)[0], PartyEffect::Answer);
    assert_eq!(bench.at(1, PartyEvent::Answered)[0], PartyEffect::Say(Said::Mark));
    assert_eq!(bench.at(9, PartyEvent::Ended { by_them: true }), [PartyEffect::Over(Outcome::Done)]);
}

#[test]
fn a_callee_speaks_before_it_refuses() {
    let mut bench = Bench::of(step::callee("progress; say 425; wait 1; refuse 404"));
    let begun = bench.at(0, PartyEvent::Begin);
    assert_eq!(begun[..2], [PartyEffect::Progress, PartyEffect::Say(Said::Tone(425.0))]);
    let refused = [PartyEffect::Refuse(404), PartyEffect::Over(Outcome::Done)];
    assert_eq!(bench.at(1_000, PartyEvent::Due), refused);
    // One that cannot, or whose steps end, leaves no caller without a response.
    let mut fails = Bench::of(step::callee("progress; said within 1; answer"));
    fails.at(0, PartyEvent::Begin);
    let failed = fails.at(1_000, PartyEvent::Due);
    assert!(failed.contains(&PartyEffect::HangUp), "{failed:?}");
    let mut ends = Bench::of(step::callee("progress; say 425; wait 1"));
    ends.at(0, PartyEvent::Begin);
    assert_eq!(ends.at(1_000, PartyEvent::Due)[0], PartyEffect::HangUp);
}

#[test]
fn an_answer_without_an_ack_is_told_as_that() {
    let answers = || {
        let mut bench = Bench::of(step::callee("answer; say mark; hung up"));
        assert_eq!(bench.at(0, PartyEvent::Begin)[0], PartyEffect::Answer);
        bench
    };
    // the caller, for which the call is up, hangs up; or the 200 is not acknowledged for 32 s
    for by_them in [true, false] {
        let ended = answers().at(5_000, PartyEvent::Ended { by_them });
        assert_eq!(failed(&ended), Some(("answer", "no ACK came for its 200")), "{by_them}");
    }
    let late = answers().at(30_000, PartyEvent::Due);
    assert_eq!(
        (failed(&late), &late[0]),
        (Some(("answer", "no ACK came for its 200")), &PartyEffect::HangUp)
    );
}

#[test]
fn a_call_that_is_lost_under_a_step_names_the_step() {
    let mut bench = Bench::of(step::caller("dial 1; stay; hang up"));
    bench.at(0, PartyEvent::Begin);
    bench.at(0, PartyEvent::Answered);
    let lost = bench.at(500, PartyEvent::Ended { by_them: true });
    assert_eq!(failed(&lost), Some(("stay", "the far end hung up")));
}

#[test]
fn a_share_of_calls_does_a_step_by_chance_and_each_seed_the_same() {
    let steps: Arc<[Step]> = step::caller("dial 1; 30 %: press 1; stay; hang up").unwrap().into();
    let pressed = |seed| {
        let now = Instant::now();
        let mut party = Party::new(steps.clone(), Holding::Fixed(1.0), SmallRng::seed_from_u64(seed), now);
        let mut effects = Vec::new();
        party.step(now, &PartyEvent::Begin, &mut effects);
        party.step(now, &PartyEvent::Answered, &mut effects);
        effects.contains(&PartyEffect::Press('1'))
    };
    let share = (0..1_000).filter(|seed| pressed(*seed)).count();
    assert!((250..350).contains(&share), "{share}");
    assert!((0..50).all(|seed| pressed(seed) == pressed(seed)));
}

#[test]
fn a_header_field_of_the_far_end_is_as_expected_or_fails_the_step() {
    let headers =
        vec![("X-Account".to_owned(), "4711".to_owned()), ("Server".to_owned(), "b2b/1".to_owned())];
    for (steps, why) in [
        ("expect header x-account: 4711; answer; hung up", None),
        ("expect header X-Account: 47*; expect header Server: *; answer; hung up", None),
        ("expect header X-Account: 47; answer", Some("it has another value")),
        ("expect header X-Other: *; answer", Some("there is no such header field")),
    ] {
        let mut bench = Bench::of(step::callee(steps));
        bench.at(0, PartyEvent::Received { headers: headers.clone() });
        let effects = bench.at(0, PartyEvent::Begin);
        match why {
            None => assert_eq!(effects[0], PartyEffect::Answer, "{steps}"),
            Some(why) => assert_eq!(failed(&effects).map(|(_, why)| why), Some(why), "{steps}"),
        }
    }
}

#[test]
fn who_vanishes_is_done_and_says_no_more() {
    let mut bench = Bench::of(step::caller("dial 1; play hello.wav; wait 1; vanish"));
    bench.at(0, PartyEvent::Begin);
    assert_eq!(bench.at(0, PartyEvent::Answered)[0], PartyEffect::Play("hello.wav".to_owned()));
    let gone = bench.at(1_000, PartyEvent::Due);
    assert_eq!(gone, [PartyEffect::Vanish, PartyEffect::Over(Outcome::Done)]);
    assert!(bench.at(5, PartyEvent::Ended { by_them: false }).is_empty());
}

#[test]
fn a_caller_gives_up_in_time_and_stays_where_it_is_answered_before() {
    let steps = || Bench::of(step::caller("dial 1; give up after 2; say mark; hang up"));
    let mut bench = steps();
    assert!(
        bench.at(0, PartyEvent::Begin).contains(&PartyEffect::WakeAt(bench.now + Duration::from_secs(2)))
    );
    assert_eq!(bench.at(2_000, PartyEvent::Due)[0], PartyEffect::HangUp);
    // a 200 that crosses the CANCEL
    assert!(bench.at(1, PartyEvent::Answered).is_empty());
    assert_eq!(bench.at(1, PartyEvent::Ended { by_them: false }), [PartyEffect::Over(Outcome::Done)]);
    let mut bench = steps();
    bench.at(0, PartyEvent::Begin);
    assert_eq!(bench.at(100, PartyEvent::Answered)[..2], [PartyEffect::Say(Said::Mark), PartyEffect::HangUp]);
    // a refusal before that is not an abandoned call
    let mut bench = steps();
    bench.at(0, PartyEvent::Begin);
    let refused = bench.at(100, PartyEvent::Refused { status: Some(486) });
    assert_eq!(failed(&refused), Some(("dial 1", "refused: 486")));
}

#[test]
fn what_may_be_refused_or_ended_by_the_far_end_is_done_then() {
    let done = [PartyEffect::Over(Outcome::Done)];
    let mut bench = Bench::of(step::caller("dial 1; may refuse; say mark; hang up"));
    bench.at(0, PartyEvent::Begin);
    assert_eq!(bench.at(0, PartyEvent::Refused { status: Some(603) }), done);
    let mut bench = Bench::of(step::caller("dial 1; wait 1; may hang up; stay; hang up"));
    bench.at(0, PartyEvent::Begin);
    bench.at(0, PartyEvent::Answered);
    bench.at(1_000, PartyEvent::Due);
    assert_eq!(bench.at(1, PartyEvent::Ended { by_them: true }), done);
    // not allowed before that step
    let mut bench = Bench::of(step::caller("dial 1; wait 1; may hang up; stay; hang up"));
    bench.at(0, PartyEvent::Begin);
    bench.at(0, PartyEvent::Answered);
    assert!(failed(&bench.at(1, PartyEvent::Ended { by_them: true })).is_some());
    // the steps go on after a refused transfer
    let mut bench = Bench::of(step::callee("answer; transfer 700; may refuse; hang up"));
    bench.at(0, PartyEvent::Begin);
    bench.at(0, PartyEvent::Answered);
    assert_eq!(bench.at(0, PartyEvent::TransferEnded { status: Some(486) })[0], PartyEffect::HangUp);
}

#[test]
fn times_by_chance_are_within_their_limits_and_a_run_that_ends_ends_them() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (steps, now) = (step::caller("dial 1; wait 1 to 3; hang up").unwrap().into(), Instant::now());
        let mut party = Party::new(steps, Holding::Fixed(10.0), SmallRng::seed_from_u64(seed), now);
        let mut effects = Vec::new();
        party.step(now, &PartyEvent::Begin, &mut effects);
        effects.clear();
        party.step(now, &PartyEvent::Answered, &mut effects);
        let Some(PartyEffect::WakeAt(at)) = effects.last() else { panic!("{effects:?}") };
        lengths.insert((*at - now).as_millis());
    }
    assert!(lengths.len() > 100 && lengths.iter().all(|ms| (1_000..=3_000).contains(ms)), "{lengths:?}");
    let mut bench = Bench::of(step::caller("dial 1; stay; press 1; hang up"));
    bench.at(0, PartyEvent::Begin);
    bench.at(0, PartyEvent::Answered);
    assert_eq!(bench.at(5, PartyEvent::Leave)[0], PartyEffect::Press('1'));
    // other waits go on
    assert!(bench.at(5, PartyEvent::Leave).is_empty());
}

#[test]
fn a_call_that_could_not_be_placed_says_why() {
    let mut bench = Bench::of(step::caller("dial 1; may refuse; hang up"));
    bench.at(0, PartyEvent::Begin);
    let failure = bench.at(0, PartyEvent::NotPlaced { why: "no free RTP port".to_owned() });
    assert_eq!(failed(&failure), Some(("dial 1", "no free RTP port")));
}

#[test]
fn speech_silence_and_the_end_of_its_own_words_are_waited_for() {
    let steps =
        "dial 1; hears speech within 3; speak Stop.; hears silence for 0.5 within 2; said; echo; hang up";
    let mut bench = Bench::of(step::caller(steps));
    bench.at(0, PartyEvent::Begin);
    let up = bench.at(0, PartyEvent::Answered);
    assert_eq!(
        up,
        [PartyEffect::Listen(Wanted::Speech(Duration::ZERO)), PartyEffect::WakeAt(bench.now + LOOK)]
    );
    let speaks = bench.at(200, PartyEvent::Heard);
    let silence = Wanted::Silence(Duration::from_millis(500));
    assert_eq!(speaks[..2], [PartyEffect::Play("Stop.".to_owned()), PartyEffect::Listen(silence)]);
    assert_eq!(bench.at(600, PartyEvent::Heard)[0], PartyEffect::Listen(Wanted::Played));
    let said = bench.at(100, PartyEvent::Heard);
    assert_eq!(said[..2], [PartyEffect::Say(Said::Echo), PartyEffect::HangUp]);
}

#[test]
fn who_speaks_where_nothing_must_be_heard_fails_the_call_with_the_time() {
    let steps = || Bench::of(step::callee("answer; hears nothing for 3; hang up"));
    let begin = |bench: &mut Bench| {
        bench.at(0, PartyEvent::Begin);
        bench.at(0, PartyEvent::Answered);
    };
    let mut bench = steps();
    begin(&mut bench);
    bench.at(1_200, PartyEvent::Due);
    let spoke = bench.at(300, PartyEvent::Heard);
    assert_eq!(failed(&spoke), Some(("hears nothing for 3", "it spoke after 1.5 s")));
    let mut bench = steps();
    begin(&mut bench);
    assert_eq!(
        bench.at(2_950, PartyEvent::Due),
        [PartyEffect::WakeAt(bench.now + Duration::from_millis(50))]
    );
    assert_eq!(bench.at(50, PartyEvent::Due)[0], PartyEffect::HangUp);
}
