//! Restores calls from their snapshots, in another switch and another endpoint.

use std::time::Duration;

use tokio::sync::mpsc;

use super::tasks::Tasks;
use super::{Endpoint, EndpointConfig, Harness, Switch, Turn};
use b2b_call::journal::Snapshot;
use b2b_call::switch::NotWhole;
use b2b_call::switch::restore::{Lost, TakenFrom};

/// The schedule of restarts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restarts {
    pub every: usize,
    pub steps: usize,
}

impl Harness {
    /// From now on, restores calls from their snapshots each time after this many steps.
    pub fn restart_every(&mut self, steps: usize) {
        self.restarts = Some(Restarts { every: steps.max(1), steps: 0 });
    }

    /// The snapshots of all calls, as octets.
    ///
    /// # Errors
    /// A call cannot be exported.
    ///
    /// # Panics
    /// A snapshot cannot be written.
    pub fn snapshots(&self) -> Result<Vec<Vec<u8>>, NotWhole> {
        let octets = |it: Snapshot| it.to_bytes().unwrap_or_else(|error| panic!("{error}"));
        self.switch.export_all(self.now, self.wall).into_iter().map(|it| it.map(octets)).collect()
    }

    /// Restores the calls from their snapshots, in another switch and another endpoint of this process.
    ///
    /// # Panics
    /// A call cannot be restored.
    pub fn restart(&mut self) {
        while self.flush() {}
        self.restarted += 1;
        let octets = self.snapshots().unwrap_or_else(|error| panic!("{error}"));
        let lost = self.restore(&octets, TakenFrom::Here);
        if let Some(first) = lost.first() {
            let read = |octets: &Vec<u8>| Snapshot::from_bytes(octets).ok();
            let it = octets.iter().filter_map(read).find(|it| it.calls() == first.calls);
            let text = it.map(|it| it.text(self.now)).unwrap_or_default();
            panic!("after {:?}: {lost:?}\n{text}", self.now - self.start);
        }
    }

    /// Like [`Harness::restart`], with changes to the snapshots in between. Returns the calls that cannot be
    /// restored.
    ///
    /// # Panics
    /// A call cannot be exported, or its octets are no longer a snapshot.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<Lost> {
        while self.flush() {}
        self.restarted += 1;
        let mut octets = self.snapshots().unwrap_or_else(|error| panic!("{error}"));
        change(&mut octets);
        self.restore(&octets, TakenFrom::Here)
    }

    /// The number of restarts.
    pub fn restarts(&self) -> usize {
        self.restarted
    }

    /// Restores the calls as in another process: running programs are lost, and new calls have identifiers
    /// from another seed. Returns the calls that cannot be restored.
    ///
    /// # Panics
    /// A call cannot be exported.
    pub fn move_to_another_process(&mut self) -> Vec<Lost> {
        self.move_to_another_process_with(|_| {})
    }

    /// Like [`Harness::move_to_another_process`], with changes to the snapshots in between.
    ///
    /// # Panics
    /// A call cannot be exported, or its octets are no longer a snapshot.
    pub fn move_to_another_process_with(&mut self, change: impl FnOnce(&mut [Vec<u8>])) -> Vec<Lost> {
        while self.flush() {}
        self.restarted += 1;
        let mut octets = self.snapshots().unwrap_or_else(|error| panic!("{error}"));
        change(&mut octets);
        let (sink, records) = mpsc::unbounded_channel();
        let parts = self.switch.parts_again(Box::new(move |record| drop(sink.send(record))));
        let config = self.switch.config().clone();
        let seed = [200_u8.wrapping_add(self.restarted as u8); 32];
        self.endpoint = Endpoint::new(EndpointConfig { seed, ..self.endpoint.config().clone() });
        (self.switch, self.commands) = Switch::in_hand(config, parts);
        (self.tasks, self.beside, self.records) = (Tasks::default(), Tasks::default(), records);
        self.restore(&octets, TakenFrom::Elsewhere)
    }

    fn restore(&mut self, octets: &[Vec<u8>], taken: TakenFrom) -> Vec<Lost> {
        let read = |octets: &Vec<u8>| Snapshot::from_bytes(octets).unwrap_or_else(|error| panic!("{error}"));
        let snapshots: Vec<Snapshot> = octets.iter().map(read).collect();
        let mut turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        match taken {
            // Timers in virtual time are never late.
            TakenFrom::Here => self.switch.restore_within(&mut turn, &snapshots, taken, Duration::ZERO),
            TakenFrom::Elsewhere => self.switch.restore(&mut turn, &snapshots, taken),
        }
    }

    /// Called after each step.
    pub(super) fn restart_at_times(&mut self) {
        let Some(it) = &mut self.restarts else { return };
        it.steps += 1;
        if it.steps.is_multiple_of(it.every) {
            self.restart();
        }
    }
}
