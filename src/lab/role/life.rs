//! The common parts of every role's process: signals, READY, metrics, and waiting.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use crossbeam_channel::{Receiver, never, select};
use nix::sys::signal::Signal;

use crate::role::UaOptions;
use b2b_base::metrics::{MediaStats, MetricsLine, UaStats};
use b2b_base::util::{process, signal};
use b2b_ua::{Ua, UaEvent};

/// Interval of metrics lines.
const METRICS_PERIOD: Duration = Duration::from_secs(5);
/// Polling interval for state that produces no events. Each poll wakes the process.
const TICK: Duration = Duration::from_millis(500);
/// Maximum time of a shutdown.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the far end may take to confirm a hang-up.
pub(super) const HANGUP_GRACE: Duration = Duration::from_secs(5);
/// The same if the far end never responded: a CANCEL would have to wait for its first response (RFC 3261
/// §9.1), which may never come. Also for a UA whose calls have ended.
pub(super) const UNHEARD_GRACE: Duration = Duration::from_secs(1);

/// Why a role woke up.
#[derive(Debug, PartialEq)]
pub(super) enum Wake {
    /// An event of a call.
    Call(UaEvent),
    /// A signal to end.
    Stop(Signal),
    /// Time for polling.
    Tick,
}

/// The metrics that only the role knows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Mouth-to-ear latency, p50 and p95, ms.
    pub latency_ms: Option<(f64, f64)>,
    /// Seconds of audio played out or sent.
    pub duration_s: f64,
    /// Time from dialling to the answer.
    pub setup: Option<Duration>,
    /// RMS received and sent, dBov.
    pub rms_dbov: Option<(Option<f64>, Option<f64>)>,
}

/// One role's process.
pub(super) struct Life {
    role: &'static str,
    out: Box<dyn Write + Send>,
    signals: Receiver<Signal>,
    /// Selects the counters that the role reports.
    view: fn(&UaStats) -> MediaStats,
    impair: Option<String>,
    next_tick: Instant,
    metrics: Metrics,
}

struct Metrics {
    started: Instant,
    printed: Instant,
    cpu: Duration,
    /// Packets sent and received at the last line of a call, and for how many lines they have not changed.
    packets: Option<(u64, u64)>,
    unchanged: u32,
}

impl Life {
    /// Starts the life of a process: takes over the signals.
    pub(super) fn begin(role: &'static str, options: &UaOptions) -> anyhow::Result<Life> {
        let signals = signal::take_over(PATIENCE).context("cannot take over the signals")?;
        Ok(Life::new(role, options, signals, Box::new(std::io::stdout())))
    }

    fn new(
        role: &'static str,
        options: &UaOptions,
        signals: Receiver<Signal>,
        out: Box<dyn Write + Send>,
    ) -> Life {
        let now = Instant::now();
        Life {
            role,
            out,
            signals,
            view: UaStats::total,
            impair: options.config.impairment.map(|impairment| impairment.to_string()),
            next_tick: now + TICK,
            metrics: Metrics {
                started: now,
                printed: now,
                cpu: process::cpu_time(),
                packets: None,
                unchanged: 0,
            },
        }
    }

    /// Selects the counters to report.
    pub(super) fn view(&mut self, view: fn(&UaStats) -> MediaStats) {
        self.view = view;
    }

    /// Prints the READY line.
    pub(super) fn ready(&mut self, sip: SocketAddr, options: &UaOptions) {
        let codec = options.config.codecs.first().map_or("none", |codec| codec.key());
        let (role, ptime) = (self.role, options.config.ptime_ms);
        self.print(&format!("READY role={role} sip={sip} codec={codec} ptime={ptime}ms"));
    }

    /// Waits for the next event, at most until `deadline`. At that time, and every half second in any case,
    /// it returns a tick.
    pub(super) fn wait(&mut self, ua: &dyn Ua, deadline: Option<Instant>) -> Wake {
        let now = Instant::now();
        let until = deadline.map_or(self.next_tick, |deadline| deadline.min(self.next_tick));
        if now >= until {
            self.next_tick = now + TICK;
            return Wake::Tick;
        }
        select! {
            recv(self.signals) -> signal => match signal {
                Ok(signal) => Wake::Stop(signal),
                Err(_) => { self.signals = never(); Wake::Tick }
            },
            recv(ua.events()) -> event => match event {
                Ok(event) => Wake::Call(event),
                Err(_) => Wake::Call(UaEvent::Fatal { message: "the engine is gone".into() }),
            },
            default(until - now) => {
                self.next_tick = Instant::now() + TICK;
                Wake::Tick
            }
        }
    }

