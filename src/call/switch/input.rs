//! Inputs of a switch: each is one turn, and goes to the call that it belongs to.

use std::net::{IpAddr, SocketAddr};

use crate::bridge_fsm::BridgeMode;
use crate::call_fsm::CallEvent;
use crate::controller::{EndpointId, MediaEvent, Recorded, RecordingId};
use crate::event::{DigitBy, Event, MediaRefused, RecordingNews};
use crate::handler::Party;
use crate::lookup::LookupRequest;
use crate::service::command::{Command, Reply};
use crate::service::{CallError, DialError, DialRequest, Watched};
use crate::switch::Switch;
use crate::switch::admission::Whose;
use crate::switch::common::Common;
use crate::switch::keep::Kept;
use crate::switch::state::call::{Call, Purpose};
use crate::switch::state::follow::Follow;
use crate::switch::state::input::CallInput;
use crate::switch::state::transfer::PartyRefer;
use crate::switch::state::waits::{Concerns, OnFound, Waits};
use crate::switch::step::CallStep;
use crate::switch::step::dialling::refuse;
use crate::switch::turn::Turn;
use crate::switch::work::host_names::{HostName, MOST};
use crate::switch::work::sleepers::Sleeper;
use crate::switch::work::tasks::{Came, Done, MediaResult, Panicked};
use crate::verdict::media_from;
use crate::{CallId, LegId};
use b2b_sip::endpoint::{
    Event as SipEvent, Flow, Reply as SipReply, ServerTransactionId, UsageEvent, UsageId,
};
use b2b_sip::msg::Request;

/// How a request came that may be of somebody else, see [`UsageEvent::OtherFlow`].
struct OtherFlow {
    usage: UsageId,
    transaction: ServerTransactionId,
    flow: Flow,
    registered: bool,
}

impl Switch {
    /// Handles an event of the endpoint.
    pub fn sip_event(&mut self, t: &mut Turn<'_>, event: SipEvent) {
        self.common.about(None);
        let message: Option<(IpAddr, &[u8])> = match &event {
            SipEvent::Incoming { request, flow, .. } | SipEvent::Request { request, flow, .. } => {
                Some((flow.remote.ip(), request.as_bytes()))
            }
            _ => None,
        };
        self.common.works_on.event(t.now, message);
        match event {
            SipEvent::Incoming { usage, request, flow, replaces } => {
                self.incoming(t, usage, request, flow, replaces);
            }
            SipEvent::Response { request, result, flow } => {
                self.common.world.parts.admission.response(t, request, result, flow);
                self.common.world.parts.admission.work(t);
            }
            SipEvent::FlowClosed { flow } => {
                self.common.world.parts.admission.flow_closed(t.now, &flow);
                self.common.world.parts.admission.work(t);
            }
            SipEvent::Located { host, targets } => self.common.world.parts.admission.located(&host, &targets),
            SipEvent::Request { transaction, request, flow } => {
                self.common.outside(t, transaction, &request, &flow)
            }
            SipEvent::Resubscribe { subscription, transaction, request } => {
                self.common.world.parts.admission.resubscribe(t, subscription, transaction, &request);
            }
            SipEvent::Ahead { usage } => {
                let leg = self.calls.of_usage(usage).and_then(|leg| self.calls.leg(leg));
                if let (Some(kept), Some(leg)) = (&mut self.common.kept, leg) {
                    kept.changes(leg.call, false);
                }
            }
            SipEvent::Usage { usage, event } => match self.calls.of_usage(usage) {
                Some(leg) => {
                    self.common.about_event(t.now, self.calls.leg(leg).map(|it| it.call));
                    match event {
                        UsageEvent::OtherFlow { transaction, request, flow, registered } => {
                            let party = self.calls.party(leg);
                            let came = OtherFlow { usage, transaction, flow, registered };
                            self.common.by_other_flow(t, leg, &party, came, &request);
                        }
                        // It may name another call.
                        UsageEvent::Refer { refer, request } => self.refer(t, leg, refer, &request),
                        event => self.input(t, leg, CallInput::Signalled { leg, event }),
                    }
                }
                None => self.common.stray(t, usage, event),
            },
        }
        self.carry_out(t);
    }

