//! What answers calls by itself: applications as handlers over the call model. None of them
//! knows SIP or RTP, and none has a clock but [`CallService::sleep`].
//!
//! - `conference`: rooms
//! - `ivr`: menus
//! - `park`: parking
//! - `queue`: callers wait for agents
//! - `test_numbers`: echo and milliwatt
//! - `voice_agent`: programs elsewhere that talk to callers
//! - `voicemail`: mailboxes
//! - `wrong_pins`: PINs that are guessed, over all calls
//! - `registry`: which handler is meant by `ivr/main`; `prompts`: files by name
//!
//! A room each. An application has a machine without I/O, with time as an argument, and a
//! handler that carries out what it says.
//!
//! [`CallService::sleep`]: b2b_call::service::CallService::sleep
//!
//! Applications know no SIP: calls are all they see; this does not compile:
//!
//! ```compile_fail
//! use b2b_sip::msg;
//! ```

pub mod conference;
pub mod ivr;
pub mod park;
pub mod prompts;
pub mod queue;
pub mod registry;
pub mod test_numbers;
pub mod voice_agent;
pub mod voicemail;
pub mod wrong_pins;

pub use prompts::Prompts;
pub use registry::Applications;
