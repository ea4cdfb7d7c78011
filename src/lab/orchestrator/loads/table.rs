//! The loads of a run in the report page.

use maud::{Markup, html};

use super::figures::{Calls, LoadFigures};
use crate::orchestrator::record::LoadRecord;
use crate::results::page::ms;

/// One row per side of each load, with a link to its own report.
pub fn section(loads: &[LoadRecord]) -> Markup {
    html! {
        @if !loads.is_empty() {
            h2 { "Loads" }
            div.scroll tabindex="0" { table {
                tr {
                    th.left { "load" } th.left { "verdict" } th.left { "calls of" } th { "begun" } th { "done" } th { "failed" }
                    th { "setup p99" } th { "mouth to ear p95" } th { "MOS, worst hundredth" } th.left { "end" }
                }
                @for load in loads { (rows(load)) }
            } }
        }
    }
}

fn rows(load: &LoadRecord) -> Markup {
    let Some(figures) = &load.figures else {
        return html! {
            tr { td.left { (load.name) } td colspan="8" { "no figures" } td.text { (end(load)) } }
        };
    };
    let both = [("callers", &figures.callers), ("callees", &figures.callees)];
    let sides: Vec<_> = both.into_iter().filter_map(|(who, calls)| Some((who, calls.as_ref()?))).collect();
    html! {
        @for (who, calls) in &sides { (row(load, figures, Some((who, calls)))) }
        @if sides.is_empty() { (row(load, figures, None)) }
    }
}

fn row(load: &LoadRecord, figures: &LoadFigures, side: Option<(&str, &Calls)>) -> Markup {
    let (who, calls) = side.unzip();
    let count = |of: fn(&Calls) -> u64| calls.map_or(0, of);
    let setup = figures.setup_p99_ms.filter(|_| who == Some("callers"));
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), ms);
    html! {
        tr {
            td.left {
                @if load.report.is_some() { a href={ (load.name) "/report.html" } { (load.name) } } @else { (load.name) }
            }
            @if figures.result == "passed" { td.left.good-text { (figures.result) } }
            @else { td.left.bad-text { b { (figures.result) } } }
            td.left { (who.unwrap_or("–")) }
            td { (count(|calls| calls.begun)) }
            td { (count(|calls| calls.done)) }
            td { (count(|calls| calls.failed)) }
            td { (time(setup)) }
            td { (time(calls.and_then(|calls| calls.mouth_to_ear_p95_ms))) }
            td { (calls.and_then(|calls| calls.mos).map_or_else(|| "–".to_owned(), |mos| format!("{mos:.2}"))) }
            td.text { (end(load)) }
        }
    }
}

fn end(load: &LoadRecord) -> String {
    let error = load.last_error.as_ref().filter(|_| load.figures.is_none());
    error.map_or_else(|| load.end.text.clone(), |error| format!("{} · {error}", load.end.text))
}
