//! The decode thread: prebuffer, back-pressure, looping, end of file.

use std::path::Path;
use std::time::{Duration, Instant};

use super::decode_tests::{data, write_wav};
use super::*;
use crate::dtmf::goertzel;

const FRAME: usize = 160;

/// Reads to the end, waiting while the decoder is late, for at most 60 s of real time.
fn read_all(samples: &mut Samples, limit: usize) -> Vec<i16> {
    let (mut all, mut frame, start) = (Vec::new(), [0; FRAME], Instant::now());
    while all.len() < limit && start.elapsed() < Duration::from_secs(60) {
        match samples.read(&mut frame) {
            Read::Whole | Read::Last => all.extend_from_slice(&frame),
            Read::Late => std::thread::sleep(Duration::from_millis(5)),
            Read::End => break,
        }
    }
    all
}

fn options(prebuffer_ms: u64, repeat: bool) -> StreamOptions {
    StreamOptions { prebuffer: Duration::from_millis(prebuffer_ms), repeat, ..Default::default() }
}

fn long_wav(dir: &Path, seconds: f64) -> std::path::PathBuf {
    let path = dir.join("long.wav");
    write_wav(&path, 16_000, 2, seconds);
    path
}

#[test]
fn the_prebuffer_is_there_when_open_returns() {
    let dir = tempfile::tempdir().unwrap();
    let (_stream, samples) = FileStream::open(&long_wav(dir.path(), 10.0), options(1_000, false)).unwrap();
    assert!(samples.available() >= 8_000);
}

#[test]
fn a_short_file_is_whole_in_the_prebuffer() {
    let (mut stream, mut samples) = FileStream::open(&data("tone.mp3"), options(1_000, false)).unwrap();
    assert_eq!(stream.format_name(), "MP3");
    assert_eq!(samples.available(), 4_000);
    assert_eq!(read_all(&mut samples, usize::MAX).len(), 4_000);
    let mut frame = [1; FRAME];
    assert_eq!(samples.read(&mut frame), Read::End);
    assert_eq!(frame, [0; FRAME]);
    let end = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(5));
        stream.poll_end()
    });
    let end = end.take(2_000).flatten().next().expect("the thread ends");
    assert!(end.error.is_none() && end.corrupt == 0);
}

#[test]
fn the_ring_bounds_what_is_decoded_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let (_stream, mut samples) =
        FileStream::open(&long_wav(dir.path(), 20.0), options(60_000, false)).unwrap();
    assert_eq!(samples.available(), 32_000);
    let all = read_all(&mut samples, usize::MAX);
    assert_eq!(all.len(), 160_000);
    let level = (2.0 * goertzel(&all[80_000..120_000], 440.0, 8_000)).sqrt();
    assert!((level - 16_384.0).abs() < 300.0, "{level}");
}

#[test]
fn the_last_frame_is_filled_up_with_silence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd.wav");
    write_wav(&path, 8_000, 1, 0.03);
    let (_stream, mut samples) = FileStream::open(&path, options(1_000, false)).unwrap();
    let mut frame = [7; FRAME];
    assert_eq!(samples.read(&mut frame), Read::Whole);
    assert_eq!(samples.read(&mut frame), Read::Last);
    assert!(frame[40..].iter().any(|&s| s != 0) && frame[80..].iter().all(|&s| s == 0));
    assert_eq!(samples.read(&mut frame), Read::End);
}

#[test]
fn a_loop_has_no_seam() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("loop.wav");
    // A whole number of periods: a seam would show as a phase jump.
    write_wav(&path, 44_100, 1, 0.5);
    let (stream, mut samples) = FileStream::open(&path, options(1_000, true)).unwrap();
    let all = read_all(&mut samples, 80_000);
    assert_eq!(all.len(), 80_000);
    let whole = (2.0 * goertzel(&all[8_000..72_000], 440.0, 8_000)).sqrt();
    assert!((whole - 16_384.0).abs() < 100.0, "{whole}");
    drop(stream);
}

#[test]
fn dropping_the_stream_stops_the_thread() {
    let dir = tempfile::tempdir().unwrap();
    let (stream, mut samples) = FileStream::open(&long_wav(dir.path(), 20.0), options(1_000, true)).unwrap();
    drop(stream);
    assert!(read_all(&mut samples, usize::MAX).len() <= 32_000 + FRAME);
}

#[test]
fn a_file_that_does_not_decode_is_an_error_at_once() {
    assert!(matches!(
        FileStream::open(&data("README.md"), options(1_000, false)).unwrap_err(),
        FileError::Unsupported { .. }
    ));
}
