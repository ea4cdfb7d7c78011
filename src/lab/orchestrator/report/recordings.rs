//! Reads the recordings of the roles. A missing or damaged file does not stop the report: readable parts are
//! used, and a note reports the rest.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::clock::Clock;
use super::ladder;
use super::packets::{self, PacketStory};
use super::{RATE_HZ, trace};
use crate::orchestrator::record::RunRecord;
use crate::results::ladder::Ladder;

/// Maximum samples read from one recording: an hour.
const MAX_SAMPLES: usize = 3_600 * RATE_HZ as usize;
/// Maximum bytes read from one packet log or SIP trace.
const MAX_BYTES: u64 = 64 << 20;

/// All recordings, as far as they could be read.
#[derive(Debug, Default)]
pub struct Recordings {
    /// The PCM that the source sent, 8 kHz mono.
    pub sent: Option<Vec<i16>>,
    /// What the sink played out, 8 kHz mono.
    pub received: Option<Vec<i16>>,
    /// Capture times of the sent audio.
    pub sent_clock: Clock,
    /// Playout times of the received audio.
    pub received_clock: Clock,
    /// Packet figures per receiving role and stream.
    pub packets: Vec<(String, PacketStory)>,
    /// All SIP traces, merged.
    pub ladder: Ladder,
    /// Missing or damaged files, as text.
    pub notes: Vec<String>,
}

/// Reads the recordings of a run.
pub fn read(run: &RunRecord) -> Recordings {
    let Some(folder) = &run.recordings else {
        let mut all = Recordings::default();
        all.notes.push(
            "The run was not recorded: there are no sounds, packet times or SIP messages to show.".into(),
        );
        return all;
    };
    let mut all = sounds(folder);
    let mut traces = Vec::new();
    for role in &run.roles {
        let name = role.role.as_str();
        // The source receives only what a peer sends back; a b2bua writes no packet log.
        let log = folder.join(format!("{name}.packets.csv"));
        if (!matches!(name, "source" | "b2bua") || log.exists())
            && let Some(text) = noted(&mut all.notes, bytes(&log))
        {
            let (rows, unreadable) = packets::parse(&String::from_utf8_lossy(&text));
            let stories = packets::streams(&rows, unreadable, RATE_HZ);
            let streams = stories.len();
            for (index, story) in stories.into_iter().enumerate() {
                let title = match streams {
                    1 => name.to_string(),
                    _ => format!("{name}, stream {} of {streams}", index + 1),
                };
                if story.packets > 0 || name != "source" {
                    all.packets.push((title, story));
                }
            }
        }
        let path = role.sip_trace.clone().unwrap_or_else(|| folder.join(format!("{name}.sip")));
        if let Some(file) = noted(&mut all.notes, bytes(&path)) {
            let trace = trace::parse(&file);
            all.notes.extend(trace.notes.iter().map(|note| format!("SIP trace of the {name}: {note}.")));
            traces.push((name.to_string(), trace.messages));
        }
    }
    if !run.loads.is_empty() {
        let ready = run.roles.iter().filter_map(|role| role.sip.as_ref()?.parse().ok());
        ladder::of_chain(&mut traces, ready);
    }
    all.ladder = ladder::merge(&traces);
    all
}

/// Reads only the sent and received audio.
pub fn sounds(folder: &Path) -> Recordings {
    let mut all = Recordings::default();
    all.sent = noted(&mut all.notes, wav(&folder.join("source.sent.wav")));
    all.received = noted(&mut all.notes, wav(&folder.join("sink.received.wav")));
    // Without the clocks only the latency from the audio is missing.
    let clock = |name: &str| {
        let text = bytes(&folder.join(name)).map(|(text, _)| text).unwrap_or_default();
        Clock::parse(&String::from_utf8_lossy(&text))
    };
    all.sent_clock = clock("source.sent.clock.csv");
    all.received_clock = clock("sink.received.clock.csv");
    all
}

fn noted<T>(notes: &mut Vec<String>, read: Result<(T, Option<String>), String>) -> Option<T> {
    match read {
        Ok((value, note)) => {
            notes.extend(note);
            Some(value)
        }
        Err(note) => {
            notes.push(note);
            None
        }
    }
}

fn missing(path: &Path, error: &io::Error) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => format!("There is no {name}."),
        _ => format!("{name} could not be read: {error}."),
    }
}

fn bytes(path: &Path) -> Result<(Vec<u8>, Option<String>), String> {
    let file = File::open(path).map_err(|error| missing(path, &error))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| missing(path, &error))?;
    if bytes.len() as u64 <= MAX_BYTES {
        return Ok((bytes, None));
    }
    bytes.truncate(MAX_BYTES as usize);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok((bytes, Some(format!("Only the first {} MiB of {name} were read.", MAX_BYTES >> 20))))
}

fn wav(path: &Path) -> Result<(Vec<i16>, Option<String>), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = File::open(path).map_err(|error| missing(path, &error))?;
    let mut reader = hound::WavReader::new(BufReader::new(file))
        .map_err(|error| format!("{name} is not a WAV file: {error}."))?;
    let spec = reader.spec();
    if (spec.channels, spec.sample_rate, spec.bits_per_sample) != (1, RATE_HZ, 16) {
        return Err(format!(
            "{name} has {} channels of {} bits at {} Hz instead of one of 16 bits at {RATE_HZ} Hz.",
            spec.channels, spec.bits_per_sample, spec.sample_rate
        ));
    }
    let mut samples = Vec::new();
    for sample in reader.samples::<i16>() {
        match sample {
            Ok(_) if samples.len() == MAX_SAMPLES => {
                return Ok((samples, Some(format!("Only the first hour of {name} is shown."))));
            }
            Ok(sample) => samples.push(sample),
            Err(error) => {
                return Ok((samples, Some(format!("{name} ends before its header says so: {error}."))));
            }
        }
    }
    Ok((samples, None))
}
