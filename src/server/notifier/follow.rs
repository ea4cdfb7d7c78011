//! Follows the event bus for the notifier, in a task on the calls' thread, and wakes the admission control
//! when something watched has changed.

use super::document::MessageCounts;
use super::state::{Mailbox, NotifierState};
use crate::admission::AdmissionParts;
use crate::in_force::Current;
use crate::meeting_places::MeetingPlaces;
use b2b_app::park::Lots;
use b2b_app::queue::QueueDesk;
use b2b_app::voicemail::{MailboxConfig, Mailboxes, VOICEMAIL};
use b2b_call::bus::{Received, Subscriber};
use b2b_call::event::Event;
use b2b_call::service::CallService;
use b2b_call::switch::driver::Jobs;

/// Follows the state of watched resources.
pub struct Follower {
    state: NotifierState,
    current: Current,
    lots: Lots,
    mailboxes: Mailboxes,
    queues: QueueDesk,
    jobs: Jobs,
}

/// What an event, or several, may have changed beside the legs, which are tracked one by one.
#[derive(Debug, Default, Clone, Copy)]
struct Look {
    legs: bool,
    slots: bool,
    queues: bool,
    mailboxes: bool,
}

/// Starts following, until the service stops.
pub fn start(
    parts: &AdmissionParts,
    places: &MeetingPlaces,
    queues: &QueueDesk,
    jobs: Jobs,
    service: &CallService,
) {
    let follower = Follower {
        state: parts.notifier.clone(),
        current: parts.current.clone(),
        lots: places.lots.clone(),
        mailboxes: places.mailboxes.clone(),
        queues: queues.clone(),
        jobs,
    };
    // So that the first subscriber finds them.
    follower.take_mailboxes();
    // If the service has stopped, there are no more calls.
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
                self.state.set_slots(self.lots.view().into_iter().map(|(lot, slot, _)| (lot, slot)));
            }
            if look.mailboxes {
                self.take_mailboxes();
            }
            if look.queues {
                let queues = self.queues.queues().await;
                self.state.set_queues(queues.into_iter().filter(|it| it.waiting > 0).map(|it| it.name));
            }
            if self.state.has_changed()
                && self.jobs.run(|switch, t, _| switch.wake_admission(t)).await.is_none()
            {
                return;
            }
        }
    }

    fn note(&self, received: Received, look: &mut Look) {
        let Received::Event(published) = received else {
            *look = Look { legs: true, slots: true, queues: true, mailboxes: true };
            return;
        };
        match &published.event {
            Event::LegCreated { leg, direction, user: Some(user), .. } => {
                if let Some(user) = self.own_name(user) {
                    self.state.leg_began(*leg, &user, *direction);
                }
            }
            Event::LegState { leg, to, .. } => self.state.leg_moved(*leg, *to),
            Event::Application { app, .. } if app == "queue" => look.queues = true,
            Event::Application { app, .. } if app.starts_with("park/") => look.slots = true,
            Event::Application { app, .. } if app == VOICEMAIL => look.mailboxes = true,
            Event::Reloaded { .. } => (look.queues, look.mailboxes) = (true, true),
            _ => {}
        }
    }

    /// The user's own name, as the user may have been dialled by an alias.
    fn own_name(&self, name: &str) -> Option<String> {
        self.current.get().directory.user(name).map(|user| user.name.clone())
    }

    /// Reads the configured mailboxes with their message counts.
    fn take_mailboxes(&self) {
        let settings = self.current.get();
        let mailbox = |mailbox: &MailboxConfig| {
            let counts = self.mailboxes.counts(&mailbox.name)?;
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let counts = MessageCounts { new: number(counts.new), old: number(counts.old) };
            let users = mailbox.users.iter().filter_map(|user| self.own_name(user)).collect();
            Some(Mailbox { name: mailbox.name.clone(), users, counts })
        };
        let configured = &settings.config.apps.voicemail.mailboxes;
        self.state.set_mailboxes(configured.iter().filter_map(mailbox));
    }

    /// After lost events: reads all legs from the present calls.
    async fn take_legs_anew(&self) {
        let calls = self.jobs.run(|switch, t, _| switch.snapshot(t.now)).await.unwrap_or_default();
        let legs = calls.into_iter().flat_map(|call| call.legs);
        let of_users = legs.filter_map(|leg| {
            let user = self.own_name(leg.user.as_deref()?)?;
            Some((leg.leg, user, leg.direction, leg.state))
        });
        self.state.set_legs(of_users);
    }
}
