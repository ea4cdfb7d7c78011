//! Call detail records: one per leg, each a line of JSON, appended to a file.
//!
//! - `agent`: the sums of a voice agent
//! - `record`: the contents of a record
//! - `writer`: the thread that writes records
//!
//! A record is safe once the kernel has taken its whole line ([`CdrWriter::is_written`]): from then on it
//! survives the end of the process, SIGKILL included, and with [`WriterConfig::durable`] also a crash of the
//! machine. Records still in the queue when the process is killed are lost: usually those of the last tenth
//! of a second.

mod agent;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use agent::VoiceAgentSums;
pub use record::{Cdr, Disposition, Ending, HangupBy};
pub use writer::{CdrCounters, CdrError, CdrWriter, Ticket, WriterConfig};
