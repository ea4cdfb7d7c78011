//! Calls from a program: a SIP client in three steps of the same stairs. Each step is the one
//! before with more of it said; nothing has to be thrown away on the way up.
//!
//! | page | what it says |
//! |---|---|
//! | this one | the three steps, with the types of each |
//! | [`book::threads`] | which threads there are, what is copied where, what may block |
//! | [`book::troubleshooting`] | what goes wrong, how it looks, what to do |
//!
//! `docs/client.md` in the repository has the examples, the figures, and a table for those who
//! come from `rvoip`, `pjsua2` or `baresip`.
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
//! Calls that come are what [`SipClient::incoming`] yields, each an [`IncomingCall`] to
//! [`answer`](IncomingCall::answer) or [`reject`](IncomingCall::reject); [`SipClient::uri`] says
//! where they reach this client. The last [`SipClient`] that is dropped hangs up and ends the
//! threads; [`SipClient::stop`] waits for the far ends, too.
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
//! [`ClientBuilder`] has every key with what holds without it. Its presets say several at once:
//! [`softphone`](ClientBuilder::softphone) for somebody with a loudspeaker and a microphone,
//! [`agent`](ClientBuilder::agent) for a headset, [`headless`](ClientBuilder::headless) for
//! programs.
//!
//! # Third step: the sound itself
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
//! [`Call::audio`] gives frames of 20 ms as they are heard and takes samples to say, with marks
//! that come back when they are sent and a [`flush`](Outgoing::flush) for barge-in.
//! [`AudioPipeline`] puts processors, sources and sinks of the program's own on the media
//! thread, [`Conference`] mixes calls, [`Call::quality`] and [`ClientEvent::Quality`] say how it
//! sounds.
//!
//! # A server to be registered at
//!
//! Where [`ClientBuilder::registrar`] names one (or several, that stand for one another), the
//! start registers by itself; [`SipClient::register`] waits for the outcome, which as an error says
//! what to do. The registration is refreshed, tried again after failures, made anew over a
//! new connection or at the next server, and taken back by [`SipClient::stop`]. After a wrong
//! password, and any other refusal, the client waits to be asked. [`SipClient::registration`] says
//! where it is, [`ClientEvent::Registration`] when that changes.
//!
//! # Events
//!
//! [`SipClient::events`] and [`Call::events`] are streams of [`ClientEvent`]: registration, calls,
//! digits, quality, devices, recovery. A slow reader loses its own oldest events and is told how
//! many; nobody waits for it.
//!
//! # Any executor
//!
//! Methods are `async` and wait for channels only. The client's threads bring their own runtime;
//! the caller's may be tokio's or another one, or a `block_on`.

// not in [workspace.lints]: the other crates are internal and promise nothing
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

// its example is compiled
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
