//! Application control of parties: commands, ticks and digits of their stages.

use super::rooms::room_of;
use super::{Channel, Header, Machine, Now, RelayId, Transmit};
use crate::relay::endpoint::Endpoint;
use crate::relay::tones::Tones;
use crate::stage::Act;

/// A tick later than this counts as late, ns.
const LATE: u64 = 5_000_000;

impl Machine {
    /// Executes an application's command.
    pub(super) fn stage(&mut self, at: u64, id: RelayId, act: Act) {
        // If the endpoint is gone, a requester is told by the reply being dropped.
        let act = match act {
            Act::Stream(line) => return self.begin_stream(at, id, *line),
            Act::HearTones { on } => {
                if let Some(endpoint) = self.get(id).filter(|endpoint| endpoint.tones.is_some() != on) {
                    endpoint.tones = on.then(|| Box::new(Tones::new()));
                }
                return;
            }
            act => act,
        };
        let Some(endpoint) = self.get(id) else { return };
        let Endpoint { stage, typed, .. } = endpoint;
        let echo = matches!(act, Act::Echo { .. });
        stage.get_or_insert_default().act(at, act, typed);
        if echo && endpoint.peer.is_none() {
            let idle = endpoint.idle_way();
            endpoint.set_way(&idle);
        }
        self.set_stage(at, id.slot);
    }

    /// Serves every party and room that is due.
    pub(super) fn tick(&mut self, at: u64, out: &mut impl Transmit) {
        while let Some((phase, due, mut members)) = self.wheel.take(at) {
            let mut count = 0;
            members.retain(|member| {
                let (ticked, goes_on) = match room_of(*member) {
                    Some(place) => self.tick_room(due, at, place, out),
                    None => (1, self.tick_stage(due, at, *member, out)),
                };
                count += ticked;
                goes_on
            });
            self.totals.ticks.0 += count;
            self.totals.ticks.1 += if at - due > LATE { count } else { 0 };
            self.wheel.put(phase, members);
        }
    }

    /// Serves a stage. Returns whether there will be another tick.
    fn tick_stage(&mut self, due: u64, at: u64, slot: u32, out: &mut impl Transmit) -> bool {
        self.stream_tick(due, slot);
        let Some(Endpoint { stage: Some(stage), typed, out: space, far, inserted, drops, .. }) =
            self.at(slot)
        else {
            return false;
        };
        // A digit that we send takes the place of audio.
        let takes = far.rtp_at().filter(|_| inserted.is_none());
        let target = far.remote.and_then(|remote| remote.voice.gets).filter(|_| takes.is_some());
        let streams = stage.has_stream();
        stage.tick(due, at, target.as_ref(), space, typed, |packet| {
            let sent = takes.is_some_and(|to| out.transmit(slot, Channel::Rtp, to, packet));
            drops.send_failed += u64::from(!sent);
        });
        let goes_on = stage.is_ticked();
        if !goes_on {
            stage.phase = None;
        }
        if streams && !stage.has_stream() {
            self.set_idle(slot);
        }
        self.set_stage(at, slot);
        goes_on
    }

    /// Sends a packet back to its own party, unless something else is played to it.
    pub(super) fn echo(
        &mut self,
        now: Now,
        at: u64,
        slot: u32,
        datagram: &mut [u8],
        out: &mut impl Transmit,
    ) {
        let Some(endpoint) = self.at(slot) else { return };
        if endpoint.is_event() {
            return self.event(now, slot, datagram, false, false);
        }
        let (Some(to), Some(header)) = (endpoint.hears_at(), Header::read(datagram)) else { return };
        let clock_rate = endpoint.rule.clock_rate;
        let Endpoint { stage: Some(stage), out: space, inserted: None, drops, .. } = endpoint else { return };
        let Some(echo) = &mut stage.echo else { return };
        if let Some(len) = echo.turn(&header, clock_rate, at, space, datagram) {
            let sent = out.transmit(slot, Channel::Rtp, to, &datagram[..len]);
            drops.send_failed += u64::from(!sent);
        }
    }

    /// Tells a collection that its timer has expired.
    pub(super) fn stage_time(&mut self, at: u64, slot: u32) {
        self.with_stage(at, slot, |stage, typed| stage.time(at, typed));
    }

    /// Tells the stage that a key was pressed.
    pub(super) fn key_down(&mut self, now: Now, slot: u32) {
        let at = self.ns(now.at);
        self.with_stage(at, slot, |stage, typed| stage.key_down(at, typed));
    }

    /// Passes on a digit, whether it came as an event or as a tone.
    pub(super) fn typed(&mut self, now: Now, slot: u32, digit: char) {
        let at = self.ns(now.at);
        if self.at(slot).is_some_and(|endpoint| endpoint.stage.is_some()) {
            self.with_stage(at, slot, |stage, typed| stage.digit(at, digit, typed));
        } else if let Some(endpoint) = self.at(slot) {
            endpoint.typed.push(digit);
        }
    }

    /// Clears the stage of an endpoint that closes.
    pub(super) fn leave_stage(&mut self, at: u64, slot: u32) {
        if let Some(id) = self.at(slot).map(|endpoint| endpoint.id) {
            self.leave_room(at, id, None);
        }
        let Some(mut stage) = self.at(slot).and_then(|endpoint| endpoint.stage.take()) else { return };
        if let Some(phase) = stage.phase {
            self.wheel.remove(phase, slot);
        }
        stage.close(at);
    }

    fn with_stage(
        &mut self,
        at: u64,
        slot: u32,
        act: impl FnOnce(&mut crate::stage::Stage, &mut crate::stage::Typed),
    ) {
        if let Some(Endpoint { stage: Some(stage), typed, .. }) = self.at(slot) {
            act(stage, typed);
            self.set_stage(at, slot);
        }
    }

    /// Updates wheel, timers and the leg's feeder to what a stage does now.
    pub(super) fn set_stage(&mut self, at: u64, slot: u32) {
        let Machine { endpoints, wheel, .. } = self;
        let Some(endpoint) = endpoints.get_mut(slot as usize).and_then(Option::as_deref_mut) else { return };
        let Some(stage) = &mut endpoint.stage else { return };
        let (playing, ticked) = (stage.is_playing(), stage.is_ticked());
        match stage.phase {
            None if ticked => stage.phase = Some(wheel.add(at, slot)),
            Some(phase) if !ticked => {
                wheel.remove(phase, slot);
                stage.phase = None;
            }
            _ => {}
        }
        let has_encoder = playing || stage.room.is_some();
        if std::mem::replace(&mut stage.has_encoder, has_encoder) != has_encoder
            && let Some(feeder) = endpoint.peer
        {
            self.refresh(feeder);
        }
        self.arm(slot);
    }
}
