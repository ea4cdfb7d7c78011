//! Draws the screen: identity and registration, calls, the quality of the selected call, the log, and in the
//! footer a prompt or the keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line as TextLine, Span};
use ratatui::widgets::{Block, Gauge, List, ListItem, Paragraph, Sparkline};

use super::model::{Figures, Line, Model, Question, Stage};

const KEYS: &str = "d dial  a answer  h hang up  o hold  m mute  t transfer  j join two  c conference  r record  \
                    0-9*# digits  up/down choose  q quit";
/// Minimum level of a gauge, dBFS.
const FLOOR_DB: f64 = -60.0;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [head, calls, detail, log, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(model.calls.len().clamp(1, 6) as u16 + 2),
        Constraint::Length(7),
        Constraint::Min(3),
        Constraint::Length(2),
    ])
    .areas(frame.area());
    let (words, good) = &model.registration;
    let colour = if *good { Color::Green } else { Color::Yellow };
    let head_line =
        TextLine::from(vec![model.identity.as_str().bold(), "  ".into(), words.as_str().fg(colour)]);
    frame.render_widget(head_line, head);
    list(frame, calls, model);
    match model.calls.get(model.chosen) {
        Some(line) => quality(frame, detail, line),
        None => frame.render_widget(Block::bordered().title("quality"), detail),
    }
    let room = usize::from(log.height.saturating_sub(2));
    let lines = model.log.iter().skip(model.log.len().saturating_sub(room));
    let lines: Vec<TextLine<'_>> = lines.map(|line| TextLine::from(line.as_str())).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("events")), log);
    frame.render_widget(footer(model), foot);
}

fn footer(model: &Model) -> Paragraph<'_> {
    let Some(prompt) = &model.prompt else {
        return Paragraph::new(KEYS.dim()).wrap(ratatui::widgets::Wrap { trim: true });
    };
    let what = match prompt.what {
        Question::Dial => "dial: ",
        Question::Transfer(_) => "transfer to: ",
    };
    let cursor = Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED));
    Paragraph::new(TextLine::from(vec![what.bold(), prompt.text.as_str().into(), cursor]))
}

fn list(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let block = Block::bordered().title("calls");
    if model.calls.is_empty() {
        return frame.render_widget(Paragraph::new("none; d dials".dim()).block(block), area);
    }
    let items = model.calls.iter().enumerate().map(|(index, line)| {
        let item = ListItem::new(words(line));
        if index == model.chosen { item.bold() } else { item }
    });
    frame.render_widget(List::new(items).block(block), area);
}

/// A call in words.
fn words(line: &Line) -> String {
    let stage = match line.stage {
        Stage::Dialling => "dialling".to_owned(),
        Stage::RingsThere => "rings there".to_owned(),
        Stage::RingsHere => "RINGS: a answers".to_owned(),
        Stage::Up => format!("{:02}:{:02}", line.age_s / 60, line.age_s % 60),
    };
    let marks =
        [(line.held.0, "on hold"), (line.held.1, "holds us"), (line.muted, "muted"), (line.recording, "REC")];
    let marks = marks.iter().filter(|(set, _)| *set).map(|(_, mark)| format!("  {mark}"));
    let codec = line.codec.as_ref().map(|codec| format!("  {codec}")).unwrap_or_default();
    format!("{}  {stage}{codec}{}", line.remote, marks.collect::<String>())
}

fn quality(frame: &mut Frame<'_>, area: Rect, line: &Line) {
    let block = Block::bordered().title("quality");
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [figures, heard, sent, sparks, _] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Min(0),
    ])
    .areas(inside);
    frame.render_widget(Paragraph::new(line.figures.as_ref().map_or_else(measuring, in_words)), figures);
    frame.render_widget(gauge("heard", line.levels.0), heard);
    frame.render_widget(gauge("sent ", line.levels.1), sent);
    let [label, graph] = Layout::horizontal([Constraint::Length(14), Constraint::Min(0)]).areas(sparks);
    frame.render_widget(Paragraph::new("jitter, ms"), label);
    frame.render_widget(Sparkline::default().data(line.jitter.iter().copied()).fg(Color::Cyan), graph);
}

fn measuring() -> String {
    "measuring".to_owned()
}

fn in_words(figures: &Figures) -> String {
    let Figures { loss_pct, jitter_ms, rtt_ms, mos } = figures;
    let optional = |name: &str, value: &Option<f64>, unit: &str, digits: usize| {
        value.map(|value| format!("  {name} {value:.digits$}{unit}")).unwrap_or_default()
    };
    let (mos, rtt) = (optional("MOS", mos, "", 2), optional("RTT", rtt_ms, " ms", 1));
    format!("loss {loss_pct:.1} %  jitter {jitter_ms:.1} ms{rtt}{mos}")
}

fn gauge(name: &str, level_db: f64) -> Gauge<'static> {
    let ratio = ((level_db - FLOOR_DB) / -FLOOR_DB).clamp(0.0, 1.0);
    let label =
        if level_db > FLOOR_DB { format!("{name} {level_db:.0} dB") } else { format!("{name} silence") };
    let colour = if level_db > -3.0 { Color::Red } else { Color::Green };
    Gauge::default().ratio(if ratio.is_nan() { 0.0 } else { ratio }).label(label).gauge_style(colour)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::model::Key;
    use super::*;
    use b2b_client::CallId;

    fn drawn(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, model)).expect("drawn");
        terminal.backend().to_string()
    }

    fn model() -> Model {
        let mut model = Model::new("sip:1001@127.0.0.1".to_owned(), "not registered");
        model.begin(CallId(1), "sip:1002@127.0.0.1".to_owned(), Stage::Up);
        let line = model.line(CallId(1)).expect("a line");
        (line.codec, line.age_s, line.held.0, line.recording) = (Some("opus".to_owned()), 75, true, true);
        line.levels = (-20.0, f64::NEG_INFINITY);
        model.measured(
            CallId(1),
            Figures { loss_pct: 1.25, jitter_ms: 3.0, rtt_ms: Some(12.5), mos: Some(4.2) },
        );
        model.say("answered");
        model
    }

    #[test]
    fn a_call_is_shown_with_what_is_known_of_it() {
        let screen = drawn(&model(), 100, 24);
        for text in [
            "sip:1001@127.0.0.1  not registered",
            "sip:1002@127.0.0.1  01:15  opus  on hold  REC",
            "loss 1.2 %  jitter 3.0 ms  RTT 12.5 ms  MOS 4.20",
            "heard -20 dB",
            "sent  silence",
            "answered",
            "q quit",
        ] {
            assert!(screen.contains(text), "{text} in\n{screen}");
        }
    }

    #[test]
    fn a_question_takes_the_place_of_the_keys() {
        let mut model = model();
        model.key(Key::Char('t'));
        model.key(Key::Char('9'));
        let screen = drawn(&model, 80, 24);
        assert!(screen.contains("transfer to: 9") && !screen.contains("q quit"), "{screen}");
    }

    #[test]
    fn no_terminal_is_too_small() {
        for (width, height) in [(1, 1), (10, 3), (40, 8), (200, 60)] {
            drawn(&model(), width, height);
        }
    }
}
