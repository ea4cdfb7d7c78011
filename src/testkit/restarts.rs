//! Calls that are written and read: in another switch and another endpoint, of this process or of another one.

use tokio::sync::mpsc;

use super::tasks::Tasks;
use super::{Endpoint, EndpointConfig, Harness, Switch, Turn};
use b2b_call::CallId;
use b2b_call::switch::restore::NotTakenIn;

/// The schedule of restarts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restarts {
    pub every: usize,
    pub steps: usize,
}

impl Harness {
    /// From now on, writes all calls and reads them again each time after this many steps.
    pub fn restart_every(&mut self, steps: usize) {
        self.restarts = Some(Restarts { every: steps.max(1), steps: 0 });
    }

    /// All calls as octets.
    ///
    /// # Panics
    /// One cannot be written.
    pub fn octets(&self) -> Vec<u8> {
        self.switch.write_calls(self.now, &self.endpoint).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Writes all calls, and reads them into another switch and another endpoint of this process.
    ///
    /// # Panics
    /// They cannot be read.
    pub fn restart(&mut self) {
        while self.flush() {}
        self.restarted += 1;
        let mut turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        self.switch.renew(&mut turn).unwrap_or_else(|error| panic!("{error}"));
    }

    /// The number of restarts.
    pub fn restarts(&self) -> usize {
        self.restarted
    }

    /// The calls go on in another process: running programs are lost, and new calls have identifiers from another
    /// seed.
    ///
    /// # Errors
    /// They cannot be read: no call is left.
    pub fn move_to_another_process(&mut self) -> Result<Vec<CallId>, NotTakenIn> {
        self.move_to_another_process_with(|_, _| {})
    }

    /// Like [`Harness::move_to_another_process`], with changes to the octets in between, and another configuration of
    /// the endpoint.
    ///
    /// # Errors
    /// They cannot be read: no call is left.
    pub fn move_to_another_process_with(
        &mut self,
        change: impl FnOnce(&mut Vec<u8>, &mut EndpointConfig),
    ) -> Result<Vec<CallId>, NotTakenIn> {
        while self.flush() {}
        self.restarted += 1;
        let mut octets = self.octets();
        let seed = [200_u8.wrapping_add(self.restarted as u8); 32];
        let mut endpoint = EndpointConfig { seed, ..self.endpoint.config().clone() };
        change(&mut octets, &mut endpoint);
        let (sink, records) = mpsc::unbounded_channel();
        let parts = self.switch.parts_again(Box::new(move |record| drop(sink.send(record))));
        let config = self.switch.config().clone();
        self.endpoint = Endpoint::new(endpoint);
        (self.switch, self.commands) = Switch::in_hand(config, parts);
        (self.tasks, self.beside, self.records) = (Tasks::default(), Tasks::default(), records);
        let mut turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        self.switch.take_in(&mut turn, &octets)
    }

    /// Takes calls into the switch.
    ///
    /// # Errors
    /// They cannot be read, or are here already.
    pub fn take_in(&mut self, octets: &[u8]) -> Result<Vec<CallId>, NotTakenIn> {
        let mut turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        self.switch.take_in(&mut turn, octets)
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
