//! Charts of audio and packets over time.

use plotters::prelude::*;

use super::compare::{Fault, State};
use super::packets::PacketStory;
use crate::results::charts::{
    BAD, BOTTOM, COLUMNS, INK, RECEIVED, SENT, Span, WARN, columns, svg, time_chart, time_mesh,
};

/// Maximum marks over a picture.
pub const MARKS: usize = 80;

/// Lowest and highest sample of every column of `span`, full scale = 1. `offset_s` is the time of the first
/// sample.
pub fn envelope(samples: &[i16], rate: u32, offset_s: f64, span: Span) -> Vec<(f64, f64, f64)> {
    let width = (span.to_s - span.from_s) / COLUMNS as f64;
    let index =
        |time: f64| ((time - offset_s) * f64::from(rate)).round().clamp(0.0, samples.len() as f64) as usize;
    (0..COLUMNS)
        .filter_map(|column| {
            let at = span.from_s + column as f64 * width;
            let piece = samples.get(index(at)..index(at + width))?;
            let (low, high) = (piece.iter().min()?, piece.iter().max()?);
            Some((at + width / 2.0, f64::from(*low) / 32_768.0, f64::from(*high) / 32_768.0))
        })
        .collect()
}

/// Two waveforms below each other on one time axis, with faults marked over both.
pub fn waveforms(
    sent: &[(f64, f64, f64)],
    received: &[(f64, f64, f64)],
    faults: &[Fault],
    span: Span,
) -> Option<String> {
    let peak = sent.iter().chain(received).map(|(_, low, high)| high.max(-low)).fold(0.01, f64::max);
    svg(300, |area| {
        let (upper, lower) = area.split_vertically(137);
        for (area, series, colour, name, bottom) in
            [(upper, sent, SENT, "sent", 0), (lower, received, RECEIVED, "arrived", BOTTOM)]
        {
            let mut chart = time_chart(&area, 4, bottom, span.from_s..span.to_s, -peak..peak)?;
            time_mesh(&mut chart, name, 1, |_| String::new(), bottom > 0)?;
            let least = (span.to_s - span.from_s) / 250.0;
            chart.draw_series(faults.iter().map(|fault| {
                let colour = if fault.state == State::Missing { BAD } else { WARN };
                let to = fault.at_s + fault.length_s.max(least);
                Rectangle::new([(fault.at_s, -peak), (to, peak)], colour.mix(0.5).filled())
            }))?;
            let low = series.iter().map(|(at, low, _)| (*at, *low));
            let high = series.iter().rev().map(|(at, _, high)| (*at, *high));
            let outline: Vec<(f64, f64)> = low.chain(high).collect();
            chart.draw_series([Polygon::new(outline, colour.filled())])?;
        }
        Ok(())
    })
}

/// The frame of a spectrogram: axes, with the picture in the plot area.
pub fn picture(name: &str, png_uri: &str, top_hz: f64, span: Span, marks: &[(f64, char)]) -> Option<String> {
    let mut place = (0..0, 0..0);
    let svg = svg(190, |area| {
        let mut chart = time_chart(area, 18, BOTTOM, span.from_s..span.to_s, 0.0..top_hz)?;
        time_mesh(&mut chart, name, 4, |hz| format!("{:.0} kHz", hz / 1e3), true)?;
        place = chart.plotting_area().get_pixel_range();
        let room = marks.len() <= MARKS;
        for (at, digit) in marks.iter().filter(|(at, _)| room && (span.from_s..span.to_s).contains(at)) {
            let (x, _) = chart.backend_coord(&(*at, 0.0));
            let style = ("sans-serif", 12).into_font().color(&INK);
            area.draw(&Text::new(digit.to_string(), (x, 3), style))?;
        }
        Ok(())
    })?;
    let (x, y) = place;
    let image = format!(
        r#"<image x="{}" y="{}" width="{}" height="{}" preserveAspectRatio="none" href="{png_uri}"/></svg>"#,
        x.start,
        y.start,
        x.end - x.start,
        y.end - y.start
    );
    Some(svg.trim_end().strip_suffix("</svg>")?.to_string() + &image)
}

