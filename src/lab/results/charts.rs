//! Common parts of SVG charts for a page. They take their colours from the page's style sheet, so that they
//! follow its light and dark themes.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Width of every chart; all share the left edge of their time axes.
pub const WIDTH: u32 = 960;
/// Room for the labels on the left.
pub const LEFT: u32 = 58;
/// Room on the right.
pub const RIGHT: u32 = 14;
/// Room for the labels of the time axis.
pub const BOTTOM: u32 = 26;
/// Columns that a series is reduced to: about one per pixel.
pub const COLUMNS: usize = (WIDTH - LEFT - RIGHT) as usize;

/// Placeholder colours: [`themed`] replaces each by a variable of the style sheet.
pub const INK: RGBColor = RGBColor(1, 1, 1);
pub const GRID: RGBColor = RGBColor(2, 2, 2);
pub const SENT: RGBColor = RGBColor(3, 3, 3);
pub const RECEIVED: RGBColor = RGBColor(4, 4, 4);
pub const BAD: RGBColor = RGBColor(5, 5, 5);
pub const WARN: RGBColor = RGBColor(6, 6, 6);
const VARIABLES: [(&str, &str); 6] = [
    ("#010101", "var(--ink)"),
    ("#020202", "var(--grid)"),
    ("#030303", "var(--sent)"),
    ("#040404", "var(--received)"),
    ("#050505", "var(--bad)"),
    ("#060606", "var(--warn)"),
];

/// Maximum labels of a time axis.
const TIME_LABELS: usize = 12;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type DrawResult<T = ()> = Result<T, Box<dyn std::error::Error>>;
/// A chart over time.
pub type TimeChart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A time span, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Left edge.
    pub from_s: f64,
    /// Right edge.
    pub to_s: f64,
}

/// Draws on a new SVG; `None` if plotters fails.
pub fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> DrawResult) -> Option<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(&area).ok()?;
        area.present().ok()?;
    }
    Some(themed(text))
}

fn themed(mut svg: String) -> String {
    for (colour, variable) in VARIABLES {
        svg = svg.replace(colour, variable);
    }
    svg
}

/// Lowest and highest value of every non-empty column.
pub fn columns(series: &[(f64, f64)], span: Span) -> Vec<(f64, f64, f64)> {
    let width = (span.to_s - span.from_s) / COLUMNS as f64;
    let mut columns: Vec<(usize, f64, f64)> = Vec::new();
    for (at, value) in series {
        let column = (((at - span.from_s) / width) as usize).min(COLUMNS - 1);
        match columns.last_mut() {
            Some((last, low, high)) if *last == column => {
                *low = low.min(*value);
                *high = high.max(*value);
            }
            _ => columns.push((column, *value, *value)),
        }
    }
    columns
        .iter()
        .map(|(column, low, high)| (span.from_s + (*column as f64 + 0.5) * width, *low, *high))
        .collect()
}

/// The decimals needed to distinguish the labels of a time axis of this length.
fn decimals(length_s: f64) -> usize {
    // Labels are at 1, 2 or 5 times a power of ten, as far apart as the axis allows.
    let step = length_s / TIME_LABELS as f64;
    (0..3).find(|decimals| step >= 10f64.powi(-(*decimals as i32))).unwrap_or(3)
}

/// A chart over this time, seconds, with the common margins. `top`: its margin; `bottom`: the room for the
/// labels of the time.
pub fn time_chart<'a, 'b>(
    area: &'a Area<'b>,
    top: u32,
    bottom: u32,
    time: Range<f64>,
    values: Range<f64>,
) -> DrawResult<TimeChart<'a, 'b>> {
    let chart = ChartBuilder::on(area)
        .margin_top(top)
        .margin_right(RIGHT)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, bottom)
        .build_cartesian_2d(time, values)?;
    Ok(chart)
}

/// The common grid: seconds to the right.
pub fn time_mesh<'a, 'b: 'a>(
    chart: &mut TimeChart<'a, 'b>,
    name: &str,
    lines: usize,
    label: impl Fn(&f64) -> String,
    with_time: bool,
) -> DrawResult {
    let font = ("sans-serif", 13).into_font().color(&INK);
    let span = chart.as_coord_spec().get_x_range();
    let decimals = decimals(span.end - span.start);
    let seconds = |s: &f64| if with_time { format!("{s:.decimals$} s") } else { String::new() };
    chart
        .configure_mesh()
        .x_labels(TIME_LABELS)
        .y_labels(lines)
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(font.clone())
        .axis_desc_style(font)
        .y_desc(name)
        .x_label_formatter(&seconds)
        .y_label_formatter(&label)
        .draw()?;
    Ok(())
}
