//! The file of call records, from its opening to the last line in it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use b2b_base::util::redact::Redaction;
use b2b_call::cdr::{CdrCounters, CdrError, CdrWriter, WriterConfig};
use b2b_call::switch::RecordSink;

/// Records that may wait for the disk.
const RECORDS: usize = 65_536;

/// The writer, shared between the calls' thread, which submits, and those who look after
/// the file. Empty where no file is configured.
#[derive(Clone, Default)]
pub struct CdrFile(Arc<Mutex<Option<CdrWriter>>>);

impl CdrFile {
    /// Opens the file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: Option<&Path>) -> Result<Self, CdrError> {
        let Some(path) = path else { return Ok(CdrFile::default()) };
        let writer = CdrWriter::start(WriterConfig {
            path: path.to_owned(),
            queue: RECORDS,
            // They are the operator's accounts: whole numbers.
            redaction: Redaction::Off,
            durable: false,
        })?;
        Ok(CdrFile(Arc::new(Mutex::new(Some(writer)))))
    }

    /// Where records go; none: nowhere.
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

    /// The path may mean another file from now on.
    pub fn reopen(&self) {
        if let Some(writer) = self.writer().as_ref() {
            writer.reopen();
        }
    }

    /// Counters so far; zeros where no file is configured.
    pub fn counters(&self) -> CdrCounters {
        self.writer().as_ref().map(CdrWriter::counters).unwrap_or_default()
    }

    /// Writes what is left. Nothing can be submitted after that.
    pub fn finish(&self, patience: Duration) {
        let writer = self.writer().take();
        if let Some(Err(error)) = writer.map(|writer| writer.finish(patience)) {
            tracing::error!("{error}");
        }
    }

    /// Held for a look or a push into a queue; a panic elsewhere leaves it whole.
    fn writer(&self) -> MutexGuard<'_, Option<CdrWriter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