/// Time between arrivals and interarrival jitter over time, losses marked.
pub fn packets(story: &PacketStory) -> Option<String> {
    let span = Span { from_s: 0.0, to_s: story.duration_s.max(1.0) };
    let top = story.spacing.iter().map(|(_, ms)| *ms).fold(45.0, f64::max) * 1.1;
    let band = columns(&story.spacing, span);
    let jitter: Vec<(f64, f64)> =
        columns(&story.jitter, span).iter().map(|(at, _, high)| (*at, *high)).collect();
    svg(240, |area| {
        let mut chart = time_chart(area, 8, BOTTOM, span.from_s..span.to_s, 0.0..top)?;
        time_mesh(&mut chart, "ms", 5, |ms| format!("{ms:.0}"), true)?;
        chart.draw_series(
            story.losses.iter().map(|at| PathElement::new([(*at, 0.0), (*at, top)], BAD.stroke_width(2))),
        )?;
        chart.draw_series(band.iter().map(|(at, low, high)| {
            let half = (span.to_s - span.from_s) / COLUMNS as f64 / 2.0;
            let least = top / 200.0;
            let (low, high) =
                if high - low < least { (low - least / 2.0, low + least / 2.0) } else { (*low, *high) };
            Rectangle::new([(at - half, low), (at + half, high)], RECEIVED.filled())
        }))?;
        chart.draw_series([PathElement::new(jitter, WARN.stroke_width(2))])?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { from_s: 0.0, to_s: 10.0 };

    #[test]
    fn an_envelope_holds_the_peaks() {
        let mut samples = vec![0i16; 80_000];
        samples[40_000] = 16_384;
        samples[40_001] = -8_192;
        let envelope = envelope(&samples, 8_000, 0.0, SPAN);
        assert_eq!(envelope.len(), COLUMNS);
        let peak = envelope.iter().find(|(_, _, high)| *high > 0.0).expect("the peak is there");
        assert_eq!((peak.1, peak.2), (-0.25, 0.5));
        assert!((peak.0 - 5.0).abs() < 0.02);
    }

    #[test]
    fn an_envelope_ends_where_the_samples_end() {
        let envelope = envelope(&[100; 8_000], 8_000, 2.0, SPAN);
        assert!(envelope.iter().all(|(at, _, _)| (1.98..3.02).contains(at)));
        assert!(!envelope.is_empty());
    }

    #[test]
    fn charts_take_their_colours_from_the_page() {
        let fault = Fault { at_s: 3.0, length_s: 0.2, state: State::Missing };
        let series = envelope(&[1_000; 80_000], 8_000, 0.0, SPAN);
        let svg = waveforms(&series, &series, &[fault], SPAN).expect("drawn");
        for variable in ["var(--sent)", "var(--received)", "var(--bad)"] {
            assert!(svg.contains(variable), "{variable}");
        }
        assert!(!svg.contains("#0"), "a placeholder is left");
    }

    #[test]
    fn no_two_labels_of_a_time_axis_say_the_same() {
        for duration_s in [1.0, 4.3, 5.4, 8.0, 11.9, 13.0, 72.0, 3_000.0] {
            let story = PacketStory { duration_s, ..PacketStory::default() };
            let svg = packets(&story).expect("drawn");
            let lines: Vec<&str> = svg.lines().map(str::trim).filter(|line| line.ends_with(" s")).collect();
            let different: std::collections::BTreeSet<_> = lines.iter().collect();
            assert!(lines.len() >= 4 && different.len() == lines.len(), "{duration_s}: {lines:?}");
        }
    }

    #[test]
    fn an_empty_story_is_still_a_chart() {
        assert!(packets(&PacketStory::default()).is_some());
        assert!(waveforms(&[], &[], &[], SPAN).is_some());
    }

    #[test]
    fn a_picture_lies_inside_its_frame() {
        let svg = picture("sent", "data:image/png;base64,AA", 4_000.0, SPAN, &[(1.0, '5')]).expect("drawn");
        assert!(svg.contains(r#"href="data:image/png;base64,AA"/></svg>"#));
        assert!(svg.contains(r#"<image x="58" y="18""#), "{}", &svg[svg.len() - 200..]);
    }
}