    /// Handles an event of the media engine.
    pub fn media_event(&mut self, t: &mut Turn<'_>, event: MediaEvent) {
        self.journal_media(t, &event);
        self.common.kept.iter_mut().for_each(Kept::media_changes);
        match event {
            MediaEvent::Timeout { endpoint } => {
                let Some(leg) = self.calls.of_endpoint(endpoint) else {
                    return self.common.out.counters.late();
                };
                self.input(t, leg, CallInput::Silent { leg });
            }
            MediaEvent::Lost { reason } => {
                tracing::error!("the media engine failed: {reason}; all calls end");
                for leg in self.calls.leg_ids() {
                    self.input(t, leg, CallInput::MediaLost { leg, reason: reason.clone() });
                }
            }
            MediaEvent::Failed { endpoint, reason } => {
                let Some(leg) = self.calls.of_endpoint(endpoint) else {
                    return self.common.out.counters.late();
                };
                self.input(t, leg, CallInput::MediaLost { leg, reason });
            }
            MediaEvent::Started { endpoint, from } => {
                self.tell_media(endpoint, |call, leg| Event::MediaStarted { call, leg, from });
                self.heard_from(t, endpoint, from);
            }
            MediaEvent::SourceChanged { endpoint, from, to } => {
                self.tell_media(endpoint, |call, leg| Event::MediaSourceChanged { call, leg, from, to });
                self.heard_from(t, endpoint, to);
            }
            MediaEvent::SourceRefused { endpoint, from } => {
                let leg = self.calls.of_endpoint(endpoint);
                let party = leg.map(|leg| self.calls.party(leg));
                let rules = party.map(|party| self.common.world.parts.admission.media_rules(t.now, &party));
                let party = rules.map(|rules| rules.party).unwrap_or_default();
                let line = media_from(from.ip());
                self.tell_media(endpoint, |call, leg| {
                    Event::MediaRefused(MediaRefused { call, leg, from, party, line })
                });
            }
            MediaEvent::Withheld { endpoint, to } => {
                self.tell_media(endpoint, |call, leg| Event::MediaWithheld { call, leg, to });
            }
            MediaEvent::Replayed { endpoint } => {
                if let Some(leg) = self.calls.of_endpoint(endpoint) {
                    tracing::warn!(
                        "leg {}: its SRTP restarts its numbers under the same key and is dropped",
                        leg.0
                    );
                }
                self.tell_media(endpoint, |call, leg| Event::MediaReplayed { call, leg });
            }
            MediaEvent::HostNamed { endpoint, family, host } => {
                self.host_named(t, HostName { endpoint, family, host });
            }
            MediaEvent::Digit { endpoint, digit, duration_ms, passed_on, by_tone } => {
                let by = if by_tone { DigitBy::Tone } else { DigitBy::TelephoneEvent };
                let Some(leg) = self.calls.of_endpoint(endpoint) else {
                    return self.common.out.counters.late();
                };
                self.input(t, leg, CallInput::Digit { leg, digit, duration_ms, by, passed_on });
            }
            MediaEvent::Recorded { recording, recorded } => self.recorded(t, recording, &recorded),
            MediaEvent::Speaking { .. } => {}
            MediaEvent::Closed { endpoint, stats } => {
                self.common.world.history.closed(endpoint, &stats, t.now);
                self.common.settle_history(t.at());
            }
        }
        self.carry_out(t);
    }

    /// The source of a party's RTP is known.
    fn heard_from(&mut self, t: &mut Turn<'_>, endpoint: EndpointId, from: SocketAddr) {
        // An endpoint without a leg is counted where the event is told.
        if let Some(leg) = self.calls.of_endpoint(endpoint) {
            self.input(t, leg, CallInput::HeardFrom { leg, from });
        }
    }

