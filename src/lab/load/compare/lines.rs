//! A comparison as text.

use std::path::PathBuf;

use super::figures::Unit;
use super::{Comparison, Finding, Row};

/// Width of a figure's name; a longer one has its figures on the next line.
const NAME: usize = 34;

/// The whole output.
pub fn lines(comparison: &Comparison) -> Vec<String> {
    let mut lines =
        vec![files("before", &comparison.question.before), files("after", &comparison.question.after)];
    lines.extend(comparison.notes.iter().map(|note| format!("note      {note}")));
    let confidence = comparison.question.confidence;
    lines.push(format!(
        "{:<NAME$} {:>10} {:>10} {:>10} {:>23} {:>9}",
        "",
        "before",
        "after",
        "change",
        format!("between, at {confidence} %"),
        "sure"
    ));
    for row in &comparison.rows {
        if row.name.chars().count() > NAME {
            lines.push(row.name.clone());
        }
        lines.push(line(row));
    }
    let of = |finding| {
        let rows = comparison.rows.iter().filter(|row| row.finding == finding);
        rows.map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let judged = comparison.rows.iter().filter(|row| !matches!(row.finding, Finding::NotJudged(_))).count();
    let (worse, better) = (of(Finding::Worse), of(Finding::Better));
    if !better.is_empty() {
        lines.push(format!("better    {better}"));
    }
    lines.push(if worse.is_empty() {
        format!("nothing of {judged} figures is surely worse, with {confidence} % for all of them together")
    } else {
        format!("worse     {worse}")
    });
    lines
}

fn files(side: &str, files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("{side:<9} {}", names.join(" "))
}

fn line(row: &Row) -> String {
    let name = if row.name.chars().count() > NAME { "" } else { &row.name };
    let value = |value: Option<f64>| value.map_or("–".to_owned(), |value| figure(value, row.unit));
    let change = match (row.before, row.after) {
        (Some(before), Some(after)) => change(before, after, row.unit),
        _ => "–".to_owned(),
    };
    let between = row.between.map_or(String::new(), |(low, high)| {
        format!("{} to {}", limit(low, row.unit), limit(high, row.unit))
    });
    let sure = match row.finding {
        Finding::NotJudged(_) => String::new(),
        _ => sure(row.doubt),
    };
    let finding = match row.finding {
        Finding::Worse => "worse".to_owned(),
        Finding::Better => "better".to_owned(),
        Finding::Changed => "changed".to_owned(),
        Finding::Unsure => String::new(),
        Finding::NotJudged(why) => format!("not judged: {why}"),
    };
    let line = format!(
        "{name:<NAME$} {:>10} {:>10} {change:>10} {between:>23} {sure:>9}  {finding}",
        value(row.before),
        value(row.after)
    );
    line.trim_end().to_owned()
}

fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => format!("{:.2} %", value * 100.0),
        Unit::Ms => format!("{value:.2} ms"),
        Unit::Mos => format!("{value:.2}"),
    }
}

/// Times in percent, which is the usual question; shares and MOS as differences.
fn change(before: f64, after: f64, unit: Unit) -> String {
    match unit {
        Unit::Ms if before > 0.0 => format!("{:+.1} %", (after / before - 1.0) * 100.0),
        unit => limit(after - before, unit),
    }
}

fn limit(value: f64, unit: Unit) -> String {
    let value = match unit {
        Unit::Share => value * 100.0,
        Unit::Ms | Unit::Mos => value,
    };
    match value {
        f64::INFINITY => "any".to_owned(),
        f64::NEG_INFINITY => "-any".to_owned(),
        value => format!("{value:+.2}"),
    }
}

/// The certainty of a change, percent; rounded down.
fn sure(doubt: f64) -> String {
    let sure = (1.0 - doubt) * 100.0;
    match sure {
        sure if sure < 50.0 => "< 50 %".to_owned(),
        sure if sure > 99.9 => "> 99.9 %".to_owned(),
        sure => format!("{:.1} %", (sure * 10.0).floor() / 10.0),
    }
}
