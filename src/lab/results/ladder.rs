//! The messages of a call as a ladder: sender, receiver and time, as a picture and in full.

use maud::{Markup, html};

use super::page::visible;

/// Maximum steps drawn; a note states how many more there are.
const DRAWN: usize = 120;
const TOP: usize = 34;
const STEP: usize = 34;
const TIME: usize = 78;
const LANE: usize = 280;

/// A message of the ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Time since the first message, seconds.
    pub at_s: f64,
    /// Index of the sender in [`Ladder::parties`].
    pub from: usize,
    /// Index of the receiver.
    pub to: usize,
    /// The label of the arrow, such as `INVITE` or `200 OK`; safe to print.
    pub title: String,
    /// `udp`, `tcp`.
    pub transport: String,
    /// Time from sending to receiving, ms, if both traces have it.
    pub travel_ms: Option<f64>,
    /// Sent by one role but absent from the other role's trace.
    pub vanished: bool,
    /// Whether the same bytes were sent the same way before.
    pub repeated: bool,
    /// Whether it is a failure response (400 and above).
    pub failure: bool,
    /// The whole message, safe to print.
    pub text: String,
}

/// Messages between parties.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ladder {
    /// Roles, then unknown addresses, in order of the call.
    pub parties: Vec<String>,
    /// The messages in order of time.
    pub steps: Vec<Step>,
}

/// Method or status of a message, for the label of its arrow.
pub fn title(bytes: &[u8]) -> String {
    let start: Vec<u8> = bytes.iter().copied().skip_while(|b| matches!(b, b'\r' | b'\n')).take(200).collect();
    if start.is_empty() {
        return "keep-alive".to_string();
    }
    let line = printable(start.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or(&[]));
    let title = match line.strip_prefix("SIP/2.0 ") {
        Some(status) => status.to_string(),
        None => line.split(' ').next().unwrap_or("").to_string(),
    };
    let mut short: String = title.chars().take(40).collect();
    if short.len() < title.len() {
        short.push('…');
    }
    short
}

/// Printable text from any bytes.
pub fn printable(bytes: &[u8]) -> String {
    visible(&String::from_utf8_lossy(bytes).replace("\r\n", "\n"))
}

/// A ladder as a picture, and its messages in full.
pub fn picture(ladder: &Ladder) -> Markup {
    if ladder.steps.is_empty() {
        return html! {};
    }
    let width = TIME + LANE * ladder.parties.len().max(2) - LANE / 2;
    let shown = &ladder.steps[..ladder.steps.len().min(DRAWN)];
    let height = TOP + STEP * shown.len() + 14;
    html! {
        div.scroll tabindex="0" {
            svg viewBox=(format!("0 0 {width} {height}")) style=(format!("max-width:{width}px")) role="img" aria-label="call ladder" {
                @for (index, party) in ladder.parties.iter().enumerate() {
                    text x=(x(index)) y="16" text-anchor="middle" font-weight="600" font-size="14" { (party) }
                    line x1=(x(index)) x2=(x(index)) y1="24" y2=(height) stroke="var(--grid)" stroke-width="2" {}
                }
                @for (index, step) in shown.iter().enumerate() { (arrow(step, TOP + STEP * index + STEP / 2)) }
            }
        }
        @if ladder.steps.len() > DRAWN {
            p.soft { (ladder.steps.len() - DRAWN) " more messages are not drawn." }
        }
        details {
            summary { "All " (ladder.steps.len()) " messages in full" }
            @for step in &ladder.steps {
                details {
                    summary { (format!("{:.3} s ", step.at_s)) (ladder.parties[step.from]) " → " (ladder.parties[step.to]) " " (step.title) }
                    pre { (step.text) }
                }
            }
        }
    }
}

fn x(party: usize) -> usize {
    TIME + LANE / 4 + LANE * party
}

fn arrow(step: &Step, y: usize) -> Markup {
    let (from, to) = (x(step.from), x(step.to));
    let colour = match step {
        Step { vanished: true, .. } | Step { failure: true, .. } => "var(--bad)",
        Step { repeated: true, .. } => "var(--warn)",
        _ => "var(--received)",
    };
    // The arrowhead points to the receiver; a vanished message ends half-way.
    let (end, back): (usize, isize) = match (step.vanished, from < to) {
        (false, right) => (to, if right { -9 } else { 9 }),
        (true, right) => ((from + to) / 2, if right { -9 } else { 9 }),
    };
    let base = end as isize + back;
    let mut remark = String::new();
    if step.vanished {
        remark.push_str(" (lost)");
    } else if step.repeated {
        remark.push_str(" (again)");
    }
    html! {
        g {
            text x="4" y=(y + 4) font-size="12" style="fill:var(--soft)" { (format!("{:.3} s", step.at_s)) }
            text x=((from + to) / 2) y=(y - 5) font-size="13" text-anchor="middle" { (step.title) (remark) }
            line x1=(from) x2=(end) y1=(y) y2=(y) stroke=(colour) stroke-width="2" {}
            polygon points=(format!("{end},{y} {base},{} {base},{}", y - 5, y + 5)) fill=(colour) {}
            title {
                (step.transport)
                @if let Some(travel) = step.travel_ms { (format!(", {travel:.1} ms on the way")) }
            }
        }
    }
}
