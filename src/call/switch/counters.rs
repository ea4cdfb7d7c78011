//! What a switch has counted, and what it holds.

/// What the switch counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwitchCounters {
    /// Inbound calls, refused ones included.
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
    /// Answers, timers and commands whose call, leg or bridge was over meanwhile: races bring them.
    pub late: u64,
    /// Events that need nothing in the state that they came in.
    pub ignored: u64,
    /// Impossible states: bugs.
    pub impossible: u64,
    /// Where the last of those was.
    pub impossible_at: Option<&'static str>,
    /// Handlers that panicked.
    pub panics: u64,
    /// Events that a handler was too slow for.
    pub unheard: u64,
    /// INFOs that became no event, since their leg had sent so many.
    pub infos_untold: u64,
}

/// What becomes of nothing is counted by its meaning, and never dropped without a word.
impl SwitchCounters {
    /// What it was for is over meanwhile.
    pub(super) fn late(&mut self) {
        self.late += 1;
    }

    /// It is legal, and needs nothing here.
    pub(super) fn ignored(&mut self) {
        self.ignored += 1;
    }

    /// It cannot be: `place` says where it was all the same. Only the first one is in everybody's log,
    /// since one that is possible comes again and again.
    #[cold]
    pub(super) fn impossible(&mut self, place: &'static str) {
        self.impossible += 1;
        self.impossible_at = Some(place);
        match self.impossible {
            1 => tracing::warn!("bug: an impossible state in {place}; please report it"),
            _ => tracing::debug!("bug: an impossible state in {place}"),
        }
    }
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
