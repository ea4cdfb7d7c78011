//! Records of legs that are over, to all who keep them.

use super::cdr_file::CdrFile;
use super::ended_calls::EndedCallStore;
use b2b_call::switch::RecordSink;

/// Where the calls' thread hands records over; none: nobody wants any.
pub fn sink(cdr_file: &CdrFile, ended_calls: Option<&EndedCallStore>) -> Option<RecordSink> {
    let file = cdr_file.sink();
    let Some(store) = ended_calls.cloned() else { return file };
    let Some(mut file) = file else { return Some(Box::new(move |record| store.submit(Box::new(record)))) };
    Some(Box::new(move |record| {
        store.submit(Box::new(record.clone()));
        file(record);
    }))
}
