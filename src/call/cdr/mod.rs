//! Call detail records: one a leg, a line of JSON each, in a file that grows.
//!
//! - `record`: what a record says
//! - `writer`: the thread that writes them
//!
//! A record is finished when the kernel has taken its whole line
//! ([`CdrWriter::is_written`]): from then on the end of the process, SIGKILL
//! included, does not lose it, and with [`WriterConfig::durable`] the end of the
//! machine neither. What is still in the queue when the process is killed is lost:
//! usually that is what the last tenth of a second has brought.

mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use record::{Cdr, Disposition, Ending, HangupBy};
pub use writer::{CdrCounters, CdrError, CdrWriter, Ticket, WriterConfig};
