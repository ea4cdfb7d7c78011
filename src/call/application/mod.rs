//! Applications as state machines: events go in, wants come out, and nothing blocks in between. A caller's
//! position in the application is held by the machine, not by a suspended future.
//!
//! The switch owns the machine while the caller is with it ([`ApplicationHandler::begin`]) and steps it on
//! each event: an answer, a timer, a message from another machine, the end. A machine that belongs to no call
//! (a queue, a conference room) is of the same kind ([`CallService::attend`]).
//!
//! - `wants`: what a machine can want, as values
//! - `answer`: the answers to wants
//! - `saved`: a machine that goes on in another process
//!
//! [`ApplicationHandler::begin`]: crate::handler::ApplicationHandler::begin
//! [`CallService::attend`]: crate::service::CallService::attend

mod answer;
mod saved;
mod wants;

use std::any::Any;
use std::fmt;
use std::time::Instant;

use tokio::sync::mpsc;

pub use answer::AppAnswer;
pub(crate) use answer::{OTHER_KIND, ToApplication};
pub use saved::Saved;
pub(crate) use wants::Want;
pub use wants::Wants;

/// A machine that has a caller, or that several callers share.
pub trait Application: Send {
    /// Processes an event without blocking. The wants are carried out in the order of `wants` after it
    /// returns. A panic ends the application and its call.
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants);

    /// What [`ApplicationHandler::load`] makes a machine of, in the process after this one, if this one ends without
    /// a farewell: see [`Saved::of`]. `None`: it cannot go on elsewhere, and its caller is hung up there.
    ///
    /// [`ApplicationHandler::load`]: crate::handler::ApplicationHandler::load
    fn save(&self) -> Option<Saved> {
        None
    }
}

/// An event of an application.
#[derive(Debug)]
pub enum AppEvent {
    /// The application begins; the first event, but for `Resumed`.
    Begin,
    /// It goes on where it was saved in another process; the first event in place of `Begin`. What it wanted there has
    /// no answer any more, nothing is played or awaited, and no timer is set.
    Resumed,
    /// The answer to a want.
    Answered {
        /// The number of the want.
        want: WantId,
        /// The answer.
        answer: AppAnswer,
    },
    /// A timer set by [`Wants::set_timer`] has fired.
    Timer(u32),
    /// A message from another application ([`Wants::tell`]) or from a program ([`AppHandle::tell`]).
    Told(Message),
    /// Another application that belongs to no call has panicked; or a message to another application was not
    /// delivered, because that one was over.
    Lost(AppId),
    /// The caller's leg has ended. The application has 32 seconds for the work that is left, unless it calls
    /// [`Wants::end`] earlier.
    Gone,
    /// The application is over: the caller was handed to another application, the 32 seconds are over, or it
    /// panicked; always the last event. The application releases the shared resources that it holds and no
    /// longer controls the call.
    Over,
}

/// A message between applications: a value whose type both know.
pub type Message = Box<dyn Any + Send>;

/// The number of a want. Unique within an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WantId(pub(crate) u64);

/// A running application. Unique within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub(crate) u64);

/// Events that are not delivered yet, with their application.
pub(crate) type Inbox = mpsc::UnboundedSender<(AppId, AppEvent)>;

/// A handle on an application that belongs to no call, for programs and threads outside. Cheap to clone.
#[derive(Clone)]
pub struct AppHandle {
    pub(crate) app: AppId,
    pub(crate) service: crate::service::CallService,
}

impl AppHandle {
    /// The handle of an application by its own id ([`Wants::me`]), to be given to those that send it
    /// messages.
    pub fn new(service: &crate::service::CallService, app: AppId) -> Self {
        AppHandle { app, service: service.clone() }
    }

    /// The application, for [`Wants::tell`].
    pub fn id(&self) -> AppId {
        self.app
    }

    /// Sends it a message. Without a service the message is dropped.
    pub fn tell(&self, message: impl Any + Send) {
        self.service.inform(self.app, None, Box::new(message));
    }
}

impl fmt::Debug for AppHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AppHandle").field(&self.app).finish()
    }
}
