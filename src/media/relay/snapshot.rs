//! The state of an endpoint as a value that is written and read back: for a process that takes over
//! the calls of one that has ended, and for calls that move between processes.
//!
//! It consists of each part's own snapshot: received and sent streams (`forward`), addresses, reports and keys
//! (`transport`), and events (`rtp`). Times are ages, since the next machine counts from another epoch.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::tones::Tones;
use super::{Drops, EndpointConfig};
use crate::Now;
use crate::far_end::Silence;
use crate::forward::{OutSpace, SpaceSnapshot, StateSnapshot};
use crate::remote::Remote;
use crate::rtp::telephone_event::EventSnapshot;
use crate::snapshot::{self, Back, away, holds};
pub use crate::snapshot::{LONGEST_AWAY, MARGIN, RestoreError};
use crate::transcode::TranscodeStats;
use crate::transport::lock::LockSnapshot;
use crate::transport::protection::{Protection, ProtectionSnapshot};
use crate::transport::reports::ReportsSnapshot;
use b2b_base::util::ntp::NtpTime;

/// The version that is written, and the only one that is accepted.
const VERSION: u16 = 1;
/// Maximum packet time, ms; we send no longer packets.
const LONGEST_PACKET: u32 = 1_000;

/// The state of a relay endpoint: its configuration, what its far end said of itself, the believed
/// source address, what was received, sent, dropped and reported, digits, and SRTP with its keys.
/// An endpoint restored from it continues under the same SSRC, with timestamps advanced by the
/// elapsed time, and with its earlier counters.
///
/// **Its octets are as secret as the keys**, which it contains if the endpoint uses SRTP, and so
/// are the pressed digits it contains. `Debug` shows neither.
///
/// Snapshots are periodic, so one may be older than the last packets sent. Without SRTP, sequence numbers advance by the
/// elapsed time, too; with it, they and the SRTCP index continue [`MARGIN`] ahead: no index is used twice under one key
/// (RFC 3711 §9.1) if
///
/// - it is restored at most [`LONGEST_AWAY`] after it was written ([`RestoreError::TooOld`]; by the wall clock,
///   which must not be set back meanwhile), and at most 273 packets a second were sent to the far end since,
/// - it is restored once, and a new snapshot is written before anything is sent, that is, before the endpoint
///   is joined, and before its first report, which is a second later at the earliest, and
/// - a new snapshot is written when other keys are agreed, before any packet is sent under them.
///
/// Not included:
///
/// - *What is configured again*: the peer ([`Command::Join`](super::machine::Command::Join), once both are
///   restored), recordings and traces, and [`Command::Bound`](super::machine::Command::Bound).
/// - *What restarts as after a gap*: transcoders and jitter buffers, whose state covers the last tenths of a
///   second; tone detection; the limit on simultaneous digits.
/// - *What has an unknown position*: prompts, music and streams, which applications start again; rooms, whose
///   members enter again; digits being sent to the far end, since those sent after the snapshot would be heard
///   twice.
/// - *Quality over time*: its samples start anew.
/// - *What was received and sent between the snapshot and the end of the former process*: no counter includes
///   it. Packets missing before the first sound packet are not network loss, and are not counted as such.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EndpointSnapshot {
    version: u16,
    /// When it was written, as an NTP time (RFC 5905 §6).
    written: u64,
    /// How long the endpoint had been open, ns.
    age: u64,
    config: EndpointConfig,
    remote: Option<Remote>,
    lock: LockSnapshot,
    /// The far end's stream.
    ssrc: u32,
    received: StateSnapshot,
    sent: SpaceSnapshot,
    reports: ReportsSnapshot,
    events: EventSnapshot,
    drops: Drops,
    transcoded: TranscodeStats,
    /// Clock rate, Hz, in which jitter is measured.
    measured_in: u32,
    missing_at_rest: Option<u32>,
    lost_before: u32,
    ssrc_changes: u32,
    timeouts: u32,
    digits: u32,
    refused_payload_type: Option<u8>,
    refused_source: Option<SocketAddr>,
    refused_told: bool,
    /// [`RelayEvent::Started`](super::RelayEvent::Started) was raised.
    started: bool,
    /// Tones are reported as digits.
    hears_tones: bool,
    typed: Pressed,
    protection: Option<ProtectionSnapshot>,
}

/// Digits not yet collected; they may be a PIN.
#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Pressed(String);

impl fmt::Debug for Pressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pressed(…)")
    }
}

impl EndpointSnapshot {
    /// The endpoint's configuration, with which to open the next one.
    pub fn config(&self) -> EndpointConfig {
        self.config.clone()
    }

    /// What its far end has said of itself.
    pub fn remote(&self) -> Option<Remote> {
        self.remote
    }

    /// Whether it has SRTP, so that its octets contain keys.
    pub fn is_protected(&self) -> bool {
        self.protection.is_some()
    }

    /// Adds the SRTP state, which the machine does not have.
    pub(super) fn protect(&mut self, protection: Option<&Protection>) {
        self.protection = protection.map(ProtectionSnapshot::new);
    }

    /// The restored SRTP state.
    ///
    /// # Errors
    /// The state is not one that was written here.
    pub(super) fn protection(&self) -> Result<Option<Protection>, RestoreError> {
        let restored = self.protection.as_ref().map(|it| it.restored(self.sent.last()));
        restored.transpose()
    }