    fn tell_media(&mut self, endpoint: EndpointId, news: impl FnOnce(CallId, LegId) -> Event) {
        let leg = self.calls.of_endpoint(endpoint);
        if let Some((leg, it)) = leg.and_then(|leg| Some((leg, self.calls.leg(leg)?))) {
            let call = it.call;
            self.common.out.tell(news(call, leg));
        } else {
            self.common.out.counters.late();
        }
    }

    /// Carries out a command; its answer is sent when it is ready.
    pub(crate) fn obey(&mut self, t: &mut Turn<'_>, command: Command) {
        self.journal_command(t, &command);
        // A closed receiver is no error.
        match command {
            Command::Lookup { target, reply } => {
                self.common.look_up(LookupRequest::new(target, t.now), OnFound::LookUp { reply });
            }
            Command::Dial { request, started, early, reply } => {
                self.originate(t, request, started, Purpose::Originate { early, reply });
            }
            Command::Bridge { a, b, mode, auto_hangup, reply } => {
                let _ = reply.send(self.bridge_legs(t, a, b, mode, auto_hangup));
            }
            Command::Unbridge { leg, kept, reply } => drop(reply.send(self.unbridge(t, leg, kept))),
            Command::Media { of, verb, found, reply } => self.obey_media(t, of, *verb, found, reply),
            Command::Stream { leg, spec, early, reply } => self.open_stream(leg, spec, early, reply),
            Command::Sleep { until, reply } => self.common.sleep(t.at(), until, reply),
            Command::Spawn { work } => self.common.run_beside(work),
            Command::Attend { app, machine } => self.common.attend_beside(app, machine),
            Command::Inform { app, from, message } => self.common.inform(app, from, message),
            Command::Tell { event, told } => {
                self.common.out.tell(*event);
                self.carry_out_effects(t);
                if let Some(told) = told {
                    told.send_replace(true);
                }
            }
            Command::Locate { of, reply } => drop(reply.send(self.locate(of))),
            Command::Knows { name, reply } => {
                let _ = reply.send(self.common.world.find_handler(&name).is_some());
            }
            Command::Watch { what, reply } => {
                let is_there = match what {
                    Watched::Leg(leg) => self.calls.leg(leg).is_some(),
                    Watched::Call(call) => self.calls.get(call).is_some(),
                    Watched::Bridge(bridge) => self.calls.of_bridge(bridge).is_some(),
                };
                self.common.watchers.watch(what, is_there, reply);
            }
            Command::AwaitState { leg, state, reply } => {
                let now = self.calls.leg(leg).map(|it| it.life.state());
                self.common.watchers.await_state(leg, state, now, reply);
            }
            Command::Variables { of, reply } => {
                let of_call = self.call_of(of).and_then(|call| self.calls.get(call));
                let _ = reply.send(of_call.map(Call::variables).ok_or(CallError::Gone));
            }
            Command::IsUp { leg, reply } => {
                let of_leg = self.calls.of(leg);
                let _ = reply.send(of_leg.is_some_and(|it| it.leg_media(leg).is_ok()));
            }
            Command::Joined { leg, reply } => drop(reply.send(self.calls.bridged(leg).is_some())),
            of_call => match self.concerned(&of_call).and_then(|call| self.step(call)) {
                Some(mut step) => step.step(t.at(), CallInput::Command(of_call)),
                // Its dropped reply says that it is over.
                None if matches!(of_call, Command::Hangup { .. }) => self.common.out.counters.late(),
                None => {}
            },
        }
        self.carry_out(t);
    }

