//! The files that a server wrote: call records, and the recordings that they name.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::watch::party;

/// The records of one account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OnRecord {
    /// Number of records of its conversations, those of other parties included.
    pub records: usize,
    /// Length of each of their recordings, seconds.
    pub recordings: Vec<f64>,
}

/// The call records of a run: the part of the file behind `from`, where it ended before.
#[derive(Debug, Clone, Default)]
pub struct Records(Vec<Value>);

impl Records {
    /// Reads them; a missing file has none.
    pub fn read(path: &Path, from: u64) -> Records {
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(path)
            && file.seek(SeekFrom::Start(from)).is_ok()
        {
            let _ = file.read_to_string(&mut text);
        }
        Records(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The records of an account.
    pub fn of(&self, account: &str) -> OnRecord {
        let own = self.0.iter().filter(|record| party(record).as_deref() == Some(account));
        let linked: BTreeSet<u64> = own.filter_map(|record| record["linked_id"].as_u64()).collect();
        let is_linked = |record: &&Value| record["linked_id"].as_u64().is_some_and(|id| linked.contains(&id));
        let records: Vec<&Value> = self.0.iter().filter(is_linked).collect();
        OnRecord { records: records.len(), recordings: lengths(&records) }
    }

    /// Length of every recording of the run, seconds.
    pub fn recordings(&self) -> Vec<f64> {
        lengths(&self.0.iter().collect::<Vec<_>>())
    }
}

/// Lengths in seconds of the recordings that the records name; each file counts once, unreadable ones not at
/// all.
fn lengths(records: &[&Value]) -> Vec<f64> {
    let files: BTreeSet<&str> =
        records.iter().filter_map(|record| record["variables"]["recording"].as_str()).collect();
    let length = |file: &str| {
        let wav = hound::WavReader::open(file).ok()?;
        Some(f64::from(wav.duration()) / f64::from(wav.spec().sample_rate))
    };
    files.into_iter().filter_map(length).filter(|seconds| *seconds > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_conversation_are_those_of_everybody_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdr.jsonl");
        let line = |id: u64, direction: &str, caller: &str, callee: &str| {
            serde_json::json!({ "linked_id": id, "direction": direction, "caller": caller, "callee": callee,
                                "variables": { "recording": folder.path().join("none.wav") } })
            .to_string()
        };
        let before = line(1, "inbound", "1001", "8000") + "\n";
        let now = [
            line(7, "inbound", "1001", "8000"),
            line(7, "outbound", "1001", "1002"),
            line(8, "inbound", "1003", "x"),
        ];
        std::fs::write(&path, before.clone() + &now.join("\n") + "\n").unwrap();
        let records = Records::read(&path, before.len() as u64);
        let count = |account| records.of(account).records;
        assert_eq!((count("1001"), count("1002"), count("1003"), count("1004")), (2, 2, 1, 0));
        assert!(records.recordings().is_empty(), "a file that is not there is no recording");
    }
}
