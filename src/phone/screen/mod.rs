//! The phone on a terminal.
//!
//! - `model`: what is shown; `keys`: what keys do to it, without a terminal
//! - `draw`: the model as it looks
//! - `terminal`: keys and drawing
//! - `news`: what the library tells, taken to the model
//! - `run`: all of it together; requests carried out

pub mod draw;
mod keys;
pub mod model;
mod news;
mod run;
mod terminal;

pub use run::run;
