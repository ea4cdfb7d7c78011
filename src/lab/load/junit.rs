//! `junit.xml`: one test case per limit, and in a sandbox one per call.

use super::cases;
use super::expect::Judged;
use super::figures::{Figures, Side};
use crate::results::expectation::Expectation;
use crate::results::junit::case;
use b2b_base::util::junit::{self, Case, Wrong};

/// Reasons of failed calls in the message of a missed limit.
const REASONS: usize = 5;

/// The run as a test suite. `began`: RFC 3339; `took_s`: the time of the whole run. A missed limit has the
/// reasons of failed calls in its message.
///
/// A late generator, which makes the run void, is reported as an error: the test could not be performed.
pub fn xml(figures: &Figures, judged: &Judged, began: &str, took_s: f64) -> String {
    let of_side = |(who, side): (&str, &Side)| {
        side.reasons().map(|reason| format!("; {who}: {reason}")).take(REASONS).collect::<String>()
    };
    let reasons: String =
        [("callers", &figures.callers), ("callees", &figures.callees)].map(of_side).concat();
    let of_limit = |limit: &Expectation| {
        let mut limit = case(limit);
        if let Some((Wrong::Failure, message)) = &mut limit.wrong {
            message.push_str(&reasons);
        }
        limit
    };
    let late = Case {
        name: judged.late.name.clone(),
        group: String::new(),
        wrong: judged.void.clone().map(|why| (Wrong::Error, why)),
        said: judged.late.line(),
        took_s: 0.0,
    };
    let Some(each) = &figures.each else {
        let cases: Vec<Case> = judged.limits.iter().map(of_limit).chain([late]).collect();
        return junit::suite("load", &cases, began, took_s);
    };
    // the calls themselves tell which are done
    let limits = judged.limits.iter().filter(|limit| !limit.name.starts_with("min_done_pct"));
    let late = judged.void.is_some().then_some(late);
    let cases: Vec<Case> = cases::cases(each).chain(limits.map(of_limit)).chain(late).collect();
    junit::suite("sandbox", &cases, began, took_s)
}

/// A run that could not be performed, with the reason, as a test suite.
pub fn error(why: &str, began: &str, took_s: f64) -> String {
    let wrong = Some((Wrong::Error, why.to_owned()));
    let run = Case { name: "run".to_owned(), group: String::new(), wrong, said: why.to_owned(), took_s };
    junit::suite("load", &[run], began, took_s)
}

#[cfg(test)]
mod tests {
    use super::super::expect::Expect;
    use super::*;

    /// The verdict on ten calls that were answered at once, without audio.
    fn judged(expect: Expect, late: (f64, f64)) -> String {
        let mut figures = Figures::default();
        figures.callers.begun = 10;
        figures.callers.answered = 10;
        figures.callers.done = 10;
        figures.setup.record(std::time::Duration::from_millis(20));
        xml(&figures, &expect.judge(&figures, late), "2026-01-01T00:00:00Z", 12.5)
    }

    #[test]
    fn a_limit_is_a_test_case_that_passes_fails_or_is_skipped() {
        let expect = Expect { max_setup_p99_ms: Some(10.0), ..Expect::default() };
        let failed = judged(expect, (0.0, 0.0));
        for part in [
            "<testsuite name=\"b2b load\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"12.500\"",
            "<testcase name=\"max_setup_p99_ms\" classname=\"b2b.load\" time=\"0.000\">\n      <failure message=\"max_setup_p99_ms: \
             expected at most 10 ms, measured 20",
            "<system-out>min_done_pct of callers: expected at least 100 %, measured 100.00 %</system-out>",
        ] {
            assert!(failed.contains(part), "{part}\n{failed}");
        }
        let void = judged(expect, (5.0, 0.0));
        for part in [
            "tests=\"3\" failures=\"0\" errors=\"1\" skipped=\"1\"",
            "<skipped message=\"max_setup_p99_ms: expected at most 10 ms, not judged: the generator was late itself\"/>",
            "<error message=\"the generator was late for 5.00 % of the time",
        ] {
            assert!(void.contains(part), "{part}\n{void}");
        }
        let passed = judged(Expect::default(), (0.0, 0.0));
        assert!(!["<failure", "<skipped", "<error"].iter().any(|word| passed.contains(word)), "{passed}");
    }
    #[test]
    fn a_missed_limit_has_the_reasons_of_failed_calls() {
        let mut figures = Figures::default();
        figures.callers.begun = 10;
        figures.callers.done = 8;
        figures.callers.failed.insert(("hears 440 Hz".to_owned(), "not in time".to_owned()), 2);
        let judged = Expect::default().judge(&figures, (0.0, 0.0));
        let failed = xml(&figures, &judged, "2026-01-01T00:00:00Z", 12.5);
        assert!(failed.contains("; callers: 2 at `hears 440 Hz`: not in time\"/>"), "{failed}");
    }
}
