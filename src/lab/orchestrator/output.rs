//! The output of a child: one reader thread per stream, with bounded memory.
//!
//! READY and metrics lines bypass the log lines, so a flood of log lines does not delay them. Log lines are
//! dropped and counted when their channel is full.

use std::io::Read;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::ready::{self, Ready, ReadyError};
use b2b_base::metrics::MetricsLine;
use b2b_base::util::lines::LineReader;
use b2b_config::RoleName;

/// Maximum log lines queued per child.
const MAX_LINES: usize = 10_000;
/// Maximum bytes of queued log lines.
const MAX_BYTES: usize = 4 << 20;
/// Maximum bytes of one line; the rest is cut.
const MAX_LINE: usize = 8 << 10;

/// A line of a child.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildLine {
    /// The text, safe to print.
    pub text: String,
    /// Whether it is a metrics line, which text mode does not print.
    pub metrics: bool,
}

/// The receiving end of a child's two streams.
#[derive(Debug)]
pub struct Output {
    lines: Receiver<ChildLine>,
    /// READY lines, valid or not. A second one is an error.
    pub ready: Receiver<Result<Ready, ReadyError>>,
    /// Metrics lines.
    pub metrics: Receiver<MetricsLine>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
    open_streams: AtomicUsize,
    errors: Mutex<Errors>,
}

#[derive(Debug, Default)]
struct Errors {
    /// The last line of level error.
    logged: Option<String>,
    /// The last line on standard error that is not a log line.
    other: Option<String>,
}

impl Output {
    /// Reads both streams of `role` on separate threads. `wake` is signalled for each new item.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn read(
        role: RoleName,
        stdout: impl Read + Send + 'static,
        stderr: impl Read + Send + 'static,
        wake: Sender<()>,
    ) -> std::io::Result<Self> {
        let (line_sender, lines) = bounded(MAX_LINES);
        let (ready_sender, ready) = bounded(4);
        let (metrics_sender, metrics) = bounded(64);
        let shared = Arc::new(Shared { open_streams: AtomicUsize::new(2), ..Shared::default() });
        let reader = Reader {
            role,
            lines: line_sender,
            ready: ready_sender,
            metrics: metrics_sender,
            shared: shared.clone(),
            wake,
        };
        let (out, err) = (reader.clone(), reader);
        std::thread::Builder::new().name(format!("{role}-out")).spawn(move || out.follow(stdout, true))?;
        std::thread::Builder::new().name(format!("{role}-err")).spawn(move || err.follow(stderr, false))?;
        Ok(Output { lines, ready, metrics, shared })
    }

    /// The next log line, if one is queued.
    pub fn next_line(&self) -> Option<ChildLine> {
        let line = self.lines.try_recv().ok()?;
        self.shared.queued_bytes.fetch_sub(line.text.len(), Ordering::Relaxed);
        Some(line)
    }

    /// Whether log lines are queued.
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The number of dropped lines so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// The last line of level error; without one, the last line on standard error that is not a log line.
    pub fn last_error(&self) -> Option<String> {
        let errors = self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.logged.clone().or_else(|| errors.other.clone())
    }

    /// Whether both streams have ended.
    pub fn is_closed(&self) -> bool {
        self.shared.open_streams.load(Ordering::Acquire) == 0
    }

    /// Whether both streams have ended and all items are taken.
    pub fn is_done(&self) -> bool {
        self.is_closed() && self.lines.is_empty() && self.ready.is_empty() && self.metrics.is_empty()
    }
}

#[derive(Clone)]
struct Reader {
    role: RoleName,
    lines: Sender<ChildLine>,
    ready: Sender<Result<Ready, ReadyError>>,
    metrics: Sender<MetricsLine>,
    shared: Arc<Shared>,
    wake: Sender<()>,
}

impl Reader {
    fn follow(self, stream: impl Read, is_stdout: bool) {
        let mut lines = LineReader::new(stream, MAX_LINE);
        // a read error is treated as the end of the pipe
        while let Ok(Some(raw)) = lines.next_line() {
            let text = raw.visible();
            let metrics = is_stdout && self.take(&text);
            if !is_stdout {
                self.note_error(&text);
            }
            self.queue(ChildLine { text, metrics });
            let _ = self.wake.try_send(());
        }
        self.shared.open_streams.fetch_sub(1, Ordering::Release);
        let _ = self.wake.try_send(());
    }

    /// Routes READY and metrics lines to their channels. Returns whether it is a metrics line.
    fn take(&self, text: &str) -> bool {
        if ready::is_ready(text) {
            // a full channel already proves that there are too many
            let _ = self.ready.try_send(ready::parse(text, self.role));
            return false;
        }
        if !text.starts_with('{') {
            return false;
        }
        match serde_json::from_str::<MetricsLine>(text) {
            Ok(line) => {
                let _ = self.metrics.try_send(line);
                true
            }
            Err(_) => false,
        }
    }

