//! Follows the event bus for the lamps, in a task on the calls' thread, and wakes the desk
//! when something has changed that somebody watches.

use super::board::LampBoard;
use crate::app::park::Lots;
use crate::app::queue::QueueDesk;
use crate::b2bua::desk::DeskParts;
use crate::b2bua::in_force::Current;
use crate::call::bus::{Received, Subscriber};
use crate::call::event::Event;
use crate::call::service::CallService;
use crate::call::switch::driver::Jobs;

/// Whom lamps are of.
pub struct Follower {
    board: LampBoard,
    current: Current,
    lots: Lots,
    queues: QueueDesk,
    jobs: Jobs,
}

/// What an event, or some, may have changed beside the legs, which are counted one by one.
#[derive(Debug, Default, Clone, Copy)]
struct Look {
    legs: bool,
    slots: bool,
    queues: bool,
}

/// Follows from now on, until the service stops.
pub fn start(parts: &DeskParts, lots: &Lots, queues: &QueueDesk, jobs: Jobs, service: &CallService) {
    let follower = Follower {
        board: parts.lamps.clone(),
        current: parts.current.clone(),
        lots: lots.clone(),
        queues: queues.clone(),
        jobs,
    };
    // If the service has stopped nobody calls any more.
    let _ = service.spawn(follower.run(parts.bus.subscribe()));
}

impl Follower {
    async fn run(self, mut events: Subscriber) {
        while let Some(received) = events.recv().await {
            let mut look = Look::default();
            self.note(received, &mut look);
            while let Some(received) = events.try_recv() {
                self.note(received, &mut look);
            }
            if look.legs {
                self.take_legs_anew().await;
            }
            if look.slots {
                self.board.set_slots(self.lots.view().into_iter().map(|(lot, slot, _)| (lot, slot)));
            }
            if look.queues {
                let queues = self.queues.queues().await;
                self.board.set_queues(queues.into_iter().filter(|it| it.waiting > 0).map(|it| it.name));
            }
            if self.board.has_changed() && self.jobs.run(|switch, t, _| switch.wake_desk(t)).await.is_none() {
                return;
            }
        }
    }

    fn note(&self, received: Received, look: &mut Look) {
        let Received::Event(published) = received else {
            *look = Look { legs: true, slots: true, queues: true };
            return;
        };
        match &published.event {
            Event::LegCreated { leg, direction, user: Some(user), .. } => {
                if let Some(user) = self.own_name(user) {
                    self.board.leg_began(*leg, &user, *direction);
                }
            }
            Event::LegState { leg, to, .. } => self.board.leg_moved(*leg, *to),
            Event::Application { app, .. } if app == "queue" => look.queues = true,
            Event::Application { app, .. } if app.starts_with("park/") => look.slots = true,
            Event::Reloaded { .. } => look.queues = true,
            _ => {}
        }
    }

    /// Of a user who may have been dialled by an alias.
    fn own_name(&self, name: &str) -> Option<String> {
        self.current.get().directory.user(name).map(|user| user.name.clone())
    }

    /// Events were lost: the calls that there are say how it stands.
    async fn take_legs_anew(&self) {
        let calls = self.jobs.run(|switch, t, _| switch.snapshot(t.now)).await.unwrap_or_default();
        let legs = calls.into_iter().flat_map(|call| call.legs);
        let of_users = legs.filter_map(|leg| {
            let user = self.own_name(leg.user.as_deref()?)?;
            Some((leg.leg, user, leg.direction, leg.state))
        });
        self.board.set_legs(of_users);
    }
}
