//! Delivers the events of a call to its handler: each such call has its own queue and task, so that a slow
//! handler delays only itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::waiting::{Found, OnFound};
use super::{CallStep, Common, Turn};
use crate::event::Event;
use crate::handler::ApplicationHandler;

/// Maximum number of queued events; further ones are dropped and counted.
const QUEUE: usize = 256;

/// Time for a handler to process the remaining events when its call is over.
const PARTING: Duration = Duration::from_secs(32);

/// Ends the listening when dropped.
pub(super) type Ends = oneshot::Sender<()>;

/// The call's end of a handler's queue.
pub(super) struct Listener {
    handler: Arc<dyn ApplicationHandler>,
    events: mpsc::Sender<Event>,
    ends: Ends,
}

impl CallStep<'_> {
    /// This handler receives the events of the call from now on, beside those that passed it on to another one.
    /// Returns whether it is a new listener.
    pub(super) fn listen(&mut self, handler: &Arc<dyn ApplicationHandler>) -> bool {
        let call = self.id;
        let hears = |it: &Listener| Arc::ptr_eq(&it.handler, handler);
        let hears = self.call.listeners.iter().any(hears);
        if !self.common.fact("listens", |_| handler.wants_events() && !hears) {
            return false;
        }
        let (events, mut queue) = mpsc::channel(QUEUE);
        let (ends, ended) = oneshot::channel();
        let (handler, service) = (handler.clone(), self.common.service.clone());
        let hearing = handler.clone();
        let hears = async move {
            while let Some(event) = queue.recv().await {
                hearing.handle_event(call, event, service.clone()).await;
            }
        };
        let listening = Box::pin(async move {
            tokio::select! {
                biased;
                _ = ended => {}
                () = hears => {}
            }
        });
        self.call.listeners.push(Listener { handler, events, ends });
        self.common.run(listening, |()| Found::Over, OnFound::Listened { call });
        true
    }

    /// The newest listener has declined the call, and does not hear of it any more.
    pub(super) fn listens_no_more(&mut self) {
        self.call.listeners.pop();
    }

    /// A handler panicked on an event: its call ends, as with any other panic of a handler.
    pub(super) fn deaf(&mut self, t: &mut Turn<'_>) {
        let call = self.id;
        tracing::error!("the handler of call {} panicked at an event: the call ends", call.0);
        let it = &mut *self.call;
        it.listeners.clear();
        for leg in it.legs.ids().collect::<Vec<_>>() {
            self.hang_up_with(t, leg, 500, "");
        }
    }

    /// Delivers an event to the call's handlers.
    pub(super) fn tell_handlers(&mut self, event: &Event) {
        let unheard =
            self.call.listeners.iter().filter(|it| it.events.try_send(event.clone()).is_err()).count();
        self.common.counters.unheard += unheard as u64;
    }
}

impl Common {
    /// The call is over: its handlers may still process the queued events.
    pub(super) fn part_with(&mut self, t: &Turn<'_>, listeners: Vec<Listener>) {
        self.parting.extend(listeners.into_iter().map(|it| (t.now + PARTING, it.ends)));
    }
}
