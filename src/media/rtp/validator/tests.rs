use super::*;

fn started(sequence: u16) -> Validator {
    let mut validator = Validator::default();
    assert_eq!(validator.check(7, sequence.wrapping_sub(2)), Verdict::Hold);
    assert!(matches!(validator.check(7, sequence.wrapping_sub(1)), Verdict::NewSource(_)));
    validator
}

fn accepted(verdict: Verdict) -> Accepted {
    match verdict {
        Verdict::Accept(accepted) | Verdict::NewSource(accepted) => accepted,
        other => panic!("not accepted: {other:?}"),
    }
}

#[test]
fn a_source_is_valid_after_two_packets_in_sequence() {
    let mut validator = Validator::default();
    assert_eq!(validator.check(1, 10), Verdict::Hold);
    assert_eq!(validator.check(1, 12), Verdict::Hold, "not in sequence");
    assert_eq!(validator.check(1, 12), Verdict::Duplicate);
    assert!(matches!(validator.check(1, 13), Verdict::NewSource(_)));
    assert_eq!(validator.expected(), 2);
    assert_eq!(validator.lost(), 0);
}

#[test]
fn sequence_numbers_wrap_during_probation_and_after() {
    for start in [65_533u16, 65_534, 65_535, 0, 1] {
        let mut validator = started(start);
        let mut last = None;
        for n in 0..200_000u32 {
            let place = accepted(validator.check(7, start.wrapping_add(n as u16)));
            assert!(!place.reordered);
            assert!(last.is_none_or(|last| place.sequence == last + 1));
            last = Some(place.sequence);
        }
        assert_eq!(validator.expected(), 200_002);
        assert_eq!(validator.lost(), 0);
    }
}

#[test]
fn what_is_missing_while_nothing_is_to_come_is_not_lost() {
    let mut validator = started(100);
    validator.rest();
    accepted(validator.check(7, 110));
    accepted(validator.check(7, 150));
    assert_eq!((validator.lost(), validator.expected()), (0, 4));
    validator.afresh();
    accepted(validator.check(7, 200));
    assert_eq!(validator.lost(), 0);
    accepted(validator.check(7, 203));
    assert_eq!(validator.lost(), 2, "from now on");
    assert_eq!(validator.receiving(0).map(|it| it.expected - it.received), Some(2));
}

#[test]
fn losses_are_counted_and_a_late_packet_takes_one_back() {
    let mut validator = started(100);
    for sequence in [100, 103, 104] {
        accepted(validator.check(7, sequence));
    }
    assert_eq!(validator.lost(), 2);
    assert!(accepted(validator.check(7, 101)).reordered);
    assert_eq!(validator.lost(), 1);
    let receiving = validator.receiving(3).unwrap();
    assert_eq!(receiving, Receiving { ssrc: 7, expected: 7, received: 6, highest: 104, jitter: 3 });
}

#[test]
fn duplicates_are_found_within_the_window() {
    let mut validator = started(65_530);
    for n in 0..20u16 {
        accepted(validator.check(7, 65_530u16.wrapping_add(n)));
    }
    for n in 0..20u16 {
        assert_eq!(validator.check(7, 65_530u16.wrapping_add(n)), Verdict::Duplicate);
    }
    assert_eq!(validator.lost(), 0);
}

#[test]
fn a_jump_needs_two_packets() {
    let mut validator = started(100);
    accepted(validator.check(7, 100));
    assert_eq!(validator.check(7, 30_000), Verdict::Implausible);
    accepted(validator.check(7, 101));
    assert_eq!(validator.check(7, 40_000), Verdict::Implausible);
    let before = validator.expected();
    accepted(validator.check(7, 40_001));
    assert_eq!(validator.expected(), before + 1, "nobody knows how many were lost");
    accepted(validator.check(7, 40_002));
    assert_eq!(validator.lost(), 0);
}

#[test]
fn a_new_ssrc_takes_over_when_the_old_one_is_silent() {
    let mut validator = started(100);
    accepted(validator.check(7, 100));
    accepted(validator.check(7, 102));
    assert_eq!(validator.check(8, 5_000), Verdict::Hold);
    assert!(matches!(validator.check(8, 5_001), Verdict::NewSource(_)));
    assert_eq!(validator.ssrc(), Some(8));
    assert_eq!(validator.lost(), 1, "the loss of the old source stays counted");
    let of_the_new_one = validator.receiving(0).unwrap();
    assert_eq!((of_the_new_one.expected, of_the_new_one.received), (2, 2), "a report speaks of it");
}

#[test]
fn a_second_source_beside_the_first_never_takes_over() {
    let mut validator = started(100);
    for n in 0..50 {
        accepted(validator.check(7, 100 + n));
        assert_eq!(validator.check(9, 9_000 + n), Verdict::Hold);
    }
    assert_eq!(validator.ssrc(), Some(7));
}
