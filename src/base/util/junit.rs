//! JUnit XML, the format in which CI services (Jenkins, GitLab) read test results.

use super::xml::escaped;

/// A test case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The group of cases that it belongs to within the suite; empty: none.
    pub group: String,
    /// The problem, if any.
    pub wrong: Option<(Wrong, String)>,
    /// Its output.
    pub said: String,
    /// Its duration, s.
    pub took_s: f64,
}

/// The kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The test has failed.
    Failure,
    /// The test could not be performed.
    Error,
    /// The test was not reached, or not judged.
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

/// A run as a test suite. `of`: its kind, such as `load`; `began`: RFC 3339; `took_s`: the duration of the run.
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
        let took = case.took_s;
        let class =
            if case.group.is_empty() { of.to_owned() } else { format!("{of}.{}", escaped(&case.group)) };
        xml.push_str(&format!(
            "    <testcase name=\"{name}\" classname=\"b2b.{class}\" time=\"{took:.3}\">\n"
        ));
        if let Some((wrong, why)) = &case.wrong {
            xml.push_str(&format!("      <{} message=\"{}\"/>\n", wrong.word(), escaped(why)));
        }
        xml.push_str(&format!("      <system-out>{said}</system-out>\n    </testcase>\n"));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}
