//! `junit.xml` in the format that CI services (Jenkins, GitLab) read: limits as a test suite.

use super::expectation::Expectation;

/// A test case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The problem, if any.
    pub wrong: Option<(Wrong, String)>,
    /// Its output.
    pub said: String,
}

/// The kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A judged limit was missed.
    Failure,
    /// The test could not be performed.
    Error,
    /// The limit was not judged.
    Skipped,
}

impl Wrong {
    fn word(self) -> &'static str {
        match self {
            Wrong::Failure => "failure",
            Wrong::Error => "error",
            Wrong::Skipped => "skipped",
        }
    }
}

impl Case {
    /// A limit as a test case: a failure if missed, skipped if not judged.
    pub fn of(row: &Expectation) -> Case {
        let wrong = match row {
            row if row.missed() => Some(Wrong::Failure),
            row if !row.judged => Some(Wrong::Skipped),
            _ => None,
        };
        let line = row.line();
        Case { name: row.name.clone(), wrong: wrong.map(|wrong| (wrong, line.clone())), said: line }
    }
}

/// The test cases of an orchestrator run: its limits, and the run itself, which is an error if it could not
/// be judged.
pub fn of_run(limits: &[Expectation], is_judged: bool, headline: &str, reasons: &[String]) -> Vec<Case> {
    let why = [&[headline.to_owned()], reasons].concat().join("; ");
    let wrong = (!is_judged).then_some((Wrong::Error, why));
    let run = Case { name: "run".to_owned(), wrong, said: headline.to_owned() };
    limits.iter().map(Case::of).chain([run]).collect()
}

/// A run as a test suite. `of`: its kind, such as `load`; `began`: RFC 3339; `took_s`: the time of the whole
/// run, since its limits have no times of their own.
pub fn suite(of: &str, cases: &[Case], began: &str, took_s: f64) -> String {
    let count =
        |kind| cases.iter().filter(|case| matches!(&case.wrong, Some((wrong, _)) if *wrong == kind)).count();
    let [failures, errors, skipped] = [Wrong::Failure, Wrong::Error, Wrong::Skipped].map(count);
    let sums = format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\"", cases.len());
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites {sums} time=\"{took_s:.3}\">\n  \
         <testsuite name=\"b2b {of}\" {sums} skipped=\"{skipped}\" time=\"{took_s:.3}\" timestamp=\"{}\">\n",
        escaped(began)
    );
    for case in cases {
        let (name, said) = (escaped(&case.name), escaped(&case.said));
        xml.push_str(&format!("    <testcase name=\"{name}\" classname=\"b2b.{of}\" time=\"0\">\n"));
        if let Some((wrong, why)) = &case.wrong {
            xml.push_str(&format!("      <{} message=\"{}\"/>\n", wrong.word(), escaped(why)));
        }
        xml.push_str(&format!("      <system-out>{said}</system-out>\n    </testcase>\n"));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Escapes text and attributes for XML 1.0, which excludes most control characters in any form (§2.2).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::expectation::Bound;
    use super::*;

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

    #[test]
    fn no_character_leaves_its_place_in_the_file() {
        assert_eq!(escaped("a<b & \"c\"\u{1}\n'"), "a&lt;b &amp; &quot;c&quot;\u{fffd}&#10;&apos;");
    }
}
