//! What answers calls by itself: applications over the call model, as machines ([`Application`]) that the
//! calls' thread steps. None of them knows SIP or RTP, and none has a clock but the moments that it is told.
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
//! A room each. Where a caller is stands in their machine, and in no future; what several callers share is a value
//! behind a handle, or a machine that belongs to no call.
//!
//! [`Application`]: b2b_call::application::Application
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

/// The programs in the documentation of menus.
#[cfg(doctest)]
#[doc = include_str!("../../docs/apps/ivr.md")]
struct DocsOfIvr;

pub use prompts::Prompts;
pub use registry::Applications;
