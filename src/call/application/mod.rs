//! Applications as machines: what happens goes in, what is wanted comes out, and nothing waits in between. Where
//! a caller is in an application's flow is what the machine holds, and stands in no future.
//!
//! The switch has the machine for as long as the caller is with it ([`ApplicationHandler::begin`]) and steps it
//! when something happens: an answer, a moment, word of another machine, the end. A machine that belongs to no
//! call (a queue, a room) is of the same kind ([`CallService::attend`]).
//!
//! - `wants`: what a machine wants, as values
//! - `answer`: what comes of that
//!
//! [`ApplicationHandler::begin`]: crate::handler::ApplicationHandler::begin
//! [`CallService::attend`]: crate::service::CallService::attend

mod answer;
mod wants;

use std::any::Any;
use std::fmt;
use std::time::Instant;

use tokio::sync::mpsc;

pub use answer::AppAnswer;
pub(crate) use answer::ToApplication;
pub(crate) use wants::Want;
pub use wants::Wants;

/// A machine that has a caller, or what several callers share.
pub trait Application: Send {
    /// Something has happened. It does not block, and what is wanted is carried out in the order of `wants` once
    /// it has come back. A panic ends the application, and the call that it has.
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants);
}

/// What happens to an application.
#[derive(Debug)]
pub enum AppEvent {
    /// It begins; always the first one.
    Begin,
    /// What was wanted under this number has come to this.
    Answered {
        /// The number that [`Wants`] gave.
        want: WantId,
        /// What it has come to.
        answer: AppAnswer,
    },
    /// The time of [`Wants::set_timer`] has come.
    Timer(u32),
    /// Another application has told it something ([`Wants::tell`]), or a program ([`AppHandle::tell`]).
    Told(Message),
    /// Another application, one that belongs to no call, has panicked; or one that this one has told something was
    /// over by then, and has not heard it.
    Lost(AppId),
    /// The caller's leg has ended. What is left to do may still be done, for 32 seconds, until
    /// [`Wants::end`] says that nothing is.
    Gone,
    /// Somebody else has the caller now, the 32 seconds are over, or it has panicked; always the last one. What the
    /// application holds that others share it gives back; the call is none of its business any more.
    Over,
}

/// What one application tells another: a value whose type both of them know.
pub type Message = Box<dyn Any + Send>;

/// Something that an application wants. Never used twice by one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WantId(pub(crate) u64);

/// An application that runs. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub(crate) u64);

/// What has happened and is not told yet, to which application.
pub(crate) type Inbox = mpsc::UnboundedSender<(AppId, AppEvent)>;

/// An application that belongs to no call, for programs and threads outside. Cheap to clone.
#[derive(Clone)]
pub struct AppHandle {
    pub(crate) app: AppId,
    pub(crate) service: crate::service::CallService,
}

impl AppHandle {
    /// That of an application which knows itself ([`Wants::me`]), to be given to who is to tell it something.
    pub fn new(service: &crate::service::CallService, app: AppId) -> Self {
        AppHandle { app, service: service.clone() }
    }

    /// The application, for [`Wants::tell`].
    pub fn id(&self) -> AppId {
        self.app
    }

    /// Tells it something. Without a service nobody is left to be told.
    pub fn tell(&self, message: impl Any + Send) {
        self.service.inform(self.app, None, Box::new(message));
    }
}

impl fmt::Debug for AppHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AppHandle").field(&self.app).finish()
    }
}
