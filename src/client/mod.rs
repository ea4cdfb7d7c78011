//! A SIP client library, in three steps. Each step adds settings to the one before; no code has to be
//! rewritten on the way.
//!
//! | page | what it says |
//! |---|---|
//! | this one | the three steps and their types |
//! | [`book::threads`] | threads, copies of audio, and what may block |
//! | [`book::troubleshooting`] | problems, their symptoms and remedies |
//!
//! `docs/client.md` in the repository has examples, measurements, and a comparison with `rvoip`, `pjsua2` and
//! `baresip`.
//!
//! # First step: a call
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use b2b_client::{SipClient, Sound};
//!
//! let client = SipClient::new("sip:alice@127.0.0.1").await?;
//! let call = client.call("sip:bob@127.0.0.1:5060").await?;
//! call.wait_for_answer().await?;
//! call.play(Sound::tone(440.0, 2_000)).await?.finished().await;
//! call.hangup().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`SipClient::incoming`] yields incoming calls, each an [`IncomingCall`] to
//! [`answer`](IncomingCall::answer) or [`reject`](IncomingCall::reject); [`SipClient::uri`] returns the URI
//! that reaches this client. Dropping the last [`SipClient`] hangs up and ends the threads;
//! [`SipClient::stop`] also waits for the far ends.
//!
//! # Second step: the builder
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use b2b_client::{Codec, SipClient, Tls, Transport};
//!
//! let client = SipClient::builder()
//!     .identity("sip:1001@pbx.example.com")
//!     .credentials("1001", "secret")
//!     .registrar("sip:pbx.example.com")
//!     .transport(Transport::Tls)
//!     .tls(Tls::ca_file("our-ca.pem"))
//!     .codecs([Codec::Opus, Codec::Pcma])
//!     .build()?; // every mistake at once, each with its remedy
//! client.register().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`ClientBuilder`] documents every setting with its default. Presets combine several:
//! [`softphone`](ClientBuilder::softphone) for a person with a loudspeaker and a microphone,
//! [`agent`](ClientBuilder::agent) for a headset, [`headless`](ClientBuilder::headless) for programs.
//!
//! # Third step: the audio itself
//!
//! ```no_run
//! # async fn example(call: b2b_client::Call) -> Result<(), Box<dyn std::error::Error>> {
//! let mut audio = call.audio_at(16_000)?;
//! while let Some(frame) = audio.incoming.next().await {
//!     audio.outgoing.write(frame.samples()).await?; // an echo
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Call::audio`] delivers received frames of 20 ms and accepts samples to send, with marks that report when
//! they are sent and a [`flush`](Outgoing::flush) for barge-in. [`AudioPipeline`] runs the program's own
//! processors, sources and sinks on the media thread, [`Conference`] mixes calls, [`Call::quality`] and
//! [`ClientEvent::Quality`] report audio quality.
//!
//! # Registration
//!
//! With [`ClientBuilder::registrar`] (repeated for fallback servers), the client registers when it starts;
//! [`SipClient::register`] waits for the result, and its error says what to do. The client refreshes the
//! registration, retries it after failures, repeats it over a new connection or at the next server, and
//! removes it in [`SipClient::stop`]. After a wrong password or another refusal it waits for the next
//! [`SipClient::register`]. [`SipClient::registration`] returns the current state,
//! [`ClientEvent::Registration`] reports changes.
//!
//! # Events
//!
//! [`SipClient::events`] and [`Call::events`] are streams of [`ClientEvent`]: registration, calls, digits,
//! quality, devices, recovery. A slow reader loses its oldest events and is told how many; nothing else waits
//! for it.
//!
//! # Any executor
//!
//! Methods are `async` and wait for channels only. The client's threads have their own runtime; the program
//! may use tokio, another executor, or `block_on`.

// not in [workspace.lints]: the other crates are internal and have no public API
#![warn(missing_docs)]

mod account;
pub mod audio;
pub mod book;
mod builder;
mod call;
mod conference;
mod control;
mod driver;
mod error;
mod event;
mod handle;
mod incoming;
mod presets;
mod quality;
mod recovery;
mod registration;
mod state;
mod transfer;

pub use account::{Tls, Transport};
pub use audio::{
    Audio, AudioFrame, AudioPipeline, AudioProblem, AudioProcessor, CallAudio, CustomAudio, DeviceSide,
    Devices, FrameFormat, Incoming, Loudspeaker, MarkId, Microphone, Outgoing, PlayEnd, Playback, Recorded,
    Recording, Sound, SoundSystem, WriteError,
};
#[cfg(feature = "processing")]
pub use audio::{Processing, Processor};
pub use builder::{BuildError, ClientBuilder, Mistake};
pub use call::{Agreed, Call, CallId};
pub use conference::Conference;
pub use error::{AudioError, CallError, DeviceError, EndCause, PlayError, RecordError, StartError};
pub use event::{ClientEvent, Events};
pub use handle::SipClient;
pub use incoming::{IncomingCall, IncomingCalls};
pub use quality::Quality;
pub use recovery::{RecoveryStep, Step};
pub use registration::{RegisterError, RegistrationState};
pub use state::CallState;
pub use transfer::TransferPolicy;

pub use b2b_base::frame::{Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame};
pub use b2b_base::metrics::MediaStats;
pub use b2b_call::agent::{
    Codec, DtmfMode, ImpairConfig, RegistrationError, RemoteIdentity, SessionDescriptions, SrtpPolicy,
};
pub use b2b_media::disk::DiskError;

// compiles the example in the README
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
