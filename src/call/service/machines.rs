//! Applications that belong to no call, and messages to applications.

use std::sync::atomic::Ordering;

use super::{CallError, CallService};
use crate::application::{AppHandle, AppId, Application, Message};
use crate::service::command::Command;

impl CallService {
    /// Starts an application that belongs to no call, such as one that several applications of calls share.
    /// It ends by its own decision, or with the service.
    ///
    /// # Errors
    /// The service has stopped.
    pub fn attend(&self, machine: Box<dyn Application>) -> Result<AppHandle, CallError> {
        let app = self.new_application();
        self.commands.send(Command::Attend { app, machine }).map_err(|_| CallError::Stopping)?;
        Ok(AppHandle { app, service: self.clone() })
    }

    /// Sends a message to an application, from another one or from a program.
    pub(crate) fn inform(&self, app: AppId, from: Option<AppId>, message: Message) {
        // A service that has stopped has no applications.
        let _ = self.commands.send(Command::Inform { app, from, message });
    }

    /// The identifier of a new application.
    pub(crate) fn new_application(&self) -> AppId {
        AppId(self.applications.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
