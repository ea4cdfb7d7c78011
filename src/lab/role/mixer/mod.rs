//! The mixer: answers a caller, dials a target, and adds DTMF to the forwarded audio.
//!
//! - `mixing`: the audio path from one leg to the other, on the engine's audio thread
//! - `level`: the level of the tones

mod level;
mod mixing;
#[cfg(test)]
mod mixing_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::role::life::{HANGUP_GRACE, Life, Measured, UNHEARD_GRACE, Wake};
use crate::role::{Discard, Role, Silence, UaOptions, endings};
use b2b_base::util::exit::Failure;
use b2b_media::dtmf::{Generator, Sequence};
use b2b_ua::{Audio, CallId, EndCause, Ua, UaEvent, UaStats};
use mixing::{Gains, Loudness, crossing};

/// The mixer role: its settings, with which it runs.
#[derive(Debug, Clone)]
pub struct MixerConfig {
    /// SIP and RTP of both legs.
    pub ua: UaOptions,
    /// `--target`
    pub target: String,
    /// `--dtmf-seq`; `None`: forward only.
    pub dtmf_seq: Option<Sequence>,
    /// `--dtmf-period-ms`: from the start of one sequence to the start of the next.
    pub dtmf_period: Duration,
    /// `--mix-gain-in`
    pub gain_in: f32,
    /// `--mix-gain-dtmf`
    pub gain_dtmf: f32,
}

impl MixerConfig {
    /// The role, after the start of the process.
    pub(super) fn live(
        self,
        mut life: Life,
        open_ua: impl FnOnce(&UaOptions) -> anyhow::Result<Box<dyn Ua>>,
    ) -> anyhow::Result<()> {
        let config = self;
        if let Some(sequence) = &config.dtmf_seq
            && !sequence.skipped().is_empty()
        {
            tracing::info!("dtmf: playing {sequence}; skipped {:?}", sequence.skipped());
        }
        life.view(UaStats::through);
        let ua = open_ua(&config.ua)?;
        life.ready(ua.local(), &config.ua);
        let loudness = Arc::new(Loudness::default());
        let mut bridging = Bridging {
            config: &config,
            ua: ua.as_ref(),
            loudness: loudness.clone(),
            legs: None,
            setup: None,
            stopping: false,
            hung_up_at: None,
            result: Ok(()),
        };
        let result = bridging.until_ended(&mut life);
        let (stats, setup) = (ua.stats(), bridging.setup);
        ua.shutdown(UNHEARD_GRACE);
        life.report_last(&stats, &measured(&loudness, setup));
        Ok(result?)
    }
}

impl Role for MixerConfig {
    fn run(self) -> anyhow::Result<()> {
        let life = Life::begin("mixer", &self.ua)?;
        self.live(life, super::open_ua)
    }
}

fn measured(loudness: &Loudness, setup: Option<Duration>) -> Measured {
    let (received, sent, duration_s) = loudness.read();
    Measured { latency_ms: None, duration_s, setup, rms_dbov: Some((received, sent)) }
}

/// The two calls of a mixer; `None` once ended.
struct Legs {
    inbound: Option<CallId>,
    outbound: Option<CallId>,
    /// Whether the far end of the outbound leg has responded.
    heard: bool,
    caller: String,
    dialled_at: Instant,
}

/// A running mixer.
struct Bridging<'a> {
    config: &'a MixerConfig,
    ua: &'a dyn Ua,
    loudness: Arc<Loudness>,
    legs: Option<Legs>,
    /// Time from dialling to the answer of the outbound leg.
    setup: Option<Duration>,
    stopping: bool,
    hung_up_at: Option<Instant>,
    /// The first error.
    result: Result<(), Failure>,
}

