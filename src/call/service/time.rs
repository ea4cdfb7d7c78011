//! The clock of applications, what they do beside calls, and what they tell. Their time is
//! the switch's: real on its thread, virtual in the harness.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{CallError, CallService};
use crate::CallId;
use crate::event::Event;
use crate::switch::command::{Command, Until};

impl CallService {
    /// What time it is.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn now(&self) -> Result<Instant, CallError> {
        self.ask(|reply| Command::Sleep { until: Until::Now, reply }).await.ok_or(CallError::Stopping)
    }

    /// Waits for so long, and says what time it is then. Dropping the future ends the
    /// waiting.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn sleep(&self, time: Duration) -> Result<Instant, CallError> {
        self.ask(|reply| Command::Sleep { until: Until::In(time), reply }).await.ok_or(CallError::Stopping)
    }

    /// The same until a moment that [`CallService::now`] has been measured by.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn sleep_until(&self, at: Instant) -> Result<Instant, CallError> {
        self.ask(|reply| Command::Sleep { until: Until::At(at), reply }).await.ok_or(CallError::Stopping)
    }

    /// What comes of this, if it comes in time; else none. The time runs from now.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn within<T>(
        &self,
        time: Duration,
        future: impl Future<Output = T> + Send,
    ) -> Result<Option<T>, CallError> {
        tokio::select! {
            biased;
            value = future => Ok(Some(value)),
            woken = self.sleep(time) => woken.map(|_| None),
        }
    }

    /// Runs this beside the calls, on their thread, until it is done or the service stops:
    /// what belongs to an application and to no call. It may wait, and must not block.
    ///
    /// # Errors
    /// The service has stopped.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), CallError> {
        self.commands.send(Command::Spawn { work: Box::pin(work) }).map_err(|_| CallError::Stopping)
    }

    /// Publishes an application's own news, with the call that it is about if there is one:
    /// on the bus, in the call's account, and to its handler.
    ///
    /// # Errors
    /// The service has stopped.
    pub fn publish(
        &self,
        call: Option<CallId>,
        app: &str,
        name: &str,
        data: serde_json::Value,
    ) -> Result<(), CallError> {
        let (app, name) = (app.to_owned(), name.to_owned());
        self.tell(Event::Application { call, app, name, data })
    }

    /// Publishes this: on the bus, in its call's account, and to its call's handler.
    ///
    /// # Errors
    /// The service has stopped.
    pub fn tell(&self, event: Event) -> Result<(), CallError> {
        let tell = Command::Tell { event: Box::new(event), told: None };
        self.commands.send(tell).map_err(|_| CallError::Stopping)
    }

    /// The same, and says so to those who wait for it: `told` is true then.
    ///
    /// # Errors
    /// The service has stopped; it is not said then.
    pub fn tell_watched(&self, event: Event, told: watch::Sender<bool>) -> Result<(), CallError> {
        let tell = Command::Tell { event: Box::new(event), told: Some(told) };
        self.commands.send(tell).map_err(|_| CallError::Stopping)
    }
}
