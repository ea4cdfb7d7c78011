//! The result of a scene: the table, the expectations, the exit code.

use serde_json::{Value, json};

use super::SceneConfig;
use super::party::Party;
use super::records::Records;
use super::run::{Broken, Outcome};
use crate::config::scene::Scene;
use crate::orchestrator::record::{Bound, Expectation, LoadRecord};
use b2b_base::logging::{self, Format};
use b2b_base::util::exit::Exit;

/// The result.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The exit code.
    pub code: u8,
    /// One sentence.
    pub headline: String,
    /// The reasons of a failure, one line each.
    pub reasons: Vec<String>,
    /// The expectations; empty if the run was interrupted.
    pub expectations: Vec<Expectation>,
}

/// Judges a scene.
pub fn judge(
    config: &SceneConfig,
    parties: &[Party],
    loads: &[LoadRecord],
    records: &Records,
    broken: Option<Broken>,
) -> Verdict {
    if let Some(Broken::Interrupted(signal)) = broken {
        let headline = format!("ended by {signal}, in order; nothing was judged");
        return Verdict { code: Exit::Ok as u8, headline, reasons: Vec::new(), expectations: Vec::new() };
    }
    let mut reasons: Vec<String> = Vec::new();
    for party in parties {
        let name = &party.phone.name;
        reasons.extend(party.figures.failed.iter().map(|why| format!("{name}: {why}")));
        if party.child.is_none() {
            reasons.push(match &party.phone.on {
                Some(cue) => format!("{name} never was started: no phone gave the cue `{cue}`"),
                None => format!("{name} never was started: the scene ended before"),
            });
        }
    }
    for (load, record) in config.run.loads.iter().zip(loads).filter(|(_, record)| record.figures.is_none()) {
        let name = &record.name;
        reasons.push(match &load.part.on {
            Some((cue, _)) if record.pid.is_none() => {
                format!("{name} never was started: no phone gave the cue `{cue}`")
            }
            _ if record.pid.is_none() => format!("{name} never was started: the scene ended before"),
            _ => format!("{name} has written no load.json that can be read: {}", record.end.text),
        });
    }
    if let Some(Broken::Failed(code, headline)) = broken {
        return Verdict { code, headline, reasons, expectations: Vec::new() };
    }
    let mut expectations = expectations(&config.scene, parties, records);
    expectations.extend(loads.iter().flat_map(of_load));
    let missed: Vec<&Expectation> = expectations.iter().filter(|it| it.missed()).collect();
    if missed.is_empty() {
        let calls: u64 = parties.iter().map(|party| party.figures.completed).sum();
        let of_loads = loads.iter().filter_map(|load| load.figures.as_ref()?.callers.as_ref());
        let beside = match of_loads.map(|calls| calls.done).sum() {
            0_u64 => String::new(),
            calls => format!(", loads {calls}"),
        };
        let headline = format!("{} phones had {calls} calls{beside}, and all is as expected", parties.len());
        return Verdict { code: Exit::Ok as u8, headline, reasons, expectations };
    }
    let headline = format!("{} of {} expectations are not met", missed.len(), expectations.len());
    Verdict { code: Exit::Expectation as u8, headline, reasons, expectations }
}

fn expectations(scene: &Scene, parties: &[Party], records: &Records) -> Vec<Expectation> {
    let expect = &scene.expect;
    let figures = || parties.iter().map(|party| &party.figures);
    let mut rows = Vec::new();
    let failed = parties.iter().filter(|it| it.figures.failed.is_some() || it.child.is_none()).count();
    rows.push(Expectation::of(
        "max_failed",
        Bound::AtMost,
        expect.max_failed as f64,
        Some(failed as f64),
        "",
    ));
    let sums = [
        ("calls_completed", expect.calls_completed, figures().map(|it| it.completed).sum::<u64>()),
        ("positions_heard", expect.positions_heard, figures().map(|it| it.positions).sum()),
        ("transfers", expect.transfers, figures().map(|it| it.transfers.len() as u64).sum()),
        ("recordings", expect.recordings, records.recordings().len() as u64),
    ];
    for (name, expected, measured) in sums {
        let expected = expected.map(|expected| expected as f64);
        rows.extend(expected.map(|it| Expectation::of(name, Bound::AtLeast, it, Some(measured as f64), "")));
    }
    let loss = figures().filter_map(|it| it.loss_pct).reduce(f64::max);
    rows.extend(expect.max_loss_pct.map(|it| Expectation::of("max_loss_pct", Bound::AtMost, it, loss, "%")));
    let mos = figures().filter_map(|it| it.mos).reduce(f64::min);
    rows.extend(expect.min_mos.map(|it| Expectation::of("min_mos", Bound::AtLeast, it, mos, "")));
    for state in &expect.states {
        let times = figures().flat_map(|it| &it.states).filter(|seen| *seen == state).count();
        rows.push(Expectation::of(&format!("state {state}"), Bound::AtLeast, 1.0, Some(times as f64), ""));
    }
    rows
}

