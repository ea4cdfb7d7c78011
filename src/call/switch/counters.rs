//! What a switch has counted, and what it holds.

/// What the switch counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwitchCounters {
    /// Calls that came in, refused ones included.
    pub incoming: u64,
    /// Calls that were refused for want of room or while stopping.
    pub refused: u64,
    /// Legs that were dialled.
    pub dialled: u64,
    /// Bridges that both parties answered.
    pub bridged: u64,
    /// Places that parties named and that were not followed.
    pub not_followed: u64,
    /// Calls that ended.
    pub ended: u64,
    /// Calls that were ended because they had lasted for too long.
    pub too_long: u64,
    /// Events that a state had no place for.
    pub illegal: u64,
    /// Results that came when nobody waited for them any more.
    pub late: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Events that a handler was too slow for.
    pub unheard: u64,
}

/// What the switch holds at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwitchHoldings {
    pub calls: usize,
    pub legs: usize,
    pub bridges: usize,
    /// Entries in maps from dialogs and media endpoints to legs.
    pub map_entries: usize,
    pub timer_entries: usize,
    pub tasks: usize,
    /// Accounts of calls that are up, or have records to come.
    pub accounts: usize,
    /// Calls that are up and whose media is or was captured.
    pub captures: usize,
}
