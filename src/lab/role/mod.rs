//! The lab's roles: one process each, using only the `ua` adapter.
//!
//! - `source`: plays a file into a call
//! - `mixer`: one process, two legs; adds DTMF to the forwarded audio
//! - `sink`: answers and plays or records the received audio
//! - `life`: the common parts: signals, READY, metrics, waiting
//! - `endings`: maps a call's end to an exit code
//! - `options`: the UA settings of every role, and the record directory
//! - `player`: the child process that plays (`aplay`)

mod endings;
#[cfg(test)]
mod fake_ua;
mod life;
pub mod mixer;
mod options;
pub mod player;
#[cfg(test)]
mod player_tests;
pub mod sink;
#[cfg(test)]
mod sink_tests;
pub mod source;
#[cfg(test)]
mod source_tests;

pub use options::{RecordDir, UaOptions};

use b2b_ua::{Fill, FrameSink, FrameSource, InFrame, OutFrame, Ua, UaEvent};

/// A role as a process.
pub trait Role {
    /// Runs until the role's work is done or it is told to stop. An error that is a
    /// [`b2b_base::util::exit::Failure`] carries the exit code.
    fn run(self) -> anyhow::Result<()>;
}

/// The UA of a role.
fn open_ua(options: &UaOptions) -> anyhow::Result<Box<dyn Ua>> {
    if let Some(dir) = &options.record {
        std::fs::create_dir_all(dir.path())
            .map_err(|error| endings::of_audio(format!("cannot create {}: {error}", dir.path().display())))?;
    }
    crate::engine::open(options.engine, options.config.clone()).map_err(|error| endings::of_ua(&error).into())
}

/// The source of a role that only listens.
struct Silence;

impl FrameSource for Silence {
    fn fill(&mut self, _: &mut OutFrame<'_>) -> Fill {
        Fill::Silence
    }
}

/// The sink for unwanted audio.
struct Discard;

impl FrameSink for Discard {
    fn frame(&mut self, _: &InFrame<'_>) {}
}

/// Logs an event that needs no decision.
fn say(event: &UaEvent) {
    match words(event) {
        Some(words) => tracing::info!("{words}"),
        None => tracing::debug!("{event:?}"),
    }
}

/// An event in words; `None` if it is not worth logging.
fn words(event: &UaEvent) -> Option<String> {
    Some(match event {
        UaEvent::Progress { status, reason, .. } => format!("{status} {reason}"),
        UaEvent::Answered { codec, ptime_ms, remote_rtp, .. } => {
            format!("the call is up: {codec}, {ptime_ms} ms a packet, RTP with {remote_rtp}")
        }
        UaEvent::MediaStarted { .. } => "RTP is coming in".to_string(),
        UaEvent::Hold { held: true, .. } => "the far end holds us".to_string(),
        UaEvent::Hold { held: false, .. } => "the far end takes us back".to_string(),
        UaEvent::Digit { digit, duration_ms, .. } => {
            format!("the far end pressed {digit} for {duration_ms} ms")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_ua::{CallId, Codec};

    #[test]
    fn news_are_told_in_words_and_what_roles_handle_is_not() {
        let call = CallId(1);
        let remote_rtp = std::net::SocketAddr::from(([127, 0, 0, 1], 4_000));
        let answered = UaEvent::Answered { call, codec: Codec::Pcma, ptime_ms: 30, remote_rtp };
        let told = words(&answered).unwrap();
        assert_eq!(told, "the call is up: PCMA, 30 ms a packet, RTP with 127.0.0.1:4000");
        let digit = UaEvent::Digit { call, digit: '#', duration_ms: 100 };
        assert_eq!(words(&digit).unwrap(), "the far end pressed # for 100 ms");
        assert_eq!(words(&UaEvent::SourceEnded { call }), None);
    }
}
