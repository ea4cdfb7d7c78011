//! Delivers the events of a call to its handler: each such call has its own queue and task, so that a slow
//! handler delays only itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::waiting::{Found, OnFound};
use super::{Switch, Turn};
use crate::CallId;
use crate::event::Event;
use crate::handler::ApplicationHandler;

/// Maximum number of queued events; further ones are dropped and counted.
const QUEUE: usize = 256;

/// Time for a handler to process the remaining events when its call is over.
const PARTING: Duration = Duration::from_secs(32);

/// Ends the listening when dropped.
pub(super) type Ends = oneshot::Sender<()>;

/// The call's end of the queue.
pub(super) struct Listener {
    events: mpsc::Sender<Event>,
    ends: Ends,
}

impl Switch {
    /// This handler, and no other one, receives the events of the call from now on.
    pub(super) fn listen(&mut self, call: CallId, handler: &Arc<dyn ApplicationHandler>) {
        if let Some(it) = self.calls.get_mut(call) {
            it.listener = None;
        }
        if !self.fact("listens", |_| handler.wants_events()) {
            return;
        }
        let (events, mut queue) = mpsc::channel(QUEUE);
        let (ends, ended) = oneshot::channel();
        let (handler, service) = (handler.clone(), self.service.clone());
        let hears = async move {
            while let Some(event) = queue.recv().await {
                handler.handle_event(call, event, service.clone()).await;
            }
        };
        let listening = Box::pin(async move {
            tokio::select! {
                biased;
                _ = ended => {}
                () = hears => {}
            }
        });
        if let Some(it) = self.calls.get_mut(call) {
            it.listener = Some(Box::new(Listener { events, ends }));
        }
        self.run(listening, |()| Found::Over, OnFound::Listened { call });
    }

    /// A handler panicked on an event: its call ends, as with any other panic of a handler.
    pub(super) fn deaf(&mut self, t: &mut Turn<'_>, call: CallId) {
        tracing::error!("the handler of call {} panicked at an event: the call ends", call.0);
        let Some(it) = self.calls.get_mut(call) else { return self.counters.late() };
        it.listener = None;
        for leg in it.legs.ids().collect::<Vec<_>>() {
            self.hang_up_with(t, leg, 500, "");
        }
    }

    /// Delivers an event to the call's handler.
    pub(super) fn tell_handler(&mut self, event: &Event) {
        let listener = event.call().and_then(|call| self.calls.get(call)?.listener.as_ref());
        if let Some(listener) = listener
            && listener.events.try_send(event.clone()).is_err()
        {
            self.counters.unheard += 1;
        }
    }

    /// The call is over: its handler may still process the queued events.
    pub(super) fn part_with(&mut self, t: &Turn<'_>, listener: Option<Box<Listener>>) {
        if let Some(listener) = listener {
            self.parting.push_back((t.now + PARTING, listener.ends));
        }
    }
}