    /// Begins a call of our own.
    fn originate(
        &mut self,
        t: &mut Turn<'_>,
        request: Box<DialRequest>,
        started: Option<Reply<CallId>>,
        purpose: Purpose,
    ) {
        if self.takes_no_call() {
            let why = if self.common.is_draining() { DialError::Stopping } else { DialError::Full };
            return refuse(purpose, why);
        }
        let is_journaled = self.common.world.is_journaled();
        let told = is_journaled.then(|| serde_json::json!({ "dial": { "request": &*request } }));
        let call = self.new_call(Call::new(t.now));
        // Whoever asked for it has gone.
        if started.is_some_and(|started| started.send(call).is_err()) {
            return self.drop_if_empty(t, call);
        }
        self.common.open_history(t, call, |pages| pages.input(t.now, "command", &told));
        self.in_call(call, |step| {
            step.advance_call(CallEvent::Originate);
            step.dial(t.at(), *request, purpose);
        });
        self.drop_if_empty(t, call);
    }

    /// Runs the queue until it is empty.
    pub(crate) fn carry_out(&mut self, t: &mut Turn<'_>) {
        loop {
            self.carry_out_effects(t);
            let Some(next) = self.common.out.next() else { break };
            self.follow(t, next);
        }
    }

    /// The call that an answer concerns; `None`: it is over.
    pub(crate) fn concerned_by(&self, concerns: Concerns) -> Option<CallId> {
        let of_leg = |leg: &LegId| self.calls.leg(*leg).map(|leg| leg.call);
        concerns.legs.iter().flatten().find_map(of_leg).or(concerns.call)
    }

