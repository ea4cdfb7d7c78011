//! A spectrogram as a PNG.

use b2b_dsp::fft;

use crate::results::charts::{COLUMNS, Span};

/// 32 ms at 8 kHz: separates speech harmonics and DTMF frequencies.
const WINDOW: usize = 256;
/// Rows of the picture: one per frequency bin.
const ROWS: usize = WINDOW / 2;
/// Range of the colours, in dBFS of a sine.
const DARKEST_DB: f32 = -80.0;
const BRIGHTEST_DB: f32 = -15.0;

/// The spectrogram of `span` as an indexed PNG of [`COLUMNS`] × 128 pixels, 0 Hz at the bottom. `offset_s` is
/// the time of the first sample; outside the samples the picture is black. `None` if the encoder fails.
pub fn png(samples: &[i16], rate: u32, offset_s: f64, span: Span) -> Option<Vec<u8>> {
    let pixels = pixels(samples, rate, offset_s, span);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, COLUMNS as u32, ROWS as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette());
    encoder.set_compression(png::Compression::High);
    encoder.write_header().ok()?.write_image_data(&pixels).ok()?;
    Some(file)
}

/// Palette indices, row by row from the top.
fn pixels(samples: &[i16], rate: u32, offset_s: f64, span: Span) -> Vec<u8> {
    let mut picture = vec![0; COLUMNS * ROWS];
    let plan = fft::forward(WINDOW);
    let shape: Vec<f32> =
        (0..WINDOW).map(|i| 0.5 - 0.5 * (std::f32::consts::TAU * i as f32 / WINDOW as f32).cos()).collect();
    let (mut input, mut output) = (plan.make_input_vec(), plan.make_output_vec());
    let width = (span.to_s - span.from_s) / COLUMNS as f64;
    let index = |time: f64| ((time - offset_s) * f64::from(rate)).round() as i64;
    for column in 0..COLUMNS {
        let from = index(span.from_s + column as f64 * width);
        let to = index(span.from_s + (column + 1) as f64 * width);
        let mut loudest = [0f32; ROWS];
        // Half-overlapping windows that begin in this column, at least one.
        for start in (from..to.max(from + 1)).step_by(WINDOW / 2) {
            let start = start - (WINDOW / 2) as i64;
            for (i, value) in input.iter_mut().enumerate() {
                let sample = usize::try_from(start + i as i64).ok().and_then(|at| samples.get(at));
                *value = sample.map_or(0.0, |s| f32::from(*s) / 32_768.0) * shape[i];
            }
            // All buffers have the plan's lengths: this cannot fail.
            let _ = plan.process(&mut input, &mut output);
            for (row, bin) in loudest.iter_mut().zip(&output) {
                *row = row.max(bin.norm());
            }
        }
        for (row, magnitude) in loudest.iter().enumerate() {
            // A full-scale sine gives WINDOW / 4 through this window.
            let db = 20.0 * (magnitude / (WINDOW as f32 / 4.0)).max(1e-6).log10();
            let brightness = ((db - DARKEST_DB) / (BRIGHTEST_DB - DARKEST_DB)).clamp(0.0, 1.0);
            picture[(ROWS - 1 - row) * COLUMNS + column] = (brightness * 255.0) as u8;
        }
    }
    picture
}

/// Black through violet and orange to pale yellow, each step brighter.
fn palette() -> Vec<u8> {
    const STOPS: [(f32, [f32; 3]); 6] = [
        (0.0, [4.0, 4.0, 12.0]),
        (0.25, [48.0, 18.0, 92.0]),
        (0.5, [140.0, 36.0, 110.0]),
        (0.7, [220.0, 72.0, 72.0]),
        (0.88, [250.0, 160.0, 60.0]),
        (1.0, [255.0, 245.0, 190.0]),
    ];
    (0..256u16)
        .flat_map(|i| {
            let at = f32::from(i) / 255.0;
            let upper = STOPS.iter().position(|(stop, _)| *stop >= at).unwrap_or(STOPS.len() - 1).max(1);
            let ((a, from), (b, to)) = (STOPS[upper - 1], STOPS[upper]);
            let part = (at - a) / (b - a);
            [0, 1, 2].map(|c| (from[c] + (to[c] - from[c]) * part).round() as u8)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { from_s: 0.0, to_s: 4.0 };

    fn tone(hz: f64) -> Vec<i16> {
        (0..32_000)
            .map(|i| ((f64::from(i) * hz / 8_000.0 * std::f64::consts::TAU).sin() * 8_000.0) as i16)
            .collect()
    }

    #[test]
    fn a_tone_is_a_line_at_its_height() {
        let pixels = pixels(&tone(1_000.0), 8_000, 0.0, SPAN);
        let column = COLUMNS / 2;
        let brightest = (0..ROWS).max_by_key(|row| pixels[row * COLUMNS + column]).expect("rows");
        assert_eq!(ROWS - 1 - brightest, 1_000 * WINDOW / 8_000);
        assert!(pixels[brightest * COLUMNS + column] > 200);
        assert!(pixels[column] < 30, "3.9 kHz is dark");
    }

    #[test]
    fn outside_of_the_samples_it_is_dark() {
        let pixels = pixels(&tone(1_000.0)[..16_000], 8_000, 0.0, SPAN);
        assert!((0..ROWS).all(|row| pixels[row * COLUMNS + COLUMNS - 1] == 0));
    }

    #[test]
    fn the_picture_is_a_png_of_the_right_size() {
        let file = png(&tone(440.0), 8_000, 0.0, SPAN).expect("encoded");
        let reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("readable");
        assert_eq!((reader.info().width, reader.info().height), (COLUMNS as u32, ROWS as u32));
    }

    #[test]
    fn the_palette_grows_brighter_all_the_way() {
        let palette = palette();
        assert_eq!(palette.len(), 768);
        let sum = |i: usize| palette[i * 3..i * 3 + 3].iter().map(|c| u32::from(*c)).sum::<u32>();
        assert!((1..256).all(|i| sum(i) >= sum(i - 1)));
    }
}
