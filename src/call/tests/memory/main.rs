//! What calls hold in memory, counted by the allocator. Alone in its program, for that.

mod relay;
mod sip;