    /// A step of the call that an answer concerns; `None`: it is over.
    fn step_for(&mut self, concerns: Concerns) -> Option<CallStep<'_>> {
        self.step(self.concerned_by(concerns)?)
    }

    pub(crate) fn follow(&mut self, t: &mut Turn<'_>, next: Follow) {
        match next {
            Follow::CallEmpty { call } => self.drop_if_empty(t, call),
            Follow::Bridge { leg, other } => {
                if let Err(error) = self.bridge_legs(t, leg, other, BridgeMode::default(), true) {
                    tracing::info!("leg {}: cannot be joined with leg {}: {error}", leg.0, other.0);
                    self.in_call_of(leg, |step| step.hang_up_with(leg, 480, ""));
                }
            }
            next => match self.step_for(next.concerns()) {
                Some(mut step) => step.step(t.at(), CallInput::Follow(next)),
                None => self.common.out.follows_nobody(next),
            },
        }
    }

    /// Takes the result of a task.
    pub fn done(&mut self, t: &mut Turn<'_>, done: Done) {
        match done.0 {
            Came::Media(request, result) => match self.common.work.answered(request) {
                Some((call, Waits::Media(then))) => {
                    self.common.journal_answer(t, call, request, &*result);
                    self.follow(t, Follow::Media { then, result: *result });
                }
                _ => self.common.out.counters.late += 1,
            },
            Came::Found(request, result) => match self.common.work.answered(request) {
                Some((call, Waits::Found(then))) => {
                    self.common.journal_answer(t, call, request, &*result);
                    self.common.out.push(Follow::Found { then, found: *result });
                }
                _ => self.common.out.counters.late += 1,
            },
            Came::Dropped(request) => {
                if let Some((call, _)) = self.common.work.answered(request) {
                    self.common.journal_drop(t, call, request);
                }
                self.common.out.counters.late += 1;
            }
            Came::Application(app, want, answer) => self.application_answered(t, app, want, *answer),
            Came::Program(result) => {
                let MediaResult { program, result, end } = *result;
                end.into_iter().for_each(|end| self.common.out.tell(end));
                self.answer_program(program, result);
            }
            Came::Address(name, address) => self.host_found(t, name, address),
            Came::Beside(Ok(())) => {}
            Came::Beside(Err(Panicked)) => {
                self.common.out.counters.panics += 1;
                tracing::error!("a background task of an application panicked and has ended");
            }
        }
        self.carry_out(t);
    }

    pub(crate) fn wake(&mut self, t: &mut Turn<'_>) {
        while self.common.sleepers.next().is_some_and(|at| at <= t.now) {
            let Some((_, sleeper)) = self.common.sleepers.waiting.pop_first() else { break };
            match sleeper {
                // A closed receiver is no error.
                Sleeper::Application(reply) => drop(reply.send(t.now)),
                Sleeper::Branch { caller, leg } => drop(self.branch_wakes(t, caller, leg)),
            }
        }
    }

    /// Sends a branch's INVITE if it is its turn; `false`: the branch is ending.
    fn branch_wakes(&mut self, t: &mut Turn<'_>, caller: Option<LegId>, leg: LegId) -> bool {
        if self.calls.leg(leg).is_none_or(|it| it.life.is_ending()) {
            self.common.out.counters.late();
            return false;
        }
        self.common.about_timer(t.now, self.calls.leg(leg).map(|it| it.call));
        self.input(t, leg, CallInput::BranchWakes { caller, leg });
        self.carry_out(t);
        true
    }

    /// Wakes the next branch of these calls that is due; `false`: there is none.
    pub(crate) fn wake_branch(&mut self, t: &mut Turn<'_>, calls: &[CallId]) -> bool {
        loop {
            let due = self.common.sleepers.waiting.range(..=(t.now, u64::MAX));
            let next = due.filter_map(|(key, sleeper)| match sleeper {
                Sleeper::Branch { caller, leg } => Some((*key, *caller, *leg)),
                Sleeper::Application(_) => None,
            });
            // A branch that is gone belongs to no call any more.
            let is_of = |leg| self.calls.leg(leg).is_none_or(|it| calls.contains(&it.call));
            let Some((key, caller, leg)) = next.into_iter().find(|(_, _, leg)| is_of(*leg)) else {
                return false;
            };
            self.common.sleepers.waiting.remove(&key);
            if self.branch_wakes(t, caller, leg) {
                return true;
            }
        }
    }

    /// The next name to look up.
    pub(crate) fn poll_host(&mut self) -> Option<HostName> {
        self.common.work.host_names.waiting.pop_front()
    }

    pub(crate) fn host_named(&mut self, t: &Turn<'_>, name: HostName) {
        let Some(leg) = self.calls.of_endpoint(name.endpoint) else { return self.common.out.counters.late() };
        let party = self.calls.party(leg);
        let party = self.common.world.parts.admission.media_rules(t.now, &party).party;
        let why = format!("{} is not looked up: {party} named {MOST} others in a second", name.host);
        let endpoint = name.endpoint;
        if !self.common.work.host_names.add(t.now, &party, name) {
            self.note_host(t, endpoint, &why);
        }
    }

    pub(crate) fn host_found(&mut self, t: &Turn<'_>, name: HostName, address: Option<IpAddr>) {
        let HostName { endpoint, host, .. } = name;
        let Some(address) = address else {
            return self.note_host(t, endpoint, &format!("{host} has no address, or none in time"));
        };
        self.note_host(t, endpoint, &format!("{host} is {address}"));
        self.common.world.parts.controller.host_found(endpoint, host, address);
    }

    fn note_host(&mut self, t: &Turn<'_>, endpoint: EndpointId, why: &str) {
        let leg = self.calls.of_endpoint(endpoint);
        match leg.and_then(|leg| Some((leg, self.calls.leg(leg)?.call))) {
            Some((leg, call)) => self.common.world.history.decided(call, t.now, Some(leg), "host name", why),
            None => self.common.out.counters.late(),
        }
    }

    /// A recording has ended, for whatever reason.
    pub(crate) fn recorded(&mut self, t: &Turn<'_>, id: RecordingId, recorded: &Recorded) {
        if let Some(error) = &recorded.error {
            tracing::warn!("the recording {} ended: {error}", recorded.path.display());
            self.common.out.tell(Event::Error { component: "recording".to_owned(), message: error.clone() });
        }
        let ended_here = self.calls.ids().into_iter().find_map(|call| {
            let it = self.calls.get_mut(call)?;
            let leg = it.recorded_by(id)?;
            Some((call, leg))
        });
        // A recording ended on request, or with its call or leg, has no owner any more.
        let Some((call, leg)) = ended_here.or_else(|| self.common.recordings_ending.take(id)) else {
            return self.common.out.counters.late();
        };
        if let Some(error) = recorded.error.clone().filter(|_| ended_here.is_some()) {
            self.in_call(call, |step| step.step(t.at(), CallInput::RecordingFailed { error }));
        }
        if let Some(kept) = &mut self.common.kept {
            kept.changes(call, false);
        }
        let news = RecordingNews {
            call,
            leg,
            id: Some(id.0),
            on: false,
            file: Some(recorded.path.to_string_lossy().into_owned()),
            seconds: Some(recorded.lasts.as_secs_f64()),
            error: recorded.error.clone(),
        };
        self.common.out.tell(Event::Recording(news));
    }

    /// The call that a leg or bridge belongs to, or the call itself.
    pub(crate) fn call_of(&self, what: Watched) -> Option<CallId> {
        let call = match what {
            Watched::Leg(leg) => self.calls.leg(leg)?.call,
            Watched::Bridge(bridge) => self.calls.of_bridge(bridge)?,
            Watched::Call(call) => call,
        };
        self.calls.get(call).map(|_| call)
    }

    /// The call and the leg; of a call or a bridge, its first leg.
    pub(crate) fn locate(&self, of: Watched) -> Result<(CallId, LegId), CallError> {
        let (call, leg) = match of {
            Watched::Leg(leg) => (self.calls.leg(leg).map(|it| it.call), Some(leg)),
            Watched::Call(call) => (Some(call), self.calls.get(call).and_then(|it| it.legs.ids().next())),
            Watched::Bridge(bridge) => {
                let call = self.calls.of_bridge(bridge);
                let leg = call.and_then(|call| Some(self.calls.get(call)?.bridge.as_ref()?.a));
                (call, leg)
            }
        };
        call.zip(leg).ok_or(CallError::Gone)
    }

    /// The call that the turn is about refers to this leg of another one: from now on they share a journal.
    pub(crate) fn about_other(&mut self, named: LegId) {
        let other = self.calls.leg(named).map(|it| it.call);
        if let (Some(call), Some(other)) = (self.common.world.is_about(), other) {
            self.common.world.history.join_journals(other, call);
        }
    }

    /// Adds a call, in a replay under its number in the journal.
    pub(crate) fn new_call(&mut self, call: Call) -> CallId {
        if let Some(id) = self.common.world.reads("call") {
            self.calls.foresee_call(id);
        }
        self.calls.insert(call)
    }

    /// Writes down a command, which begins a turn.
    pub(crate) fn journal_command(&mut self, t: &Turn<'_>, command: &Command) {
        if !self.common.world.is_journaled() {
            return;
        }
        let call = self.concerned(command);
        self.common.about(call);
        if let Some(pages) = self.common.world.pages() {
            pages.input(t.now, "command", command);
        }
    }

    /// Writes down a media event, which begins a turn.
    pub(crate) fn journal_media(&mut self, t: &Turn<'_>, event: &MediaEvent) {
        let endpoint = match event {
            MediaEvent::Timeout { endpoint }
            | MediaEvent::Failed { endpoint, .. }
            | MediaEvent::Started { endpoint, .. }
            | MediaEvent::SourceChanged { endpoint, .. }
            | MediaEvent::Digit { endpoint, .. } => *endpoint,
            // These are only reported, and change no call.
            _ => return self.common.about(None),
        };
        let leg = self.calls.of_endpoint(endpoint);
        self.common.about(leg.and_then(|leg| Some(self.calls.leg(leg)?.call)));
        if let Some(pages) = self.common.world.pages() {
            pages.input(t.now, "media", event);
        }
    }

    /// The call that a command changes; `None`: it changes none, or creates one.
    pub(crate) fn concerned(&self, command: &Command) -> Option<CallId> {
        let leg = match command {
            Command::Adopt { leg, .. }
            | Command::Answer { leg, .. }
            | Command::Reject { leg, .. }
            | Command::DialAndBridge { leg, .. }
            | Command::AwaitDialled { leg, .. }
            | Command::Bridge { a: leg, .. }
            | Command::Transfer { leg, .. }
            | Command::Refer { leg, .. }
            | Command::Hold { leg, .. }
            | Command::Unbridge { leg, .. }
            | Command::RecordLeg { leg, .. }
            | Command::Hangup { leg, .. }
            | Command::Collect { leg, .. }
            | Command::KeepSecret { leg, .. }
            | Command::WhereTo { leg, .. }
            | Command::StopDialling { leg, .. }
            | Command::LetGo { leg, .. }
            | Command::Give { leg, .. } => *leg,
            Command::HangupCall { call, .. }
            | Command::Record { call, .. }
            | Command::Enter { call, .. }
            | Command::SetVariable { of: Watched::Call(call), .. } => return Some(*call),
            Command::SetVariable { of: Watched::Leg(leg), .. } => *leg,
            Command::SetVariable { of: Watched::Bridge(bridge), .. } => {
                return self.calls.of_bridge(*bridge);
            }
            Command::Dial { .. }
            | Command::Lookup { .. }
            | Command::Variables { .. }
            | Command::Media { .. }
            | Command::Stream { .. }
            | Command::IsUp { .. }
            | Command::Sleep { .. }
            | Command::Spawn { .. }
            | Command::Attend { .. }
            | Command::Inform { .. }
            | Command::Tell { .. }
            | Command::Locate { .. }
            | Command::Joined { .. }
            | Command::Knows { .. }
            | Command::Watch { .. }
            | Command::AwaitState { .. } => return None,
        };
        Some(self.calls.leg(leg)?.call)
    }
}

