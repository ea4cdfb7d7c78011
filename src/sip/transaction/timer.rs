//! Timers A to M (RFC 3261 table 4, RFC 6026 §7) and their slots.

use std::time::{Duration, Instant};

/// A timer of a transaction's state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Timer {
    /// INVITE request retransmission.
    A,
    /// INVITE client time-out.
    B,
    /// Waits for retransmissions of a final response to INVITE.
    D,
    /// Non-INVITE request retransmission.
    E,
    /// Non-INVITE client time-out.
    F,
    /// Retransmission of a final response to INVITE.
    G,
    /// Waits for the ACK.
    H,
    /// Waits for retransmitted ACKs.
    I,
    /// Waits for retransmitted non-INVITE requests.
    J,
    /// Waits for retransmitted non-INVITE responses.
    K,
    /// Waits for retransmitted INVITEs after a 2xx (RFC 6026).
    L,
    /// Waits for retransmitted and forked 2xx (RFC 6026).
    M,
    /// Wait for any response to a request that has another address to go to (RFC 3263 §4.3);
    /// its user sets the duration.
    Patience,
    /// Delay until an INVITE without any response gets a 100 (§17.2.1).
    Trying,
    /// Limit for answering a non-INVITE request: after 64*T1 its client has timed out, and a
    /// response would be useless (RFC 4320 §4.2).
    Unanswered,
}

/// A state machine has at most two timers: one for sending, one for ending its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Sending = 0,
    Ending = 1,
}

impl Timer {
    /// The slot of the timer.
    pub fn slot(self) -> Slot {
        match self {
            Timer::A | Timer::E | Timer::G | Timer::Trying => Slot::Sending,
            _ => Slot::Ending,
        }
    }
}

/// The durations of RFC 3261 §17.1.1.1 and §17.1.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerLengths {
    /// Round-trip estimate; default 500 ms.
    pub t1: Duration,
    /// Longest retransmission interval of non-INVITE requests and INVITE responses; default 4
    /// s.
    pub t2: Duration,
    /// Longest time that a message stays in the network; default 5 s.
    pub t4: Duration,
    /// Delay until an unanswered INVITE gets a 100; zero for none. Default 200 ms.
    pub trying: Duration,
}

impl Default for TimerLengths {
    fn default() -> Self {
        TimerLengths {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            trying: Duration::from_millis(200),
        }
    }
}

impl TimerLengths {
    /// 64*T1: how long a request or a 2xx is retransmitted.
    pub fn give_up(&self) -> Duration {
        self.t1 * 64
    }

    /// The initial duration of a timer. `None` if the timer is not used on this kind of
    /// transport; zero if it fires at once.
    pub fn first(&self, timer: Timer, reliable: bool) -> Option<Duration> {
        match timer {
            Timer::A | Timer::E | Timer::G => (!reliable).then_some(self.t1),
            Timer::B | Timer::F | Timer::H | Timer::L | Timer::M | Timer::Unanswered => Some(self.give_up()),
            // "at least 32 seconds" (§17.1.1.2)
            Timer::D if !reliable => Some(self.give_up().max(Duration::from_secs(32))),
            Timer::J if !reliable => Some(self.give_up()),
            Timer::I | Timer::K if !reliable => Some(self.t4),
            Timer::D | Timer::I | Timer::J | Timer::K => Some(Duration::ZERO),
            Timer::Trying => Some(self.trying),
            Timer::Patience => None,
        }
    }

    /// The duration that follows `last`.
    pub fn doubled(&self, timer: Timer, last: Duration) -> Duration {
        match timer {
            Timer::A => last * 2,
            _ => (last * 2).min(self.t2),
        }
    }
}

/// The running timers of one state machine.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct TimerTable {
    #[serde(with = "running")]
    running: [Option<(Timer, Instant)>; 2],
    interval: Duration,
}

impl TimerTable {
    /// Starts `timer` with duration `length`.
    pub fn start(&mut self, now: Instant, timer: Timer, length: Duration) {
        if timer.slot() == Slot::Sending {
            self.interval = length;
        }
        self.running[timer.slot() as usize] = Some((timer, now + length));
    }

    /// The last duration of the sending timer.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Stops `timer` if it is running.
    pub fn stop(&mut self, timer: Timer) {
        let slot = &mut self.running[timer.slot() as usize];
        if slot.is_some_and(|(running, _)| running == timer) {
            *slot = None;
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.running.iter().flatten().map(|(_, at)| *at).min()
    }

    /// Takes one timer that is due. The ending timer goes first, so nothing is sent after the
    /// end.
    pub fn take_due(&mut self, now: Instant) -> Option<Timer> {
        for slot in [Slot::Ending, Slot::Sending] {
            let slot = &mut self.running[slot as usize];
            if let Some((timer, at)) = *slot
                && at <= now
            {
                *slot = None;
                return Some(timer);
            }
        }
        None
    }
}

/// The deadlines of timers in written values.
mod running {
    use std::time::Instant;

    use b2b_base::ages::Age;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    use super::Timer;

    type Running<T> = [Option<(Timer, T)>; 2];

    pub fn serialize<S: Serializer>(timers: &Running<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut aged: Running<Age> = [None; 2];
        for (aged, timer) in aged.iter_mut().zip(timers) {
            if let Some((timer, at)) = *timer {
                *aged = Some((timer, Age::try_from(at).map_err(ser::Error::custom)?));
            }
        }
        aged.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Running<Instant>, D::Error> {
        let mut timers: Running<Instant> = [None; 2];
        for (timer, aged) in timers.iter_mut().zip(Running::<Age>::deserialize(deserializer)?) {
            if let Some((name, age)) = aged {
                *timer = Some((name, age.try_into().map_err(de::Error::custom)?));
            }
        }
        Ok(timers)
    }
}