    /// Prints a metrics line if one is due.
    pub(super) fn report(&mut self, ua: &dyn Ua, measured: impl FnOnce() -> Measured) {
        let now = Instant::now();
        let period = now.saturating_duration_since(self.metrics.printed);
        if period < METRICS_PERIOD {
            return;
        }
        let cpu = process::cpu_time();
        let used = cpu.saturating_sub(self.metrics.cpu);
        let stats = (self.view)(&ua.stats());
        if self.metrics.stalled(&stats) {
            tracing::warn!("stalled: a call is up, but no packet came or went for two metrics periods");
        }
        (self.metrics.printed, self.metrics.cpu) = (now, cpu);
        let line = self.line(&stats, &measured(), percent(used, period), false);
        self.print_json(&line);
    }

    /// Prints the last metrics line.
    pub(super) fn report_last(&mut self, stats: &UaStats, measured: &Measured) {
        let cpu_pct = percent(process::cpu_time(), self.metrics.started.elapsed());
        let line = self.line(&(self.view)(stats), measured, cpu_pct, true);
        self.print_json(&line);
    }

    fn line(&self, stats: &MediaStats, measured: &Measured, cpu_pct: f64, last: bool) -> MetricsLine {
        MetricsLine {
            ts: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            role: self.role.to_string(),
            pid: std::process::id(),
            last,
            in_call: stats.in_call,
            packets_tx: stats.packets_tx,
            packets_rx: stats.packets_rx,
            bytes_tx: stats.bytes_tx,
            bytes_rx: stats.bytes_rx,
            rtp_loss: stats.lost,
            late: stats.late,
            duplicates: stats.duplicates,
            reordered: stats.reordered,
            injected: stats.injected,
            concealed: stats.concealed,
            underruns: stats.underruns,
            digits: stats.digits,
            jitter_ms_p50: stats.jitter_ms_p50,
            jitter_ms_p95: stats.jitter_ms_p95,
            rtp_gap_ms_max: stats.rtp_gap_ms_max,
            arrival_gap_ms_max: stats.arrival_gap_ms_max,
            rtt_ms: stats.rtt_ms,
            mos: stats.mos,
            cpu_pct,
            rss_bytes: process::resident_bytes(),
            latency_ms_p50: measured.latency_ms.map(|latency| latency.0),
            latency_ms_p95: measured.latency_ms.map(|latency| latency.1),
            duration_s: measured.duration_s,
            setup_ms: measured.setup.map(|setup| setup.as_secs_f64() * 1e3),
            rms_in_dbov: measured.rms_dbov.and_then(|rms| rms.0),
            rms_out_dbov: measured.rms_dbov.and_then(|rms| rms.1),
            impair: self.impair.clone(),
        }
    }

    fn print_json(&mut self, line: &MetricsLine) {
        match serde_json::to_string(line) {
            Ok(json) => self.print(&json),
            Err(error) => tracing::error!("no metrics: {error}"),
        }
    }

    /// Prints one line in one write. A missing reader does not end the call.
    fn print(&mut self, line: &str) {
        let written = self.out.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written {
            tracing::debug!("standard output: {error}");
        }
    }
}

impl Metrics {
    /// Whether a call has just completed its second period without any packets.
    fn stalled(&mut self, stats: &MediaStats) -> bool {
        let packets = stats.in_call.then_some((stats.packets_tx, stats.packets_rx));
        self.unchanged = if packets.is_some() && packets == self.packets { self.unchanged + 1 } else { 0 };
        self.packets = packets;
        self.unchanged == 2
    }
}

fn percent(part: Duration, whole: Duration) -> f64 {
    let percent = 100.0 * part.as_secs_f64() / whole.as_secs_f64().max(1e-3);
    (percent * 100.0).round() / 100.0
}

#[cfg(test)]
impl Life {
    /// A life in a test: signals come from a channel, lines go to a buffer.
    pub(super) fn in_test(
        role: &'static str,
        options: &UaOptions,
        signals: Receiver<Signal>,
        out: Box<dyn Write + Send>,
    ) -> Life {
        Life::new(role, options, signals, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalled_is_said_once_after_two_periods_without_packets_in_a_call() {
        let mut metrics = Metrics {
            started: Instant::now(),
            printed: Instant::now(),
            cpu: Duration::ZERO,
            packets: None,
            unchanged: 0,
        };
        let stats = |in_call, packets_rx| MediaStats { in_call, packets_rx, ..Default::default() };
        let lines =
            [(false, 0), (false, 0), (true, 5), (true, 5), (true, 5), (true, 5), (true, 6), (true, 6)];
        let said: Vec<bool> = lines.iter().map(|&(call, rx)| metrics.stalled(&stats(call, rx))).collect();
        assert_eq!(said, [false, false, false, false, true, false, false, false]);
    }

    #[test]
    fn percent_is_of_one_core() {
        assert_eq!(percent(Duration::from_millis(25), Duration::from_secs(5)), 0.5);
        assert_eq!(percent(Duration::ZERO, Duration::ZERO), 0.0);
    }
}
