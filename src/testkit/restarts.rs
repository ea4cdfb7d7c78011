//! Calls that are written and read: in another switch and another endpoint, of this process or of another one, which
//! may have calls of its own.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::tasks::Tasks;
use super::{Endpoint, EndpointConfig, Harness, Switch, SwitchConfig, Turn, flow};
use b2b_call::CallId;
use b2b_call::handler::ApplicationHandler;
use b2b_call::switch::SwitchParts;
use b2b_call::switch::keep::CallStore;
use b2b_call::switch::restore::{Moved, NotTakenIn, Surviving};

/// The schedule of restarts.
pub(super) struct Restarts {
    every: usize,
    steps: usize,
    /// Who takes the calls in; `None`: another switch and endpoint of this process.
    other: Option<Box<Harness>>,
    /// Calls that stay in their process: in this one, and in the other one.
    stay: [Vec<CallId>; 2],
    changed: Instant,
}

impl Harness {
    /// From now on, writes all calls and reads them again each time after this many steps.
    pub fn restart_every(&mut self, steps: usize) {
        let (other, stay) = (None, Default::default());
        self.restarts = Some(Restarts { every: steps.max(1), steps: 0, other, stay, changed: self.now });
    }

    /// From now on, gives all calls of the process at work to the other one each time after this many steps, and has
    /// that one at work. Calls that are in `other` already stay there.
    pub fn change_process_every(&mut self, steps: usize, other: Harness) {
        let there = other.switch.snapshot(self.now).into_iter().map(|it| it.call);
        let stay = [Vec::new(), there.collect()];
        self.restarts = Some(Restarts {
            every: steps.max(1),
            steps: 0,
            other: Some(Box::new(other)),
            stay,
            changed: self.now,
        });
    }

    /// Ends what [`Harness::change_process_every`] has begun, with the process at work that had calls from the
    /// beginning; returns the other one.
    pub fn change_process_no_more(&mut self) -> Option<Harness> {
        let Restarts { other, stay: [here, _], .. } = self.restarts.take()?;
        let mut other = *other?;
        if here.is_empty() {
            let calls = self.snapshot().into_iter().map(|it| it.call).collect::<Vec<_>>();
            self.give(&calls, &mut other);
        }
        Some(other)
    }

    /// From now on, the calls that have changed are written here at the end of each turn.
    pub fn keep_calls(&mut self, store: Box<dyn CallStore>) {
        let turn = &mut Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        Surviving { store: Some(store), ..Surviving::default() }.go_on(&mut self.switch, turn);
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
        let (mut octets, mut endpoint) = self.written();
        change(&mut octets, &mut endpoint);
        let config = self.switch.config().clone();
        self.begin_anew(endpoint, config, None);
        self.take_in(&octets)
    }

    /// All calls, and the configuration of the endpoint that takes them in.
    fn written(&mut self) -> (Vec<u8>, EndpointConfig) {
        while self.flush() {}
        self.restarted += 1;
        let seed = [200_u8.wrapping_add(self.restarted as u8); 32];
        (self.octets(), EndpointConfig { seed, ..self.endpoint.config().clone() })
    }

    /// Its process ends without a farewell, and all its calls go on in another one, which has these handlers.
    ///
    /// # Panics
    /// They cannot be read.
    pub fn dies(&mut self, handlers: Vec<Arc<dyn ApplicationHandler>>) {
        let (octets, endpoint) = self.written();
        self.media.dies();
        let config = self.switch.config().clone();
        self.begin_anew(endpoint, config, Some(handlers));
        self.take_in(&octets).unwrap_or_else(|error| panic!("{error}"));
        self.settle();
    }

    /// `handlers`: others than so far.
    pub(super) fn begin_anew(
        &mut self,
        endpoint: EndpointConfig,
        config: SwitchConfig,
        handlers: Option<Vec<Arc<dyn ApplicationHandler>>>,
    ) {
        let (sink, records) = mpsc::unbounded_channel();
        let parts = self.switch.parts_again(Box::new(move |record| drop(sink.send(record))));
        let controller = self.media.clone();
        let handlers = handlers.unwrap_or(parts.handlers);
        self.endpoint = Endpoint::new(endpoint);
        let address = self.address;
        self.endpoint.set_udp(move |remote, _| Some(flow(address, remote)));
        (self.switch, self.commands) = Switch::in_hand(config, SwitchParts { controller, handlers, ..parts });
        (self.tasks, self.beside, self.records) = (Tasks::default(), Tasks::default(), records);
    }

    /// Makes of `other`, which is new, a process beside this one: with the same media, and without parties. It has
    /// the network's messages and the time while it is [at work](Harness::change_process).
    pub fn beside(&self, mut other: Harness) -> Harness {
        other.media = Arc::clone(&self.media);
        let endpoint = EndpointConfig { seed: [99; 32], ..other.endpoint.config().clone() };
        let config = other.switch.config().clone();
        other.begin_anew(endpoint, config, None);
        other
    }

    /// The process of `other` is at work, and this one rests there.
    pub fn change_process(&mut self, other: &mut Harness) {
        while self.flush() {}
        std::mem::swap(&mut self.switch, &mut other.switch);
        std::mem::swap(&mut self.endpoint, &mut other.endpoint);
        std::mem::swap(&mut self.commands, &mut other.commands);
        std::mem::swap(&mut self.tasks, &mut other.tasks);
        std::mem::swap(&mut self.beside, &mut other.beside);
        std::mem::swap(&mut self.records, &mut other.records);
    }

    /// Gives these calls to the process of `other`, which is at work then. Returns their numbers there.
    ///
    /// # Panics
    /// One cannot be written or read.
    pub fn give(&mut self, calls: &[CallId], other: &mut Harness) -> Vec<CallId> {
        while self.flush() {}
        let write = |call: &CallId| self.switch.write_call(self.now, &self.endpoint, *call);
        let octets: Vec<_> = calls.iter().map(write).collect();
        let mut turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        calls.iter().for_each(|call| self.switch.give_out_call(&mut turn, *call));
        self.change_process(other);
        let read = octets.into_iter().flat_map(|octets| {
            let octets = octets.unwrap_or_else(|error| panic!("{error}"));
            self.take_in(&octets).unwrap_or_else(|error| panic!("{error}"))
        });
        read.collect()
    }

    /// Takes calls into the switch.
    ///
    /// # Errors
    /// They cannot be read, or are here already.
    pub fn take_in(&mut self, octets: &[u8]) -> Result<Vec<CallId>, NotTakenIn> {
        let mut turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        self.switch.take_in(&mut turn, octets, &Moved::default())
    }

    /// Called after each step.
    pub(super) fn restart_at_times(&mut self) {
        let Some(mut it) = self.restarts.take() else { return };
        it.steps += 1;
        if it.steps.is_multiple_of(it.every) {
            match &mut it.other {
                None => self.restart(),
                // A call that has just been taken in may have work at once, which is no reason to give it back.
                Some(_) if it.changed == self.now => {}
                Some(other) => {
                    (self.restarted, it.changed) = (self.restarted + 1, self.now);
                    let calls = self.snapshot().into_iter().map(|it| it.call);
                    let calls: Vec<_> = calls.filter(|call| !it.stay[0].contains(call)).collect();
                    self.give(&calls, other);
                    it.stay.reverse();
                }
            }
        }
        self.restarts = Some(it);
    }
}
