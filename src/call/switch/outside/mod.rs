//! What surrounds the calls: their effects are carried out, their questions answered, their handlers asked, and programs
//! stepped.

mod effects;
pub(crate) mod handlers;
pub(crate) mod programs;
mod world;
