//! A load.json, parsed for a comparison.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::statistics::Distribution;
use crate::load::histogram::{self, HistogramError};

/// An error in a file.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file cannot be read.
    #[error("{path}: {error}; choose the load.json of a --report folder")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: std::io::Error,
    },
    /// It is not the file of a load.
    #[error("{path}: {error}; choose the load.json of a --report folder, made by this version of b2b")]
    Form {
        /// The file.
        path: PathBuf,
        /// The error, with line and column.
        error: serde_json::Error,
    },
    /// It has another version.
    #[error(
        "{path}: load.json has version {version}, this b2b reads version 1; repeat the run with this b2b"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// A histogram cannot be read.
    #[error("{path}: {key}.histogram is {error}; repeat the run")]
    Histogram {
        /// The file.
        path: PathBuf,
        /// The key of the histogram.
        key: &'static str,
        /// The error.
        error: HistogramError,
    },
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its path, as given.
    pub path: PathBuf,
    /// Whether the generator itself was late, so that its times are meaningless.
    pub is_void: bool,
    /// Duration, s.
    pub took_s: f64,
    /// The generator's lateness in excess of the idle sleeper's, percent of the time.
    pub late_pct: f64,
    /// Set-up times from a call's due time to its answer, ms.
    pub setup: Distribution,
    /// Times from INVITE to the first 18x, ms.
    pub ringing: Distribution,
    /// Times from the end of what a party says to the first sound that answers it, ms.
    pub response: Distribution,
    /// Times from BYE to its answer, ms.
    pub ending: Distribution,
    /// Delays of call starts, ms.
    pub lateness: Distribution,
    /// Callers and callees.
    pub sides: [RunSide; 2],
}

/// One side's calls.
#[derive(Debug, Clone)]
pub struct RunSide {
    /// Started calls; see [`crate::load`]'s figures of the same names.
    pub begun: u64,
    /// Answered calls.
    pub answered: u64,
    /// Completed calls.
    pub done: u64,
    /// Failed calls, by step and reason.
    pub failures: BTreeMap<(String, String), u64>,
    /// RTP packets received, and lost.
    pub packets: (u64, u64),
    /// Calls with packet loss.
    pub lossy: u64,
    /// Concealed frames of 20 ms.
    pub concealed: u64,
    /// Calls judged by their mark.
    pub judged: u64,
    /// Mouth-to-ear latencies, ms.
    pub delay: Distribution,
    /// Longest gaps of calls that had one, ms.
    pub gaps: Distribution,
    /// MOS.
    pub mos: Distribution,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct Written {
    took_s: f64,
    generator_late_pct: f64,
    sleeper_late_pct: f64,
    setup: Times,
    ringing: Times,
    #[serde(default)]
    response: Times,
    ending: Times,
    lateness: Times,
    callers: Side,
    callees: Side,
    expectations: Vec<Limit>,
}

#[derive(Default, Deserialize)]
struct Times {
    histogram: String,
}

#[derive(Deserialize)]
struct Side {
    begun: u64,
    answered: u64,
    done: u64,
    failures: Vec<Failure>,
    packets: Packets,
    calls_with_loss: u64,
    concealed_frames: u64,
    ears: Ears,
    mos: Times,
}

#[derive(Deserialize)]
struct Failure {
    step: String,
    why: String,
    calls: u64,
}

#[derive(Deserialize)]
struct Packets {
    received: u64,
    lost: u64,
}

#[derive(Deserialize)]
struct Ears {
    judged: u64,
    mouth_to_ear: Times,
    longest_gaps: Times,
}

#[derive(Deserialize)]
struct Limit {
    name: String,
    pass: bool,
}

impl Run {
    /// Reads a load.json.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn read(path: &Path) -> Result<Run, RunError> {
        let at = || path.to_owned();
        let text = std::fs::read_to_string(path).map_err(|error| RunError::Read { path: at(), error })?;
        let form = |error| RunError::Form { path: at(), error };
        let Version { version } = serde_json::from_str(&text).map_err(form)?;
        if version != 1 {
            return Err(RunError::Version { path: at(), version });
        }
        let run: Written = serde_json::from_str(&text).map_err(form)?;
        let values = |key, times: &Times, unit: f64, range| {
            let counts = histogram::counts(&times.histogram).map_err(|error| RunError::Histogram {
                path: at(),
                key,
                error,
            })?;
            Ok(Distribution::new(
                counts.into_iter().map(|(value, count)| (value as f64 / unit, count)),
                range,
            ))
        };
        // the file has µs
        let ms = |key, times: &Times| values(key, times, 1e3, (0.0, f64::INFINITY));
        let side = |side: Side| {
            Ok(RunSide {
                begun: side.begun,
                answered: side.answered,
                done: side.done,
                failures: side.failures.into_iter().map(|it| ((it.step, it.why), it.calls)).collect(),
                packets: (side.packets.received, side.packets.lost),
                lossy: side.calls_with_loss,
                concealed: side.concealed_frames,
                judged: side.ears.judged,
                delay: ms("mouth_to_ear", &side.ears.mouth_to_ear)?,
                gaps: ms("longest_gaps", &side.ears.longest_gaps)?,
                mos: values("mos", &side.mos, 1e2, (1.0, 5.0))?,
            })
        };
        Ok(Run {
            path: at(),
            // a run with failures is not void as a whole, but its times are
            is_void: run.expectations.iter().any(|it| it.name == "max_late_pct" && !it.pass),
            took_s: run.took_s,
            late_pct: (run.generator_late_pct - run.sleeper_late_pct).max(0.0),
            setup: ms("setup", &run.setup)?,
            ringing: ms("ringing", &run.ringing)?,
            response: ms("response", &run.response)?,
            ending: ms("ending", &run.ending)?,
            lateness: ms("lateness", &run.lateness)?,
            sides: [side(run.callers)?, side(run.callees)?],
        })
    }

    /// The main side: callers, or callees if there are no callers.
    pub fn main(&self) -> &RunSide {
        let [callers, callees] = &self.sides;
        if callers.begun > 0 { callers } else { callees }
    }
}

impl RunSide {
    /// Ended calls.
    pub fn over(&self) -> u64 {
        self.done + self.failures.values().sum::<u64>()
    }
}