/// The limits of a load; if it measured nothing, one missed expectation.
fn of_load(load: &LoadRecord) -> Vec<Expectation> {
    match &load.figures {
        Some(figures) => figures.limits(&load.name).collect(),
        None => {
            vec![Expectation::of(&format!("{}: load.json", load.name), Bound::AtLeast, 1.0, Some(0.0), "")]
        }
    }
}

/// The columns of the table.
pub const COLUMNS: [&str; 12] = [
    "phone",
    "calls",
    "answered",
    "MOS",
    "lost",
    "records",
    "recorded",
    "transfers",
    "agent",
    "heard",
    "states by GET /calls",
    "end",
];

/// The table, the expectations and the verdict; one line in JSON format.
pub fn lines(config: &SceneConfig, outcome: &Outcome) -> Vec<String> {
    let Outcome { loads, verdict, .. } = outcome;
    if config.run.format == Format::Json {
        let ts = logging::timestamp(std::time::SystemTime::now());
        let mut line = json!({ "ts": ts, "level": "info", "role": "orchestrator", "msg": "summary" });
        if let (Value::Object(line), Value::Object(figures)) = (&mut line, figures(outcome)) {
            line.extend(figures);
        }
        return vec![line.to_string()];
    }
    let mut lines = vec![String::new()];
    lines.extend(aligned(&rows(outcome)));
    lines.push(String::new());
    lines.extend(loads.iter().map(|load| format!("load      {}", load.line())));
    lines.extend(verdict.expectations.iter().map(Expectation::told));
    lines.extend(verdict.reasons.iter().map(|reason| format!("reason    {reason}")));
    let word = if verdict.code == 0 { "OK" } else { "FAILED" };
    lines.push(format!("verdict   {word} (exit {}): {}", verdict.code, verdict.headline));
    lines
}

/// The complete result, for programs.
pub fn figures(outcome: &Outcome) -> Value {
    let Outcome { loads, verdict, .. } = outcome;
    let phones: Vec<Value> = rows(outcome)
        .iter()
        .map(|row| COLUMNS.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), json!(cell))).collect())
        .collect();
    json!({
        "phones": phones, "loads": loads, "expectations": verdict.expectations, "exit_code": verdict.code,
        "headline": verdict.headline, "reasons": verdict.reasons,
    })
}

/// One row per phone.
pub fn rows(outcome: &Outcome) -> Vec<[String; COLUMNS.len()]> {
    outcome.parties.iter().map(|party| row(party, &outcome.records)).collect()
}

fn row(party: &Party, records: &Records) -> [String; COLUMNS.len()] {
    let figures = &party.figures;
    let on_record = records.of(&party.phone.account);
    let list = |items: &[String], between: &str| match items {
        [] => "-".to_owned(),
        items => items.join(between),
    };
    let seconds: Vec<String> = on_record.recordings.iter().map(|length| format!("{length:.1} s")).collect();
    [
        party.phone.name.clone(),
        figures.calls.to_string(),
        figures.answered.to_string(),
        figures.mos.map_or_else(|| "-".to_owned(), |mos| format!("{mos:.2}")),
        figures.loss_pct.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.2} %")),
        on_record.records.to_string(),
        list(&seconds, ", "),
        list(&figures.transfers, ", "),
        list(&figures.agents, ", "),
        list(&figures.heard, ", "),
        list(&figures.states, " > "),
        party.standing(),
    ]
}

fn aligned(rows: &[[String; COLUMNS.len()]]) -> Vec<String> {
    let mut all = vec![COLUMNS.map(str::to_owned)];
    all.extend(rows.iter().cloned());
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |row: &[String; COLUMNS.len()]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

/// A line as JSON: its own object, or one around the text, with its sender.
pub fn as_json(line: &str, role: &str, name: &str, pid: u32) -> String {
    let mut object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Value::Object(object),
        _ => json!({ "ts": logging::timestamp(std::time::SystemTime::now()), "level": "info", "msg": line }),
    };
    object["role"] = json!(role);
    object["name"] = json!(name);
    object["pid"] = json!(pid);
    object.to_string()
}
