//! Counters of a switch, and the sizes of its collections.

/// Counters of a switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwitchCounters {
    /// Inbound calls, refused ones included.
    pub incoming: u64,
    /// Calls refused for lack of room or while stopping.
    pub refused: u64,
    /// Legs that were dialled.
    pub dialled: u64,
    /// Bridges whose two parties were both connected.
    pub bridged: u64,
    /// Targets named by parties that were not followed.
    pub not_followed: u64,
    /// Calls that ended.
    pub ended: u64,
    /// Calls ended because they exceeded the maximum duration.
    pub too_long: u64,
    /// Events not allowed in the current state.
    pub illegal: u64,
    /// Answers, timers and commands whose call, leg or bridge was over by then: caused by races.
    pub late: u64,
    /// Events that need no action in the current state.
    pub ignored: u64,
    /// Impossible states: bugs.
    pub impossible: u64,
    /// Where the last impossible state occurred.
    pub impossible_at: Option<&'static str>,
    /// Handlers that panicked.
    pub panics: u64,
    /// Events dropped because a handler was too slow.
    pub unheard: u64,
    /// INFOs that became no event because their leg had sent too many.
    pub infos_untold: u64,
}

/// An input without effect is counted by its meaning, and never dropped silently.
impl SwitchCounters {
    /// The input's target is over.
    pub(super) fn late(&mut self) {
        self.late += 1;
    }

    /// The input is legal, and needs no action here.
    pub(super) fn ignored(&mut self) {
        self.ignored += 1;
    }

    /// An impossible state at `place`. Only the first one is logged as a warning, since one that does occur
    /// recurs.
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

/// Current sizes of the switch's collections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwitchHoldings {
    pub calls: usize,
    pub legs: usize,
    pub bridges: usize,
    /// Entries in maps from dialogs and media endpoints to legs.
    pub map_entries: usize,
    pub timer_entries: usize,
    pub tasks: usize,
    /// Histories of calls that are up or have records to come.
    pub accounts: usize,
    /// Calls that are up and whose media is or was captured.
    pub captures: usize,
}
