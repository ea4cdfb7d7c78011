//! Applications that belong to no call, and word for applications.

use std::sync::atomic::Ordering;

use super::{CallError, CallService};
use crate::application::{AppHandle, AppId, Application, Message};
use crate::switch::command::Command;

impl CallService {
    /// Has an application of no call attended to from now on, as those of calls are: what several of them
    /// share. It ends when it says so, or with the service.
    ///
    /// # Errors
    /// The service has stopped.
    pub fn attend(&self, machine: Box<dyn Application>) -> Result<AppHandle, CallError> {
        let app = self.new_application();
        self.commands.send(Command::Attend { app, machine }).map_err(|_| CallError::Stopping)?;
        Ok(AppHandle { app, service: self.clone() })
    }

    /// Word for an application, of another one or of a program.
    pub(crate) fn inform(&self, app: AppId, from: Option<AppId>, message: Message) {
        // A service that has stopped has no applications.
        let _ = self.commands.send(Command::Inform { app, from, message });
    }

    /// The number of an application that begins.
    pub(crate) fn new_application(&self) -> AppId {
        AppId(self.applications.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
