//! The report of a scene: report.json, report.html and junit.xml; each load writes its own report into a
//! folder beside them.

use std::fs;
use std::io;
use std::path::Path;

use maud::{Markup, html};
use serde_json::json;

use super::SceneConfig;
use super::run::Outcome;
use super::verdict::{self, COLUMNS};
use crate::orchestrator::loads::table;
use crate::orchestrator::report::is_judged;
use crate::results::{junit, page};
use b2b_base::logging;
use b2b_base::util::exit::Exit;
use b2b_base::util::junit::suite;

/// Writes the report; returns the line for the user. If the report cannot be written, a successful run fails.
pub fn write(folder: &Path, config: &SceneConfig, outcome: &mut Outcome) -> String {
    match written(folder, config, outcome) {
        Ok(()) => format!("report    {}", folder.join("report.html").display()),
        Err(error) => {
            let folder = folder.display();
            let error = format!("cannot write to {folder}: {error}; choose another --report");
            if outcome.verdict.code == 0 {
                outcome.verdict.code = Exit::Audio as u8;
                outcome.verdict.headline = format!("the run went well, but its report is missing: {error}");
            }
            format!("report    {error}")
        }
    }
}

fn written(folder: &Path, config: &SceneConfig, outcome: &Outcome) -> io::Result<()> {
    let mut run = verdict::figures(outcome);
    run["schema"] = json!(1);
    run["started"] = json!(logging::timestamp(outcome.started));
    run["duration_s"] = json!(outcome.took.as_secs_f64());
    run["plan"] = json!({ "path": config.scene.path, "text": config.scene.text });
    fs::create_dir_all(folder)?;
    fs::write(folder.join("report.json"), format!("{run:#}\n"))?;
    fs::write(folder.join("report.html"), html(config, outcome))?;
    let ended = &outcome.verdict;
    let cases = junit::of_run(&ended.expectations, is_judged(ended.code), &ended.headline, &ended.reasons);
    let began = logging::timestamp(outcome.started);
    let xml = suite("scene", &cases, &began, outcome.took.as_secs_f64());
    fs::write(folder.join("junit.xml"), xml)
}

fn html(config: &SceneConfig, outcome: &Outcome) -> String {
    let ended = &outcome.verdict;
    let ok = ended.code == 0;
    let word = if ok { "Passed" } else { "Not passed" };
    let about = html! {
        (logging::timestamp(outcome.started)) " · " (page::one(outcome.took.as_secs_f64())) " s · exit code "
        (ended.code) " · " (config.scene.path.display().to_string())
    };
    let body = html! {
        (page::verdict(ok, word, &ended.headline, &ended.reasons, &about))
        (page::expectations(&ended.expectations))
        (phones(outcome))
        (table::section(&outcome.loads))
        h2 { "Plan" }
        pre { (config.scene.text) }
        @if !outcome.loads.is_empty() {
            details {
                summary { "Command lines of the loads" }
                @for load in &outcome.loads { pre { (load.command) } }
            }
        }
    };
    page::document(if ok { "b2b: passed" } else { "b2b: not passed" }, &body)
}

fn phones(outcome: &Outcome) -> Markup {
    html! {
        @if !outcome.parties.is_empty() {
            h2 { "Phones" }
            div.scroll tabindex="0" { table {
                tr { @for name in COLUMNS { th.left { (name) } } }
                @for row in verdict::rows(outcome) {
                    tr { @for cell in row { td.left { (cell) } } }
                }
            } }
        }
    }
}