impl Common {
    /// A request came by another flow than the connection of its leg: whether it is the party's.
    fn by_other_flow(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        party: &Party,
        came: OtherFlow,
        request: &Request,
    ) {
        let OtherFlow { usage, transaction, flow, registered } = came;
        let lost = t.sip.dialog(usage).and_then(|dialog| dialog.flow);
        let whose = self.world.fact("whose", |world| match registered {
            true => Whose::Party,
            false => world.parts.admission.is_of_party(t.now, party, lost.as_ref(), request, &flow),
        });
        let done = match whose {
            Whose::Party => t.sip.believe(t.now, usage, transaction, flow),
            Whose::Refused { status, reason, headers, kept } => {
                let reply = SipReply { reason, headers, ..SipReply::status(status) };
                match kept {
                    true => t.sip.respond(t.now, transaction, reply),
                    false => t.sip.respond_once(t.now, transaction, reply),
                }
            }
            Whose::Ignored => {
                t.sip.ignore_request(transaction);
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::debug!("leg {}: {error}", leg.0);
        }
    }

    /// Handles an event of a call that was refused, or of a leg that is removed.
    fn stray(&mut self, t: &mut Turn<'_>, usage: UsageId, event: UsageEvent) {
        match event {
            UsageEvent::Update { transaction, .. }
            | UsageEvent::Request { transaction, .. }
            | UsageEvent::OtherFlow { transaction, .. } => {
                t.respond(transaction, SipReply::status(481));
            }
            UsageEvent::ReInvite { .. } => {
                let _ = t.refuse(usage, SipReply::status(481));
            }
            UsageEvent::Answered { .. } => {
                let _ = t.sip.bye(t.now, usage);
            }
            UsageEvent::RequestChallenged { challenge } => {
                let _ = t.sip.leave_refused(t.now, usage, challenge.cseq);
            }
            UsageEvent::Refer { refer, .. } => t.answer_refer(PartyRefer { usage, refer }, 481),
            // The usual end of a refused call.
            UsageEvent::Terminated { .. } | UsageEvent::Acknowledged { .. } => self.out.counters.ignored(),
            _ => self.out.counters.late(),
        }
    }
}
