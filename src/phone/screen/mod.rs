//! The phone on a terminal.
//!
//! - `model`: the state of the screen; `keys`: the effects of keys on it, without a terminal
//! - `draw`: drawing of the model
//! - `terminal`: keys and drawing
//! - `news`: events of the library, applied to the model
//! - `run`: all of it together; executes requests

pub mod draw;
mod keys;
pub mod model;
mod news;
mod run;
mod terminal;

pub use run::run;
