//! The call record file, from opening to the last line.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use b2b_base::util::redact::Redaction;
use b2b_call::cdr::{CdrCounters, CdrError, CdrWriter, WriterConfig};
use b2b_call::switch::RecordSink;

/// Records that may be queued for the disk.
const RECORDS: usize = 65_536;

/// The writer, shared between the calls' thread, which submits, and the code that maintains the file. Empty
/// where no file is configured.
#[derive(Clone, Default)]
pub struct CdrFile(Arc<Mutex<Option<CdrWriter>>>);

impl CdrFile {
    /// Opens the file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: Option<&Path>) -> Result<Self, CdrError> {
        let Some(path) = path else { return Ok(CdrFile::default()) };
        let writer = CdrWriter::start(WriterConfig {
            path: path.to_owned(),
            queue: RECORDS,
            // The records are the operator's own, so numbers are not redacted.
            redaction: Redaction::Off,
            durable: false,
        })?;
        Ok(CdrFile(Arc::new(Mutex::new(Some(writer)))))
    }

    /// The sink for records; `None` where no file is configured.
    pub fn sink(&self) -> Option<RecordSink> {
        self.writer().as_ref()?;
        let cdr_file = self.clone();
        Some(Box::new(move |record| {
            let ticket = cdr_file.writer().as_mut().and_then(|writer| writer.submit(record));
            if ticket.is_none() {
                tracing::error!("a call record was lost: the disk is too slow or full");
            }
        }))
    }

    /// Reopens the path, which may name another file now.
    pub fn reopen(&self) {
        if let Some(writer) = self.writer().as_ref() {
            writer.reopen();
        }
    }

    /// Counters so far; zero where no file is configured.
    pub fn counters(&self) -> CdrCounters {
        self.writer().as_ref().map(CdrWriter::counters).unwrap_or_default()
    }

    /// Writes the queued records. Later submissions are dropped.
    pub fn finish(&self, patience: Duration) {
        let writer = self.writer().take();
        if let Some(Err(error)) = writer.map(|writer| writer.finish(patience)) {
            tracing::error!("{error}");
        }
    }

    /// Held only for a read or a push into a queue; a panic elsewhere leaves the data consistent.
    fn writer(&self) -> MutexGuard<'_, Option<CdrWriter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
