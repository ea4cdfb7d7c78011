//! The media engine: RTP in and out, from datagrams to frames of samples. It does not depend on
//! `sip`, nor `sip` on it.
//!
//! - `relay`: endpoints, the machine and the threads that run them; `forward`: how a relayed packet is handled,
//!   as data; `transcode`: for legs that share no codec; `local`: sources and sinks of frames in place of
//!   another leg
//! - `transport`: the layers under RTP; `remote`: what a far end says of itself; `far_end`: what is known of it
//! - `rtp`: packets, RTCP, receiver statistics; `jitter`, `conceal`, `pitch`: playout
//! - `recording`: records what a relayed party says and hears to a file
//! - `conference`: endpoints of one program that hear each other
//! - `snapshot`: what all media snapshots share
//! - `impair`: the lab's network impairer; `packet_ring`: packets from a media thread to another; `ring`:
//!   samples to and from one
//! - `stage`: what applications play to and collect from a relayed party; `sounds`: the files they play;
//!   `room`: relayed parties that hear each other; `stream`: a party's audio to and from code outside the media
//!   threads
//! - `codec` … `disk`: samples and files; `timeline`: alignment of recorded calls; `stereo`: both sides of a
//!   call, from a media thread to a timeline
//!
//! Modules hidden from the documentation are for b2b's other crates and have no stability guarantee
//! (`cargo doc -- --document-hidden-items` shows them).
//!
//! Machines take the time as an argument, see [`Now`].
//!
//! Media does not depend on SIP, nor SIP on media; this does not compile:
//!
//! ```compile_fail
//! use b2b_sip::msg;
//! ```

// not in [workspace.lints]: the other crates are internal and have no stability guarantee
#![warn(missing_docs)]

#[doc(hidden)]
pub mod clock;
pub mod codec;
pub mod conceal;
#[doc(hidden)]
pub mod conference;
#[doc(hidden)]
pub mod disk;
pub mod dtmf;
mod far_end;
pub mod file;
#[doc(hidden)]
pub mod forward;
#[doc(hidden)]
pub mod impair;
pub mod jitter;
#[doc(hidden)]
pub mod latency;
#[doc(hidden)]
pub mod local;
pub mod mix;
mod packet_ring;
#[doc(hidden)]
pub mod pitch;
#[doc(hidden)]
pub mod ports;
pub mod recording;
#[doc(hidden)]
pub mod relay;
pub mod remote;
#[doc(hidden)]
pub mod ring;
#[doc(hidden)]
pub mod room;
pub mod rtp;
mod snapshot;
#[doc(hidden)]
pub mod sounds;
#[doc(hidden)]
pub mod stage;
#[doc(hidden)]
pub mod stereo;
#[doc(hidden)]
pub mod stream;
#[doc(hidden)]
pub mod tap;
mod timeline;
pub mod tone;
#[doc(hidden)]
pub mod transcode;
pub mod transport;
#[doc(hidden)]
pub mod wav_file;

pub use b2b_base::util::ntp::Now;
pub use b2b_dsp::resample;

// its example is compiled
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
