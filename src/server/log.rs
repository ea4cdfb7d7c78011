//! The part of `[log]` that a reload changes: the level, and the file of SIP messages.

use crate::config::Log as Config;
use b2b_base::logging;
use b2b_sip::net::trace::{SipTrace, TraceSlot};

/// Destination of log lines and SIP traces.
#[derive(Default)]
pub struct Log {
    /// The slot of the sockets' SIP trace.
    pub trace: TraceSlot,
}

/// The pending changes; a new trace file is open already.
pub struct Change {
    level: tracing::Level,
    trace: Option<Option<SipTrace>>,
}

impl Log {
    /// Prepares the change to a new configuration, and changes nothing yet.
    ///
    /// # Errors
    /// If the trace file cannot be created, in words.
    pub fn change(&self, old: &Config, new: &Config) -> Result<Change, String> {
        let moved = old.sip_trace != new.sip_trace;
        let begin = || new.sip_trace.as_deref().map(SipTrace::create).transpose();
        let trace = moved.then(begin).transpose().map_err(|error| {
            let path = new.sip_trace.as_deref().unwrap_or(std::path::Path::new(""));
            format!("log.sip_trace {}: {error}", path.display())
        })?;
        Ok(Change { level: new.level, trace })
    }

    /// Applies the change.
    pub fn set(&self, change: Change) {
        logging::set_level(change.level);
        if let Some(trace) = change.trace {
            self.trace.set(trace);
        }
    }
}
