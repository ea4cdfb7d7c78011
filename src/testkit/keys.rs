//! Key presses of parties.

use std::time::Duration;

use super::Harness;
use b2b_call::LegId;
use b2b_call::controller::{EndpointId, MediaEvent};

impl Harness {
    /// The media endpoint of an answered leg.
    pub fn endpoint_of(&self, leg: LegId) -> Option<EndpointId> {
        self.switch.endpoint_of(leg)
    }

    /// The media endpoint of the leg that began the single call.
    ///
    /// # Panics
    /// There is no single call, or it is not answered.
    pub fn callers_endpoint(&self) -> EndpointId {
        let calls = self.snapshot();
        let [call] = calls.as_slice() else { panic!("{} calls", calls.len()) };
        let leg = call.legs.first().map(|it| it.leg);
        leg.and_then(|leg| self.endpoint_of(leg)).expect("an answered leg")
    }

    /// Presses these digits for a party, 200 ms each, as RFC 4733 events.
    pub fn press(&mut self, endpoint: EndpointId, digits: &str) {
        for digit in digits.chars() {
            self.media.press(endpoint, digit);
            self.media_event(MediaEvent::Digit {
                endpoint,
                digit,
                duration_ms: 100,
                passed_on: false,
                by_tone: false,
            });
            self.run(Duration::from_millis(100));
        }
    }
}
