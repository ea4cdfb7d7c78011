//! The worst calls on a page: a table, and for each call its ladder and its received audio.

use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

use crate::load::course::{Step, Told};
use crate::load::messages;
use crate::load::worst::Call;
use crate::results::charts::{BAD, BOTTOM, RECEIVED, SENT, WARN, svg, time_chart, time_mesh};
use crate::results::ladder;
use crate::results::page::{self, ms, one};

/// A table of the calls, and for each its messages and audio.
pub fn worst(calls: &[&Call]) -> Markup {
    let time = |value: Option<f64>| value.map_or("–".to_owned(), ms);
    html! {
        @if !calls.is_empty() {
            h2 { "The worst calls" }
            div.scroll tabindex="0" { table {
                tr {
                    th { "call" } th.left { "side" } th.left { "name" } th.left { "called" } th { "due at" } th.left { "step" } th.left { "why" } th { "setup" }
                    th { "MOS" } th { "mouth to ear" } th { "longest gap" } th { "its mark" } th { "foreign mark" }
                }
                @for call in calls {
                    tr {
                        td { (call.number) }
                        td.left { (call.side) }
                        td.left { (call.name()) }
                        td.left { (call.dialled) }
                        td { (one(call.at_s)) " s" }
                        td.text { @if let Some(step) = &call.step { code { (step) } } }
                        td.text.bad-text { (call.why.as_deref().unwrap_or("")) }
                        td { (time(call.setup_ms)) }
                        td { (call.mos.map_or("–".to_owned(), |mos| format!("{mos:.2}"))) }
                        td { (time(call.mouth_to_ear_ms)) }
                        td { (time(call.longest_gap_ms)) }
                        td { (call.mark) }
                        td { (call.foreign_mark.map_or("–".to_owned(), |mark| mark.to_string())) }
                    }
                }
            } }
            @for (at, call) in calls.iter().enumerate() { (one_call(call, at == 0)) }
        }
    }
}

/// The messages and the audio of a call.
fn one_call(call: &Call, open: bool) -> Markup {
    let why = call.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    let ladder = messages::ladder(call.side, &call.messages);
    let sound = call.sound.as_ref().and_then(sound);
    html! {
        @if !ladder.steps.is_empty() || sound.is_some() {
            details open[open] {
                summary { (call.side) " of call " (call.number) ", " (call.name()) (why) }
                @if let Some(svg) = sound {
                    figure {
                        figcaption {
                            "what it heard "
                            (page::key("received", "its mark")) (page::key("bad", "another mark"))
                            (page::key("warn", "a gap, or made up")) (page::key("sent", "other sound"))
                        }
                        div.scroll tabindex="0" { (PreEscaped(svg)) }
                    }
                }
                (ladder::picture(&ladder))
            }
        }
    }
}

/// The level over time, coloured by what was heard; `None` if plotters fails.
fn sound(told: &Told) -> Option<String> {
    let peak = told.steps.iter().map(|step| step.peak).fold(0.01, f64::max);
    let end_s = told.steps.len() as f64 * told.step_s;
    let colours = colours(&told.steps);
    svg(110, |area| {
        let mut chart = time_chart(area, 4, BOTTOM, 0.0..end_s, -peak..peak)?;
        time_mesh(&mut chart, "heard", 1, |_| String::new(), true)?;
        chart.draw_series(told.steps.iter().zip(colours).enumerate().map(|(at, (step, colour))| {
            let from = at as f64 * told.step_s;
            // silence is a line
            let high = if colour == SENT { step.peak.max(peak / 100.0) } else { step.peak.max(peak / 8.0) };
            Rectangle::new([(from, -high), (from + told.step_s, high)], colour.filled())
        }))?;
        Ok(())
    })
}

/// A code word is longer than most steps, so its result also applies to the steps before its end.
fn colours(steps: &[Step]) -> Vec<RGBColor> {
    let word = |step: &Step| step.heard || step.foreign;
    (0..steps.len())
        .map(|at| {
            let step = &steps[at];
            let next = steps[at..].iter().take(4).find(|step| word(step));
            match next {
                _ if step.gap || step.concealed => WARN,
                Some(next) if next.foreign => BAD,
                Some(_) => RECEIVED,
                None => SENT,
            }
        })
        .collect()
}
