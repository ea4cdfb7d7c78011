//! Assertions about a switch whose calls are over.

use std::time::Duration;

use super::{Harness, PartyId, Row, Rows};
use b2b_call::switch::SwitchHoldings;
use b2b_sip::endpoint::Holdings;

impl Harness {
    /// Asserts that after the longest timer nothing is held, and replays every call.
    ///
    /// # Panics
    /// Something is held, or a replay differs.
    pub fn assert_nothing_left(&mut self) {
        self.run(Duration::from_secs(400));
        self.assert_nothing_held();
        if self.replays {
            self.assert_replays();
        }
    }

    /// Asserts that nothing is held, and nothing illegal or impossible has happened.
    ///
    /// # Panics
    /// Something is held, or has happened.
    pub fn assert_nothing_held(&self) {
        let (switch, sip) = self.holdings();
        assert_eq!(switch, SwitchHoldings::default());
        assert_eq!(self.tasks.len(), 0, "tasks wait");
        let held =
            (sip.client_transactions, sip.server_transactions, sip.usages, sip.waiting, sip.map_entries);
        assert_eq!(held, (0, 0, 0, 0, 0));
        assert_eq!(self.media.held(), 0, "media endpoints are left");
        assert_eq!(self.media.under_way(), 0, "prompts, digits, music, recordings or rooms are left");
        let counters = self.counters();
        let rows = self.rows().all().into_iter();
        let illegal: Vec<Row> = rows.filter(|row| !row.is_legal && row.count > 0).collect();
        assert_eq!(counters.illegal, 0, "illegal events: {illegal:?}");
        assert_eq!(counters.impossible_at, None, "a bug of the switch, in this place");
    }

    /// How often each entry of the state tables was used.
    pub fn rows(&self) -> &Rows {
        self.switch.rows().expect("a switch in hand counts")
    }

    /// The resources that a party's endpoint holds.
    pub fn held_by(&self, party: PartyId) -> Holdings {
        self.parties[party.index()].endpoint.holdings()
    }
}
