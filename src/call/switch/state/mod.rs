//! A call as values: what it is, and what it waits for. Nothing here acts.

pub(crate) mod call;
pub(crate) mod effect;
pub(crate) mod exchange;
pub(crate) mod follow;
pub(crate) mod handing;
pub(crate) mod input;
pub(crate) mod leg;
pub(crate) mod recording;
pub(crate) mod transfer;
pub(crate) mod waits;