impl Bridging<'_> {
    fn until_ended(&mut self, life: &mut Life) -> Result<(), Failure> {
        loop {
            match life.wait(self.ua, None) {
                Wake::Call(event) => self.event(event)?,
                Wake::Stop(signal) => {
                    tracing::info!("{signal}: hanging up");
                    self.stopping = true;
                    self.hang_up();
                }
                Wake::Tick => {}
            }
            let ended = match &self.legs {
                Some(legs) => legs.inbound.is_none() && legs.outbound.is_none(),
                None => self.stopping,
            };
            if ended {
                return std::mem::replace(&mut self.result, Ok(()));
            }
            // A far end that never responded will not confirm the end of its leg.
            let unheard = self.legs.as_ref().is_some_and(|legs| legs.inbound.is_none() && !legs.heard);
            let patience = if unheard { UNHEARD_GRACE } else { HANGUP_GRACE };
            if self.hung_up_at.is_some_and(|at| at.elapsed() >= patience) {
                let end = if unheard { Ok(()) } else { Err(endings::unconfirmed()) };
                return std::mem::replace(&mut self.result, Ok(())).and(end);
            }
            life.report(self.ua, || measured(&self.loudness, self.setup));
        }
    }

    fn event(&mut self, event: UaEvent) -> Result<(), Failure> {
        match event {
            UaEvent::Fatal { message } => return Err(endings::of_engine(&message)),
            UaEvent::Incoming { call, from, .. } => return self.incoming(call, from),
            UaEvent::Ended { call, cause } => self.ended(call, &cause),
            other => {
                if let (UaEvent::Progress { call, .. } | UaEvent::Answered { call, .. }, Some(legs)) =
                    (&other, &mut self.legs)
                {
                    let outbound = legs.outbound == Some(*call);
                    legs.heard |= outbound;
                    if outbound && matches!(other, UaEvent::Answered { .. }) {
                        self.setup.get_or_insert(legs.dialled_at.elapsed());
                    }
                }
                self.say(&other);
            }
        }
        Ok(())
    }

    /// Logs an event that needs no decision, with its leg.
    fn say(&self, event: &UaEvent) {
        let (UaEvent::Progress { call, .. }
        | UaEvent::Answered { call, .. }
        | UaEvent::MediaStarted { call }
        | UaEvent::Hold { call, .. }
        | UaEvent::Digit { call, .. }) = event
        else {
            return super::say(event);
        };
        let inbound = self.legs.as_ref().is_some_and(|legs| legs.inbound == Some(*call));
        let leg = if inbound { "caller" } else { "target" };
        if let Some(words) = super::words(event) {
            tracing::info!("{leg}: {words}");
        }
    }

    /// Accepts the first caller, and dials the target at the same time.
    fn incoming(&mut self, call: CallId, from: String) -> Result<(), Failure> {
        if self.legs.is_some() || self.stopping {
            tracing::info!("busy: call from {from} refused");
            let _ = self.ua.reject(call, 486, "Busy Here");
            return Ok(());
        }
        tracing::info!("{from} calls; dialling {}", self.config.target);
        let tones = self
            .config
            .dtmf_seq
            .as_ref()
            .map(|sequence| Generator::new(sequence, self.config.dtmf_period, b2b_base::frame::RATE_HZ));
        let gains = Gains { input: self.config.gain_in, tones: self.config.gain_dtmf };
        let (entrance, exit) = crossing(tones, gains, self.loudness.clone());
        let outward = Audio { source: Box::new(exit), sink: Box::new(Discard) };
        let dialled_at = Instant::now();
        let outbound = match self.ua.dial(&self.config.target, outward) {
            Ok(outbound) => outbound,
            Err(error) => {
                let _ = self.ua.reject(call, 500, "Server Internal Error");
                return Err(endings::of_ua(&error));
            }
        };
        let inward = Audio { source: Box::new(Silence), sink: Box::new(entrance) };
        let inbound = match self.ua.answer(call, inward) {
            Ok(()) => Some(call),
            Err(error) => {
                tracing::warn!("the caller is gone: {error}");
                None
            }
        };
        let given_up = inbound.is_none();
        self.legs = Some(Legs { inbound, outbound: Some(outbound), heard: false, caller: from, dialled_at });
        if given_up {
            self.hang_up();
        }
        Ok(())
    }

    /// Handles the end of a leg: hangs up the other one.
    fn ended(&mut self, call: CallId, cause: &EndCause) {
        let Some(legs) = &mut self.legs else { return };
        let whom = if legs.inbound.take_if(|leg| *leg == call).is_some() {
            legs.caller.as_str()
        } else if legs.outbound.take_if(|leg| *leg == call).is_some() {
            self.config.target.as_str()
        } else {
            return;
        };
        tracing::info!("the leg with {whom} has ended: {cause}");
        // A leg that we hang up because of the other one may end in any confirmed way.
        let ending = self.stopping || self.hung_up_at.is_some();
        if let Err(failure) = endings::of_call(cause, whom, ending) {
            tracing::error!("{failure}");
            if self.result.is_ok() {
                self.result = Err(failure);
            }
        }
        self.hang_up();
    }

    /// Hangs up all legs, once.
    fn hang_up(&mut self) {
        let Some(legs) = &self.legs else { return };
        if self.hung_up_at.is_some() {
            return;
        }
        self.hung_up_at = Some(Instant::now());
        for call in legs.inbound.iter().chain(&legs.outbound) {
            endings::hang_up(self.ua, *call);
        }
    }
}
