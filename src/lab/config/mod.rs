//! The configuration of the lab: raw text becomes checked values here, once.
//!
//! - `plan`: TOML text → [`plan::Plan`], with line numbers
//! - `keys`, `value`: the lab's settings
//! - `expect`: the plan's limits
//! - `scene`: the plan of a server and phones
//! - `files`: a plan's file: reading, paths, the host's address

pub mod expect;
pub mod files;
pub mod keys;
pub mod plan;
#[cfg(all(feature = "phone", feature = "server"))]
pub mod scene;
pub mod value;