    fn note_error(&self, text: &str) {
        let mut errors = self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner);
        match level(text).as_deref() {
            Some("ERROR") => errors.logged = Some(text.to_string()),
            Some(_) => {}
            None if text.trim().is_empty() => {}
            None => errors.other = Some(text.to_string()),
        }
    }

    fn queue(&self, line: ChildLine) {
        let bytes = line.text.len();
        let before = self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > MAX_BYTES || self.lines.try_send(line).is_err() {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Limits warnings about dropped lines to one per minute.
#[derive(Debug, Clone, Copy, Default)]
pub struct DropWarnings {
    last: Option<Instant>,
    counted: u64,
}

impl DropWarnings {
    const EVERY: Duration = Duration::from_secs(60);

    /// Takes the number of lines dropped so far; returns how many to warn about now.
    pub fn on(&mut self, now: Instant, dropped: u64) -> Option<u64> {
        let due = self.last.is_none_or(|last| now >= last + Self::EVERY);
        if dropped == self.counted || !due {
            return None;
        }
        let fresh = dropped.saturating_sub(self.counted);
        *self = DropWarnings { last: Some(now), counted: dropped };
        Some(fresh)
    }
}

/// The level of a log line, text or JSON, in upper case; `None` if it is not a log line.
fn level(text: &str) -> Option<String> {
    let level = if text.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        value.get("level")?.as_str()?.to_ascii_uppercase()
    } else {
        let mut words = text.split_ascii_whitespace();
        words.next().filter(|ts| ts.len() >= 20 && ts.ends_with('Z'))?;
        words.next()?.to_string()
    };
    matches!(level.as_str(), "ERROR" | "WARN" | "INFO" | "DEBUG" | "TRACE").then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of a child that wrote these streams.
    fn read(stdout: Vec<u8>, stderr: Vec<u8>) -> Output {
        let (wake, rung) = bounded(1);
        let streams = (std::io::Cursor::new(stdout), std::io::Cursor::new(stderr));
        let output = Output::read(RoleName::Sink, streams.0, streams.1, wake).unwrap();
        while output.shared.open_streams.load(Ordering::Acquire) > 0 {
            let _ = rung.recv();
        }
        output
    }

    #[test]
    fn ready_and_metrics_pass_a_flood_of_lines() {
        let mut flood = "noise\n".repeat(2 * MAX_LINES).into_bytes();
        flood.extend(b"READY role=sink sip=127.0.0.1:5 codec=pcmu ptime=20ms\n");
        flood.extend(serde_json::to_vec(&MetricsLine { packets_rx: 7, ..MetricsLine::default() }).unwrap());
        let output = read(flood, Vec::new());
        assert!(output.ready.try_recv().unwrap().is_ok());
        assert_eq!(output.metrics.try_recv().unwrap().packets_rx, 7);
        assert_eq!(output.dropped(), MAX_LINES as u64 + 2);
        assert_eq!(std::iter::from_fn(|| output.next_line()).count(), MAX_LINES);
        assert!(output.is_done());
    }

    #[test]
    fn long_lines_are_bounded_in_bytes_too() {
        let mut flood = Vec::new();
        for _ in 0..2_000 {
            flood.extend(std::iter::repeat_n(b'x', MAX_LINE));
            flood.push(b'\n');
        }
        let output = read(flood, Vec::new());
        assert!(output.shared.queued_bytes.load(Ordering::Relaxed) <= MAX_BYTES);
        assert!(output.dropped() > 1_000);
        while output.next_line().is_some() {}
        assert_eq!(output.shared.queued_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_last_error_is_kept() {
        let log = "2026-01-01T00:00:00.000Z ERROR sink first\n2026-01-01T00:00:00.000Z ERROR sink cannot bind\n\
                   2026-01-01T00:00:00.000Z INFO  sink bye\nstray\n";
        assert!(read(Vec::new(), log.into()).last_error().unwrap().ends_with("cannot bind"));
        assert_eq!(read(Vec::new(), b"sh: not found\n\n".to_vec()).last_error().unwrap(), "sh: not found");
        let json = br#"{"ts":"x","level":"error","role":"sink","msg":"gone"}"#.to_vec();
        assert!(read(Vec::new(), json).last_error().unwrap().contains("gone"));
        assert_eq!(read(b"ERROR\n".to_vec(), Vec::new()).last_error(), None);
    }

    #[test]
    fn drops_are_warned_about_once_a_minute_with_the_count() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut warnings = DropWarnings::default();
        assert_eq!(warnings.on(at(0), 0), None);
        assert_eq!(warnings.on(at(1), 5), Some(5));
        assert_eq!(warnings.on(at(2), 900), None);
        assert_eq!(warnings.on(at(61), 1_000), Some(995));
        assert_eq!(warnings.on(at(200), 1_000), None);
    }

    #[test]
    fn a_metrics_line_is_marked_and_other_json_is_a_line() {
        let metrics = serde_json::to_string(&MetricsLine::default()).unwrap();
        let output = read(format!("{metrics}\n{{\"a\":1}}\n").into_bytes(), Vec::new());
        assert!(output.next_line().unwrap().metrics);
        assert!(!output.next_line().unwrap().metrics);
    }
}
