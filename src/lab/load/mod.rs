//! Load that hears: thousands of calls at a rate against any SIP system, each judged by its sound.
//!
//! - `config`: what a run is told; `plan`: a file that says it
//! - `kinds`: what callers and callees do; `users`: who calls, from a file; `routes`: by which numbers calls are told
//!   apart
//! - `pace`: when calls begin; `holding`: how long they last
//! - `party`: one leg that goes by the steps of its scenario, as a machine
//! - `sound`: what a leg says and hears; `hearing`: what that tells
//! - `course`: how a leg's sound went; `messages`: what was said of calls under way
//! - `generator`: calls of all parties, on one thread
//! - `entry`: a party of it and its leg
//! - `figures`: what is counted and measured; `timeline`: when; `worst`: in which calls; `ways`: whose sound takes
//!   longer than that of most; `sleeper`: how late the machine itself is; `watched`: what the system under test takes
//! - `expect`: limits and verdict; `results`: what a run says; `junit`: to services that run tests; `page`: as a
//!   page
//! - `histogram`: a histogram as text; `compare`: what two runs tell of a change
//! - `live`: what it says meanwhile
//! - `sipp`: scenarios of SIPp in the place of parties and their legs
//! - `run`: the life of the process

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
mod timeline;
pub mod users;
mod watched;
mod ways;
mod worst;

pub use run::run;
