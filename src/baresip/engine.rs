//! The engine's calls, on the reactor thread.
//!
//! The library runs entirely on that thread, and so does this module. The state is in a thread-local cell
//! that is never borrowed across a library call that could call back: only plain getters are called while it
//! is borrowed.

use std::cell::RefCell;
use std::ffi::c_char;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::clock::{self, Line, Voice};
use super::ffi;
use super::g711::Codecs;
use super::outcome::{Intent, Outcome, Peer, State, outcome};
use super::packet_log::PacketLog;
use super::playout::{Intake, playout};
use super::received::{Kind, Received};
use super::wire::Trace;
use b2b_base::metrics::quality;
use b2b_ua::{Audio, CallId, EndCause, MediaStats, UaEvent, UaStats};

/// Events queued for a role before some are dropped.
const NEWS: usize = 4_096;
/// Timer B and Timer F (RFC 3261 §17.1): the time after which no response is expected any more.
const GIVEN_UP: Duration = Duration::from_secs(32);
/// Delay from the microphone to the wire: one packet.
const PACKET_MS: f64 = 20.0;

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// Sets or removes the engine of this thread; returns the previous one.
pub(super) fn install(engine: Option<Engine>) -> Option<Engine> {
    ENGINE.replace(engine)
}

/// Accesses the engine of this thread, if it runs.
pub(super) fn with<T>(body: impl FnOnce(&mut Engine) -> T) -> Option<T> {
    ENGINE.with_borrow_mut(|engine| engine.as_mut().map(body))
}

/// A call.
pub(super) struct Entry {
    pub id: CallId,
    /// Alive until CALL_CLOSED; null while the library is still creating it.
    pub call: *mut ffi::Call,
    pub outgoing: bool,
    pub sip_call_id: String,
    pub state: State,
    pub peer: Peer,
    pub intent: Option<Intent>,
    /// Whether its streams exist and are connected to us.
    pub prepared: bool,
    pub voice: Arc<Voice>,
    pub intake: Option<Intake>,
    pub received: Received,
    pub held: bool,
    pub digit: Option<char>,
    pub digits: u64,
    /// When RTP, or a response to our INVITE, was first expected.
    pub since: Instant,
}

impl Entry {
    /// The negotiated media; null before there are streams.
    fn media(&self) -> *const ffi::SdpMedia {
        if self.call.is_null() || !self.prepared {
            return null();
        }
        // SAFETY: on the reactor thread; the call lives until CALL_CLOSED takes its pointer from us, and its
        // streams with it. Getters do not call back.
        unsafe { ffi::stream_sdpmedia(ffi::audio_strm(ffi::call_audio(self.call))) }
    }

    /// The kind of a payload type in this call.
    pub(super) fn kind(&self, payload_type: u8) -> Kind {
        let media = self.media();
        let is = |name: *const c_char| {
            // SAFETY: as in `media`, which may be null; a null name matches any.
            !unsafe { ffi::sdp_media_format(media, true, null(), payload_type.into(), name, -1, -1) }
                .is_null()
        };
        match () {
            () if is(c"telephone-event".as_ptr()) => Kind::TelephoneEvent,
            () if is(null()) => Kind::Audio,
            () => Kind::Unknown,
        }
    }

    /// Whether RTP from the far end is expected.
    fn receives(&self) -> bool {
        // SAFETY: as in `media`.
        !self.held && unsafe { ffi::sdp_media_dir(self.media()) } & ffi::RECEIVES != 0
    }
}

/// A call that the library has closed, but whose end the far end has not confirmed.
struct Awaited {
    id: CallId,
    sip_call_id: String,
    method: &'static str,
    confirmed: EndCause,
    unconfirmed: EndCause,
    until: Instant,
}

/// See the module documentation.
pub(super) struct Engine {
    pub ua: *mut ffi::Ua,
    pub codecs: Codecs,
    pub events: Sender<UaEvent>,
    pub clock: Sender<clock::Command>,
    pub calls: Vec<Entry>,
    awaited: Vec<Awaited>,
    last_id: u64,
    /// The outgoing call that the library is creating.
    pub dialling: Option<CallId>,
    /// The counters of ended calls.
    finished: UaStats,
    pub trace: Option<Trace>,
    pub log: Option<PacketLog>,
    pub ptime_ms: u32,
    pub jitter_ms: u32,
    pub rtp_timeout: Duration,
    /// Signalled when no call is left.
    idle: Option<Sender<()>>,
}

impl Engine {
    pub(super) fn new(codecs: Codecs, events: Sender<UaEvent>, clock: Sender<clock::Command>) -> Engine {
        Engine {
            ua: null_mut(),
            codecs,
            events,
            clock,
            calls: Vec::new(),
            awaited: Vec::new(),
            last_id: 0,
            dialling: None,
            finished: UaStats::default(),
            trace: None,
            log: None,
            ptime_ms: 20,
            jitter_ms: 60,
            rtp_timeout: Duration::MAX,
            idle: None,
        }
    }

