//! Limits as JUnit test cases. They have no durations of their own.

use super::expectation::Expectation;
use b2b_base::util::junit::{Case, Wrong};

/// A limit as a test case: a failure if missed, skipped if not judged.
pub fn case(row: &Expectation) -> Case {
    let wrong = match row {
        row if row.missed() => Some(Wrong::Failure),
        row if !row.judged => Some(Wrong::Skipped),
        _ => None,
    };
    let line = row.line();
    Case {
        name: row.name.clone(),
        group: String::new(),
        wrong: wrong.map(|wrong| (wrong, line.clone())),
        said: line,
        took_s: 0.0,
    }
}

/// The test cases of an orchestrator run: its limits, and the run itself, which is an error if it could not
/// be judged.
pub fn of_run(limits: &[Expectation], is_judged: bool, headline: &str, reasons: &[String]) -> Vec<Case> {
    let why = [&[headline.to_owned()], reasons].concat().join("; ");
    let wrong = (!is_judged).then_some((Wrong::Error, why));
    let run =
        Case { name: "run".to_owned(), group: String::new(), wrong, said: headline.to_owned(), took_s: 0.0 };
    limits.iter().map(case).chain([run]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::expectation::Bound;
    use super::*;
    use b2b_base::util::junit::suite;

    #[test]
    fn a_run_that_could_not_be_judged_is_an_error_and_one_that_missed_a_limit_is_not() {
        let limit = |measured| Expectation::of("max_loss_pct", Bound::AtMost, 1.0, Some(measured), "%");
        let missed =
            suite("chain", &of_run(&[limit(2.0)], true, "1 of 1 expectations are not met", &[]), "", 1.0);
        assert!(missed.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{missed}");
        assert!(
            missed.contains("<testsuite name=\"b2b chain\"") && missed.contains("classname=\"b2b.chain\""),
            "{missed}"
        );
        let met = suite("chain", &of_run(&[limit(0.0)], true, "all is well", &[]), "", 1.0);
        assert!(met.contains("failures=\"0\" errors=\"0\"") && met.contains("all is well"), "{met}");
        let broken = suite("chain", &of_run(&[], false, "no file", &["the sink, too".to_owned()]), "", 1.0);
        assert!(broken.contains("<error message=\"no file; the sink, too\"/>"), "{broken}");
    }
}
