//! The clock of applications, their work beside calls, and their events. Their time is that of the switch:
//! real on its thread, virtual in the test harness.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{CallError, CallService};
use crate::CallId;
use crate::event::Event;
use crate::service::command::{Command, Until};

impl CallService {
    /// The current time.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn now(&self) -> Result<Instant, CallError> {
        self.ask(|reply| Command::Sleep { until: Until::Now, reply }).await.map_err(|_| CallError::Stopping)
    }

    /// Waits for this long from now, and returns the time then. Dropping the future ends the waiting.
    ///
    /// # Errors
    /// The service is stopping.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = Result<Instant, CallError>> + use<> {
        let woken = self.ask(|reply| Command::Sleep { until: Until::In(time), reply });
        async move { woken.await.map_err(|_| CallError::Stopping) }
    }

    /// As [`CallService::sleep`], until a time on the clock of [`CallService::now`].
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn sleep_until(&self, at: Instant) -> Result<Instant, CallError> {
        self.ask(|reply| Command::Sleep { until: Until::At(at), reply })
            .await
            .map_err(|_| CallError::Stopping)
    }

    /// The result of a future, or `None` if it takes longer than `time`, counted from now.
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
            woken = async { self.sleep(time).await } => woken.map(|_| None),
        }
    }

    /// Runs work of an application that belongs to no call on the calls' thread, until it is done or the
    /// service stops. It may wait, but must not block.
    ///
    /// # Errors
    /// The service has stopped.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), CallError> {
        self.commands.send(Command::Spawn { work: Box::pin(work) }).map_err(|_| CallError::Stopping)
    }

    /// Publishes an application's own event, with the call that it is about, if any: on the bus, in the
    /// call's history, and to its handler.
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

    /// Publishes an event: on the bus, in the history of its call, and to the call's handler.
    ///
    /// # Errors
    /// The service has stopped.
    pub fn tell(&self, event: Event) -> Result<(), CallError> {
        let tell = Command::Tell { event: Box::new(event), told: None };
        self.commands.send(tell).map_err(|_| CallError::Stopping)
    }

    /// As [`CallService::tell`]; `told` becomes true once the event has been published.
    ///
    /// # Errors
    /// The service has stopped; `told` does not change.
    pub fn tell_watched(&self, event: Event, told: watch::Sender<bool>) -> Result<(), CallError> {
        let tell = Command::Tell { event: Box::new(event), told: Some(told) };
        self.commands.send(tell).map_err(|_| CallError::Stopping)
    }
}
