//! A process that a message has brought down: the next one sets its call aside, refuses the rest of it, and keeps it for the
//! bug report.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use b2b_base::stepping::Left;
use b2b_base::util::file;
use b2b_call::switch::restore;
use b2b_sip::net::RefusedCall;
use b2b_sys::manager;

/// How many reports are kept; after that, the last one is written again.
const REPORTS: u32 = 9;

/// What has brought a process down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProcessFault {
    /// `a panic`, or the signal.
    pub how: String,
    /// The call that took a step; null: none, or it was not known yet.
    pub call: Option<u64>,
    /// From where the message came; null: it was none.
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// The file with the message and the call's journal.
    pub report: Option<String>,
}

/// The same, with what follows from it.
pub(super) struct Broken {
    pub fault: ProcessFault,
    message: Vec<u8>,
}

impl Broken {
    /// `None`: the process has not died through a fault of its own, or it was at work on nothing.
    pub fn of(left: Option<Left>) -> Option<Broken> {
        let Left { broken, call, message } = left?;
        let signal = std::env::var(manager::FAULT).ok().filter(|signal| !signal.is_empty());
        let how = if broken { "a panic".to_owned() } else { signal? };
        let (source, message) = message.unzip();
        Some(Broken {
            fault: ProcessFault { how, call, source, report: None },
            message: message.unwrap_or_default(),
        })
    }

    /// Whether it was a message.
    pub fn is_message(&self) -> bool {
        self.fault.source.is_some()
    }

    /// The call whose messages are refused until then.
    pub fn refused(&self, until: Instant) -> Option<RefusedCall> {
        RefusedCall::of(&self.message, until)
    }

    /// Writes the report beside the calls, and says so. `journal`: what was kept of the call.
    pub fn report(&mut self, beside: &Path, journal: impl Iterator<Item = Bytes>) {
        let ProcessFault { how, call, source, .. } = &self.fault;
        let what = match (call, source) {
            (Some(call), Some(source)) => format!("a message from {source} in call {call}, which ends"),
            (Some(call), None) => format!("call {call}, which ends"),
            (None, Some(source)) => format!("a message from {source} that belongs to no call"),
            (None, None) => "nothing that is known".to_owned(),
        };
        let file = |n: u32| {
            let mut name = beside.as_os_str().to_owned();
            name.push(format!(".fault-{n}"));
            PathBuf::from(name)
        };
        let path = file((1..REPORTS).find(|n| !file(*n).exists()).unwrap_or(REPORTS));
        let written = file::begin(&path).and_then(|mut report| {
            writeln!(report, "The server has died ({how}) at {what}.\n\n-- message")?;
            report.write_all(&self.message)?;
            writeln!(report, "\n-- journal of the call since it was last written as it is")?;
            report.write_all(restore::journal(journal).as_bytes())
        });
        let kept = match written {
            Ok(()) => format!("{} has it, for a bug report", path.display()),
            Err(error) => format!("no report of it at {}: {error}", path.display()),
        };
        tracing::error!("the process before has died ({how}), which is a bug of b2b, at {what}; {kept}");
        self.fault.report = Some(path.to_string_lossy().into_owned());
    }
}
