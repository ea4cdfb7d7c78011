//! Legs that are joined: one thread owns the SIP stack, the calls and the legs;
//! each event is one turn without a lock or a wait.
//!
//! - `dial`: dialling as a machine: rounds, branches, the best failure
//! - `command`: what the outside asks
//! - `slots`: slabs whose keys are never used twice

#![allow(dead_code, reason = "the switch itself is on its way")]

pub(in crate::call) mod command;
pub mod dial;
mod slots;
