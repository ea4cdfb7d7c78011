//! Distributes the records of ended legs to all consumers.

use super::call_figures::CallFigures;
use super::cdr_file::CdrFile;
use super::ended_calls::EndedCallStore;
use b2b_call::switch::RecordSink;

/// The sink to which the calls' thread submits records.
pub fn sink(
    cdr_file: &CdrFile,
    ended_calls: Option<&EndedCallStore>,
    figures: &CallFigures,
) -> Option<RecordSink> {
    let (mut file, store, figures) = (cdr_file.sink(), ended_calls.cloned(), figures.clone());
    Some(Box::new(move |record| {
        figures.add(&record);
        match (&store, &mut file) {
            (Some(store), None) => store.submit(Box::new(record)),
            (None, Some(file)) => file(record),
            (Some(store), Some(file)) => {
                store.submit(Box::new(record.clone()));
                file(record);
            }
            (None, None) => {}
        }
    }))
}
