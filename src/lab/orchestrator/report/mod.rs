//! The report of a run: `report.json` and `report.html`, made only from the recordings of the roles
//! (`designs/0001-borders.md`, "Recordings") and the orchestrator's record.
//!
//! - `recordings`: reads the files; a missing one becomes a note
//! - `clock`: capture and playout times of samples, and the latency from them
//! - `align`, `compare`: comparison of sent and received audio
//! - `analysis`: the combined result
//! - `packets`: packet timing, jitter and losses from the packet logs
//! - `trace`, `ladder`: SIP traces, merged into one call ladder
//! - `charts`, `spectrogram`: pictures
//! - `html`: the page

pub mod align;
mod analysis;
mod charts;
mod clock;
pub mod compare;
mod html;
pub mod ladder;
pub mod packets;
mod recordings;
mod spectrogram;
pub mod trace;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::record::{RunRecord, Verdict};
use crate::results::junit;
use analysis::{Analysis, Summary};
use b2b_base::util::exit::Exit;
use b2b_base::util::junit::suite;
use recordings::Recordings;

/// Rate of all recordings, Hz.
const RATE_HZ: u32 = b2b_base::frame::RATE_HZ;

/// The files of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `report.json`.
    pub json: PathBuf,
    /// `report.html`.
    pub html: PathBuf,
    /// `junit.xml`.
    pub junit: PathBuf,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("cannot write {path}: {error}; choose another folder with --report", path = path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// Reads the recordings of a run and writes `report.json`, `report.html` and `junit.xml` into `folder`, which
/// is created if missing.
///
/// # Errors
/// A file could not be written. Missing recordings are not an error; they become notes.
pub fn write(folder: &Path, run: &RunRecord) -> Result<Written, ReportError> {
    let recordings = recordings::read(run);
    let analysis = analysis::listen(&recordings);
    let file = |name: &str| folder.join(name);
    let written = Written { json: file("report.json"), html: file("report.html"), junit: file("junit.xml") };
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error| ReportError::Write { path, error }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    fs::write(&written.json, json(run, &recordings, &analysis)).map_err(failed(&written.json))?;
    fs::write(&written.html, html::page(run, &recordings, &analysis)).map_err(failed(&written.html))?;
    let Verdict { exit_code, headline, reasons, .. } = &run.verdict;
    let cases = junit::of_run(&run.expectations, is_judged(*exit_code), headline, reasons);
    let xml = suite("chain", &cases, &run.started, run.duration_s);
    fs::write(&written.junit, xml).map_err(failed(&written.junit))?;
    Ok(written)
}

/// Whether a run with this exit code was completed, with or without missed expectations.
pub fn is_judged(code: u8) -> bool {
    code == Exit::Ok as u8 || code == Exit::Expectation as u8
}

/// Results from the recordings of a run; `None` where one is missing, or the sent audio is not found in the
/// received one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HeardSound {
    /// Share of the non-silent sent audio received intact, percent.
    pub intact_pct: Option<f64>,
    /// Mouth-to-ear latency, p50 and p95, ms.
    pub latency_ms: Option<(f64, f64)>,
}

/// Analyses the recordings in this folder.
pub fn heard(folder: &Path) -> HeardSound {
    let analysis = analysis::listen(&recordings::sounds(folder));
    let intact = analysis.intact.filter(|_| analysis.alignment.is_some());
    HeardSound { intact_pct: intact.map(|share| share * 100.0), latency_ms: analysis.latency_ms }
}

/// The record of the run with the analysis of its recordings.
fn json(run: &RunRecord, recordings: &Recordings, analysis: &Analysis) -> Vec<u8> {
    #[derive(Serialize)]
    struct Report<'a> {
        #[serde(flatten)]
        run: &'a RunRecord,
        analysis: Summary,
    }
    let report = Report { run, analysis: analysis::summary(recordings, analysis) };
    // Plain values with string keys: this cannot fail.
    serde_json::to_vec_pretty(&report).unwrap_or_default()
}

#[cfg(test)]
mod tests;