    /// Sends an event to the role. If the role falls behind, events that a peer can produce without limit
    /// within a call are dropped.
    pub(super) fn tell(&self, event: UaEvent) {
        let endless =
            matches!(event, UaEvent::Progress { .. } | UaEvent::Digit { .. } | UaEvent::Hold { .. });
        if !endless || self.events.len() < NEWS {
            let _ = self.events.send(event);
        }
    }

    pub(super) fn by_id(&mut self, id: CallId) -> Option<&mut Entry> {
        self.calls.iter_mut().find(|entry| entry.id == id)
    }

    pub(super) fn by_call(&mut self, call: *const ffi::Call) -> Option<&mut Entry> {
        self.calls.iter_mut().find(|entry| entry.call.cast_const() == call)
    }

    /// Adds a new call in its initial state.
    pub(super) fn add(&mut self, call: *mut ffi::Call, sip_call_id: String, outgoing: bool) -> CallId {
        self.last_id += 1;
        let id = CallId(self.last_id);
        let now = Instant::now();
        let voice = Voice::default();
        voice.ptime_ms.store(self.ptime_ms, Relaxed);
        self.calls.push(Entry {
            id,
            call,
            outgoing,
            sip_call_id,
            state: if outgoing { State::Dialling } else { State::Offered },
            peer: Peer::default(),
            intent: None,
            prepared: false,
            voice: Arc::new(voice),
            intake: None,
            received: Received::new(now),
            held: false,
            digit: None,
            digits: 0,
            since: now,
        });
        let _ = self.clock.send(clock::Command::Busy(true));
        id
    }

    /// Connects a call's audio.
    pub(super) fn connect_audio(&mut self, id: CallId, audio: Audio) {
        let Some(entry) = self.calls.iter_mut().find(|entry| entry.id == id) else { return };
        let (intake, playout) = playout();
        entry.intake = Some(intake);
        let line = Line::new(id, entry.voice.clone(), audio.source, audio.sink, playout);
        let _ = self.clock.send(clock::Command::Add(line));
    }

    /// Removes a call that never was established, and its audio.
    pub(super) fn forget(&mut self, id: CallId) {
        self.calls.retain(|entry| entry.id != id);
        let _ = self.clock.send(clock::Command::Remove(id));
        self.look_idle();
    }

    /// Handles a call that the library has closed; its pointer becomes invalid.
    pub(super) fn closed(&mut self, call: *const ffi::Call, text: &str) {
        let Some(index) = self.calls.iter().position(|entry| entry.call.cast_const() == call) else { return };
        let stats = MediaStats { in_call: false, ..self.measure(&self.calls[index]) };
        let entry = self.calls.swap_remove(index);
        let side = if entry.outgoing { &mut self.finished.outgoing } else { &mut self.finished.incoming };
        side.add(&stats);
        let _ = self.clock.send(clock::Command::Remove(entry.id));
        match outcome(entry.state, entry.peer, entry.intent, text) {
            Outcome::Ended(cause) => self.tell(UaEvent::Ended { call: entry.id, cause }),
            Outcome::Awaits { method, confirmed, unconfirmed } => self.awaited.push(Awaited {
                id: entry.id,
                sip_call_id: entry.sip_call_id,
                method,
                confirmed,
                unconfirmed,
                until: Instant::now() + GIVEN_UP,
            }),
        }
        self.look_idle();
    }

    /// Notes a request of the far end within one of our calls.
    pub(super) fn request(&mut self, sip_call_id: &str, method: &str) {
        if let Some(entry) = self.calls.iter_mut().find(|entry| entry.sip_call_id == sip_call_id) {
            entry.peer.bye |= method == "BYE";
            entry.peer.cancel |= method == "CANCEL";
        }
    }

    /// Notes a response to one of our requests.
    pub(super) fn response(&mut self, sip_call_id: &str, method: &str, status: u16, reason: String) {
        if method == "INVITE"
            && let Some(entry) = self.calls.iter_mut().find(|entry| entry.sip_call_id == sip_call_id)
            && entry.state == State::Dialling
        {
            entry.peer.heard = true;
            let call = entry.id;
            if (101..200).contains(&status) {
                self.tell(UaEvent::Progress { call, status, reason });
            }
        }
        let awaited = |awaited: &Awaited| awaited.sip_call_id == sip_call_id && awaited.method == method;
        if status >= 200
            && let Some(index) = self.awaited.iter().position(awaited)
        {
            let Awaited { id, confirmed, .. } = self.awaited.swap_remove(index);
            self.tell(UaEvent::Ended { call: id, cause: confirmed });
            self.look_idle();
        }
    }

