//! A self-contained page: its frame, verdict, and tables of limits.
//!
//! All text from a peer or a child passes maud's escaping.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::expectation::Expectation;

/// A page with this body.
pub fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { (body) }
        }
    };
    visible(&page.into_string())
}

/// The verdict, at the top of the page.
pub fn verdict(ok: bool, word: &str, headline: &str, reasons: &[String], about: &Markup) -> Markup {
    html! {
        header.verdict.good[ok] {
            h1 { (word) }
            p.headline { (headline) }
            @if !reasons.is_empty() {
                ul { @for reason in reasons { li { (reason) } } }
            }
            p.soft { (about) }
        }
    }
}

/// An important figure, in large type.
pub fn tile(value: Option<String>, name: &str, bad: bool) -> Markup {
    html! {
        div.tile.bad[bad] { b { (value.unwrap_or_else(|| "–".into())) } span { (name) } }
    }
}

/// Limits and their measurements.
pub fn expectations(list: &[Expectation]) -> Markup {
    html! {
        @if !list.is_empty() {
            h2 { "Expected and measured" }
            div.scroll tabindex="0" {
                table.limits {
                    tr { th { "" } th.left { "expectation" } th { "expected" } th { "measured" } }
                    @for item in list {
                        tr {
                            @if item.pass { td.good-text { "met" } }
                            @else if item.missed() { td.bad-text { b { "not met" } } }
                            @else { td { "not judged" } }
                            td.left { (item.name) }
                            td { (item.bound.words()) " " (figure(item.expected)) " " (item.unit) }
                            td.text[item.measured.is_none() || item.note.is_some()] {
                                @match item.measured {
                                    Some(value) => {
                                        (figure(value)) " " (item.unit)
                                        @if let Some(note) = &item.note { " (" (note) ")" }
                                    }
                                    None => { (item.unmeasured.as_deref().unwrap_or("nothing")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Makes control characters visible, except line feeds and tabs, and removes bidirectional formatting
/// characters: part of the text comes from peers and children.
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
            '\x7f' => '\u{2421}',
            '\u{80}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            _ => c,
        })
        .collect()
}

/// A legend entry: a colour of the style sheet with its meaning.
pub fn key(colour: &str, name: &str) -> Markup {
    html! { span.key style={ "background:var(--" (colour) ")" } {} (name) }
}

/// Formats milliseconds.
pub fn ms(value: f64) -> String {
    format!("{} ms", if value < 10.0 { one(value) } else { format!("{value:.0}") })
}

/// Formats with one decimal.
pub fn one(value: f64) -> String {
    format!("{value:.1}")
}

/// Formats with as many decimals as needed, at most two.
pub fn figure(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}
