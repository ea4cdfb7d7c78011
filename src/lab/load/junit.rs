//! `junit.xml`: a test case for each limit, as services that run tests (Jenkins, GitLab) read them.

use super::expect::Judged;

/// The run as a test suite. `began`: RFC 3339; `took_s`: the time of the whole run, since its limits have none of their own.
///
/// A missed limit is a failure. One that was not judged is skipped, and that the generator was late, for which the run
/// is void, an error: the test could not be carried out.
pub fn xml(judged: &Judged, began: &str, took_s: f64) -> String {
    let rows: Vec<_> = judged.rows().collect();
    let skipped = rows.iter().filter(|row| !row.judged).count();
    let failures = judged.limits.iter().filter(|row| row.missed()).count();
    let errors = usize::from(judged.void.is_some());
    let sums = format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\"", rows.len());
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites {sums} time=\"{took_s:.3}\">\n  \
         <testsuite name=\"b2b load\" {sums} skipped=\"{skipped}\" time=\"{took_s:.3}\" timestamp=\"{}\">\n",
        escaped(began)
    );
    for row in &judged.limits {
        let word = if row.missed() { "failure" } else { "skipped" };
        case(&mut xml, &row.name, (row.missed() || !row.judged).then(|| (word, row.line())), &row.line());
    }
    let void = judged.void.clone().map(|why| ("error", why));
    case(&mut xml, &judged.late.name, void, &judged.late.line());
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// A test case, and what of it was not as it should be.
fn case(xml: &mut String, name: &str, wrong: Option<(&str, String)>, said: &str) {
    let (name, said) = (escaped(name), escaped(said));
    xml.push_str(&format!("    <testcase name=\"{name}\" classname=\"b2b.load\" time=\"0\">\n"));
    if let Some((word, why)) = wrong {
        xml.push_str(&format!("      <{word} message=\"{}\"/>\n", escaped(&why)));
    }
    xml.push_str(&format!("      <system-out>{said}</system-out>\n    </testcase>\n"));
}

/// For text and attributes of XML 1.0: most control characters cannot stand there, however they are written (§2.2).
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
    use super::super::expect::Expect;
    use super::super::figures::Figures;
    use super::*;

    /// Ten calls that were answered at once, without sound.
    fn judged(expect: Expect, late: (f64, f64)) -> String {
        let mut figures = Figures::default();
        figures.callers.begun = 10;
        figures.callers.answered = 10;
        figures.callers.done = 10;
        figures.setup.record(std::time::Duration::from_millis(20));
        xml(&expect.judge(&figures, late), "2026-01-01T00:00:00Z", 12.5)
    }

    #[test]
    fn a_limit_is_a_test_case_that_passes_fails_or_is_skipped() {
        let expect = Expect { max_setup_p99_ms: Some(10.0), ..Expect::default() };
        let failed = judged(expect, (0.0, 0.0));
        for part in [
            "<testsuite name=\"b2b load\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"12.500\"",
            "<testcase name=\"max_setup_p99_ms\" classname=\"b2b.load\" time=\"0\">\n      <failure message=\"max_setup_p99_ms: \
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
    fn no_character_leaves_its_place_in_the_file() {
        assert_eq!(escaped("a<b & \"c\"\u{1}\n'"), "a&lt;b &amp; &quot;c&quot;\u{fffd}&#10;&apos;");
    }
}
