//! Load tests that evaluate audio: thousands of calls at a rate against any SIP system, each judged by its
//! audio.
//!
//! - `config`: the settings of a run; `plan`: a file with them
//! - `kinds`: the steps of callers and callees; `users`: the calling users, from a file; `routes`: figures by
//!   dialled numbers
//! - `pace`: the schedule of calls; `holding`: their durations
//! - `party`: a leg that follows the steps of its scenario, as a state machine
//! - `sound`: the audio of a leg, and its gaps; `hearing`: the marks in it; `loudness`: sound and silence; `speech`:
//!   spoken texts
//! - `course`: received audio over time; `messages`: SIP messages of active calls
//! - `generator`: calls of all parties, on one thread
//! - `entry`: a party of the generator, and its leg
//! - `figures`: counters and measurements; `timeline`: over time; `worst`: the worst calls; `ways`: calls
//!   with more latency than most; `sleeper`: lateness of the machine; `watched`: resource usage of the system
//!   under test
//! - `expect`: limits and verdict; `results`: output; `cases`: each call as a case; `junit`: for CI services; `page`: as a page
//! - `histogram`: a histogram as text; `compare`: comparison of two runs
//! - `live`: output during the run
//! - `sipp`: SIPp scenarios in place of parties and their legs
//! - `run`: the life of the process

mod cases;
pub mod compare;
pub mod config;
mod course;
mod entry;
pub mod expect;
mod figures;
mod generator;
pub mod hearing;
mod histogram;
pub mod holding;
mod junit;
pub mod kinds;
mod live;
mod loudness;
mod messages;
pub mod pace;
mod page;
mod party;
pub mod plan;
mod results;
pub mod routes;
mod run;
pub mod sipp;
mod sleeper;
mod sound;
pub mod speech;
mod timeline;
pub mod users;
mod watched;
mod ways;
mod worst;

pub use run::{Ran, run, signals};
