//! The measurements of a load, read from its load.json, for the summary and the report of the run.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::orchestrator::record::LoadRecord;
use crate::results::expectation::Expectation;

/// The main figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadFigures {
    /// `passed`, `failed` or `void`; `not judged` if something else ended the run.
    pub result: String,
    /// The missed limits, or why it is void; empty if it passed.
    pub why: Vec<String>,
    /// Outgoing calls; `None` if there were none.
    pub callers: Option<Calls>,
    /// Incoming calls; `None` if there were none.
    pub callees: Option<Calls>,
    /// Time from a call's due time to its answer, 99th percentile, ms; `None` if none was answered.
    pub setup_p99_ms: Option<f64>,
    /// Its limits, which are among those of the run.
    #[serde(skip)]
    pub expectations: Vec<Expectation>,
}

/// Calls of one side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calls {
    /// Started calls.
    pub begun: u64,
    /// Calls that completed all steps.
    pub done: u64,
    /// Other calls.
    pub failed: u64,
    /// Mouth-to-ear latency, 95th percentile, ms; `None` if none was measured by its mark.
    pub mouth_to_ear_p95_ms: Option<f64>,
    /// MOS of the worst percent; `None` if none was measured.
    pub mos: Option<f64>,
}

/// Reads this folder; `None` if it has no valid load.json.
pub fn read(folder: &Path) -> Option<LoadFigures> {
    of(&serde_json::from_str(&std::fs::read_to_string(folder.join("load.json")).ok()?).ok()?)
}

fn of(run: &Value) -> Option<LoadFigures> {
    let verdict = &run["verdict"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(LoadFigures {
        result: text(&verdict["result"])?,
        why: verdict["why"].as_array()?.iter().filter_map(text).collect(),
        callers: calls(&run["callers"]),
        callees: calls(&run["callees"]),
        setup_p99_ms: times(&run["setup"], "p99_ms"),
        expectations: serde_json::from_value(run["expectations"].clone()).ok()?,
    })
}

fn calls(side: &Value) -> Option<Calls> {
    let count = |name: &str| side[name].as_u64();
    Some(Calls {
        begun: count("begun").filter(|begun| *begun > 0)?,
        done: count("done")?,
        failed: count("failed")?,
        mouth_to_ear_p95_ms: times(&side["ears"]["mouth_to_ear"], "p95_ms"),
        mos: side["mos"]["p1"].as_f64(),
    })
}

/// A percentile, if there is any measurement.
fn times(times: &Value, percentile: &str) -> Option<f64> {
    times[percentile].as_f64().filter(|_| times["count"].as_u64().is_some_and(|count| count > 0))
}

impl LoadFigures {
    /// Its limits as limits of the run, prefixed with its name.
    pub fn limits<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Expectation> + 'a {
        self.expectations
            .iter()
            .map(move |limit| Expectation { name: format!("{name}: {}", limit.name), ..limit.clone() })
    }
}

impl LoadRecord {
    /// Marks a load as not judged because the run was ended early: its own verdict does not count.
    pub fn unjudged(&mut self) {
        if let Some(figures) = &mut self.figures {
            figures.result = "not judged".to_owned();
            figures.why.clear();
        }
    }

    /// `crowd passed: callers 80 begun, 80 done, 0 failed; …`
    pub fn line(&self) -> String {
        let Some(figures) = &self.figures else {
            return format!("{} has measured nothing: {}", self.name, self.end.text);
        };
        let mut parts = Vec::new();
        for (side, calls) in [("callers", &figures.callers), ("callees", &figures.callees)] {
            let Some(calls) = calls else { continue };
            parts.push(format!("{side} {} begun, {} done, {} failed", calls.begun, calls.done, calls.failed));
            let setup = figures.setup_p99_ms.filter(|_| side == "callers");
            parts.extend(setup.map(|ms| format!("setup p99 {ms:.1} ms")));
            parts.extend(calls.mouth_to_ear_p95_ms.map(|ms| format!("mouth to ear p95 {ms:.1} ms")));
            parts.extend(calls.mos.map(|mos| format!("MOS, worst hundredth, {mos:.2}")));
        }
        if parts.is_empty() {
            parts.push("no call".to_owned());
        }
        format!("{} {}: {}", self.name, figures.result, parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::orchestrator::record::RoleEnd;

    fn run() -> Value {
        let side = |begun: u64| {
            json!({ "begun": begun, "done": begun, "failed": 0, "mos": { "p1": 4.41 },
                    "ears": { "mouth_to_ear": { "count": begun, "p95_ms": 97.25 } } })
        };
        json!({
            "verdict": { "result": "void", "why": ["the generator was late"] },
            "callers": side(80), "callees": side(0), "setup": { "count": 80, "p99_ms": 12.34 },
            "expectations": [{ "name": "max_late_pct", "bound": "at_most", "expected": 0.1, "measured": 5.0,
                               "unit": "%", "pass": false, "judged": true }],
        })
    }

    fn record(figures: Option<LoadFigures>) -> LoadRecord {
        let end = RoleEnd { text: "exit 70".to_owned(), ..RoleEnd::default() };
        LoadRecord {
            name: "crowd".to_owned(),
            pid: None,
            command: String::new(),
            sip: None,
            ready_ms: None,
            end,
            last_error: None,
            lines_dropped: 0,
            figures,
            report: None,
        }
    }

    #[test]
    fn figures_are_a_line_and_limits_have_the_load_s_name() {
        let figures = of(&run()).unwrap();
        let limit = figures.limits("crowd").next().unwrap();
        assert_eq!(limit.line(), "crowd: max_late_pct: expected at most 0.1 %, measured 5.00 %");
        assert!(limit.missed());
        assert_eq!(
            record(Some(figures)).line(),
            "crowd void: callers 80 begun, 80 done, 0 failed; setup p99 12.3 ms; mouth to ear p95 97.2 ms; MOS, worst \
             hundredth, 4.41"
        );
        assert_eq!(record(None).line(), "crowd has measured nothing: exit 70");
    }

    #[test]
    fn what_is_no_load_json_of_ours_has_no_figures() {
        for (key, value) in [("verdict", json!({})), ("expectations", json!(1))] {
            let mut run = run();
            run[key] = value;
            assert_eq!(of(&run), None, "{key}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("load.json"), "{").unwrap();
        assert_eq!(read(folder.path()), None);
    }
}
