//! Applications on the real binary with real SIP and RTP.

mod callcentre;
mod conference;
mod ivr;
mod message_lamp;
mod park;
mod parties;
mod queue;
mod recording;
mod scene;
mod test_numbers;
mod tones;
pub mod voice_agents;
mod voicemail;