    /// Checks whether an endpoint can be restored from it now; returns its age.
    pub(super) fn check(&self, now: NtpTime) -> Result<Duration, RestoreError> {
        if self.version != VERSION {
            return Err(RestoreError::Version(self.version));
        }
        self.lock.check()?;
        self.received.check()?;
        self.sent.check()?;
        self.reports.check()?;
        self.events.check()?;
        self.remote.as_ref().map_or(Ok(()), check_remote)?;
        self.protection()?;
        snapshot::counters(self.drops.each().map(|(_, count)| count))?;
        let TranscodeStats { decoded, encoded, concealed_ms } = self.transcoded;
        snapshot::counters([decoded, encoded, concealed_ms])?;
        snapshot::counters_32([self.ssrc_changes, self.timeouts, self.digits, self.lost_before])?;
        snapshot::clock_rate(self.measured_in)?;
        snapshot::ages([Some(self.age)])?;
        let away = away(NtpTime(self.written), now);
        let longest = if self.is_protected() { LONGEST_AWAY } else { Duration::from_nanos(snapshot::OLDEST) };
        if away > longest { Err(RestoreError::TooOld(away)) } else { Ok(away) }
    }
}

/// Checks the limits of a remote description.
fn check_remote(remote: &Remote) -> Result<(), RestoreError> {
    if let Some((payload_type, rate)) = remote.takes_event {
        holds(payload_type < 128, "payload type")?;
        snapshot::clock_rate(rate)?;
    }
    for (payload_type, rate) in remote.telephone_events.iter() {
        holds(payload_type < 128, "payload type")?;
        snapshot::clock_rate(rate)?;
    }
    let says = remote.voice.says.iter().flatten().map(|says| says.0);
    let gets = remote.voice.gets.map(|gets| gets.payload_type);
    holds(says.chain(gets).all(|payload_type| payload_type < 128), "payload type")?;
    let packets = remote.voice.gets.map(|gets| gets.ptime_ms);
    holds(packets.is_none_or(|ms| (1..=LONGEST_PACKET).contains(&ms)), "packet time")
}

impl Endpoint {
    /// The endpoint's state; `out` is its outgoing stream including the current run, with
    /// timestamps at `clock_rate`.
    pub(super) fn snapshot(
        &self,
        now: Now,
        at: u64,
        (out, clock_rate): (&OutSpace, u32),
    ) -> EndpointSnapshot {
        let config = EndpointConfig {
            rtp_timeout: self.far.silence.timeout(),
            sources: self.far.lock.sources().clone(),
        };
        let mut typed = self.typed;
        EndpointSnapshot {
            version: VERSION,
            written: now.wall.0,
            age: at.saturating_sub(self.since),
            config,
            remote: self.far.remote,
            lock: LockSnapshot::new(&self.far.lock, at),
            ssrc: self.rule.ssrc,
            received: StateSnapshot::new(&self.state, at),
            sent: SpaceSnapshot::new(out, clock_rate, at),
            reports: ReportsSnapshot::new(&self.far.reports, at),
            events: self.far.digits.snapshot(now.at),
            drops: self.drops,
            transcoded: self.stats(out, |_| now.at).transcoded,
            measured_in: self.pace.measured_in,
            missing_at_rest: self.pace.missing_at_rest,
            lost_before: self.lost_before,
            ssrc_changes: self.ssrc_changes,
            timeouts: self.timeouts,
            digits: self.far.digits.count,
            refused_payload_type: self.refused_payload_type,
            refused_source: self.refused.source,
            refused_told: self.refused.told,
            started: self.started,
            hears_tones: self.tones.is_some(),
            typed: Pressed(std::iter::from_fn(|| typed.pop()).collect()),
            protection: None,
        }
    }

    /// Restores a checked snapshot. The endpoint has no far end yet and has sent nothing.
    pub(super) fn restore(&mut self, snapshot: &EndpointSnapshot, back: Back, now: Instant) {
        self.since = back.at.saturating_sub(back.since(snapshot.age)).max(1);
        self.far.silence = Silence::new(snapshot.config.rtp_timeout);
        self.far.remote = snapshot.remote;
        self.far.lock = snapshot.lock.restored(back, snapshot.config.sources.clone());
        self.follow_lock();
        self.rule.ssrc = snapshot.ssrc;
        self.state = snapshot.received.restored(back);
        self.out = snapshot.sent.restored(back, snapshot.is_protected());
        self.far.reports = snapshot.reports.restored(back);
        self.far.digits.restore(snapshot.events.restored(back, now), snapshot.digits);
        self.drops = snapshot.drops;
        self.transcoded = snapshot.transcoded;
        self.pace.measured_in = snapshot.measured_in;
        self.pace.missing_at_rest = snapshot.missing_at_rest;
        self.lost_before = snapshot.lost_before;
        self.ssrc_changes = snapshot.ssrc_changes;
        self.timeouts = snapshot.timeouts;
        self.refused_payload_type = snapshot.refused_payload_type;
        (self.refused.source, self.refused.told) = (snapshot.refused_source, snapshot.refused_told);
        self.started = snapshot.started;
        self.tones = snapshot.hears_tones.then(|| Box::new(Tones::new()));
        self.typed.clear();
        snapshot.typed.0.chars().for_each(|digit| self.typed.push(digit));
        let idle = self.idle_way();
        self.set_way(&idle);
        self.count_afresh();
    }
}