    /// Whether the confirmation of its hang-up is pending.
    pub(super) fn is_awaited(&self, id: CallId) -> bool {
        self.awaited.iter().any(|awaited| awaited.id == id)
    }

    /// Gives up on overdue confirmations.
    pub(super) fn give_up(&mut self, now: Instant) {
        while let Some(index) = self.awaited.iter().position(|awaited| now >= awaited.until) {
            let Awaited { id, unconfirmed, .. } = self.awaited.swap_remove(index);
            self.tell(UaEvent::Ended { call: id, cause: unconfirmed });
        }
        self.look_idle();
    }

    /// The calls that must be ended now, and the causes.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(CallId, EndCause)> {
        let mut overdue = Vec::new();
        for entry in &mut self.calls {
            if entry.state == State::Up && !entry.receives() {
                entry.since = now;
            }
            let waited = now.saturating_duration_since(entry.since);
            match entry.state {
                // The library's own Timer B should have ended it.
                State::Dialling if !entry.peer.heard && waited > GIVEN_UP + Duration::from_secs(1) => {
                    overdue
                        .push((entry.id, EndCause::Failed { status: 408, reason: "Request Timeout".into() }));
                }
                State::Up => {
                    let last = entry.received.last_arrival.map_or(entry.since, |last| last.max(entry.since));
                    if now.saturating_duration_since(last) >= self.rtp_timeout {
                        overdue.push((entry.id, EndCause::MediaTimeout));
                    }
                }
                _ => {}
            }
        }
        overdue
    }

    /// Counters of all calls.
    pub(super) fn stats(&self) -> UaStats {
        let mut stats = self.finished;
        for entry in &self.calls {
            let side = if entry.outgoing { &mut stats.outgoing } else { &mut stats.incoming };
            side.add(&self.measure(entry));
        }
        stats
    }

    /// Signals `idle` when no call is left; at once if there is none.
    pub(super) fn tell_idle(&mut self, idle: Sender<()>) {
        self.idle = Some(idle);
        self.look_idle();
    }

    fn look_idle(&mut self) {
        if self.calls.is_empty() && self.awaited.is_empty() {
            let _ = self.clock.send(clock::Command::Busy(false));
            if let Some(idle) = self.idle.take() {
                let _ = idle.send(());
            }
        }
    }

    fn measure(&self, entry: &Entry) -> MediaStats {
        let (sent, octets, refused, rtt_us) = library_counters(entry);
        let late = entry.voice.late.load(Relaxed)
            // The jitter buffer counts the packets that it refuses: duplicates and late ones.
            + refused.saturating_sub(entry.received.duplicates);
        let seen = entry.received.stats();
        let rtt_ms = (rtt_us > 0).then(|| f64::from(rtt_us) / 1_000.0);
        let expected = entry.received.expected();
        let loss_pct = 100.0 * (seen.lost + late) as f64 / expected.max(1) as f64;
        let delay = PACKET_MS + rtt_ms.unwrap_or(0.0) / 2.0 + f64::from(self.jitter_ms);
        MediaStats {
            packets_tx: sent,
            bytes_tx: octets,
            late,
            concealed: entry.voice.concealed.load(Relaxed),
            underruns: entry.voice.underruns.load(Relaxed),
            digits: entry.digits,
            rtt_ms,
            mos: (expected > 0).then(|| quality::mos(loss_pct, delay)),
            in_call: entry.state == State::Up,
            ..seen
        }
    }
}

/// Packets and bytes sent, packets refused by the jitter buffer, and the round-trip time.
fn library_counters(entry: &Entry) -> (u64, u64, u64, u32) {
    if entry.call.is_null() || !entry.prepared {
        return (0, 0, 0, 0);
    }
    // SAFETY: on the reactor thread; the call lives until CALL_CLOSED takes its pointer from us, and its
    // streams with it. Getters do not call back.
    unsafe {
        let stream = ffi::audio_strm(ffi::call_audio(entry.call));
        if stream.is_null() {
            return (0, 0, 0, 0);
        }
        let mut rtcp = ffi::RtcpStats::default();
        if let Some(ssrc) = entry.received.ssrc() {
            // Fails before the first report, when there is no round-trip time.
            let _ = ffi::rtcp_stats(ffi::stream_rtp_sock(stream), ssrc, &mut rtcp);
        }
        (
            ffi::stream_metric_get_tx_n_packets(stream).into(),
            ffi::stream_metric_get_tx_n_bytes(stream).into(),
            ffi::stream_metric_get_rx_n_err(stream).into(),
            rtcp.rtt_us,
        )
    }
}
