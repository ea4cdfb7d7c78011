//! Applications that answer calls, as state machines ([`Application`]) that the call thread steps. They do
//! not depend on SIP or RTP, and get the current time with each event instead of reading a clock.
//!
//! - `conference`: conference rooms
//! - `ivr`: IVR menus
//! - `park`: call parking
//! - `queue`: call queues with agents
//! - `test_numbers`: echo and milliwatt
//! - `voice_agent`: external programs that talk to callers
//! - `voicemail`: mailboxes
//! - `caller`: whom a call counts for, and its share of what callers share
//! - `wrong_pins`: protection against guessing PINs, over all calls
//! - `registry`: handlers by name, such as `ivr/main`; `prompts`: files by name
//!
//! Each application has a module. The state of a caller is in their machine, not in a suspended future; state
//! that several callers share is a value behind a handle, or a machine that belongs to no call.
//!
//! [`Application`]: b2b_call::application::Application
//!
//! Applications do not depend on SIP, only on the call model; this does not compile:
//!
//! ```compile_fail
//! use b2b_sip::msg;
//! ```

pub mod caller;
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

/// Compiles the programs in the documentation of menus.
#[cfg(doctest)]
#[doc = include_str!("../../docs/apps/ivr.md")]
struct DocsOfIvr;

pub use prompts::Prompts;
pub use registry::Applications;
