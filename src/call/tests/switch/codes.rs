//! What parties press to have their call recorded, by INFO and as telephone events: the journal without the keys
//! that were pressed runs the same way.

use std::sync::Arc;
use std::time::Instant;

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{EndpointId, MediaEvent};
use b2b_call::recording::RecordingRules;
use b2b_call::resolver::ChainResolver;
use b2b_call::service::DialOptions;
use b2b_call::switch::SwitchConfig;
use b2b_call::switch::admission::AdmitAll;
use b2b_testkit::{Harness, Network, SESSION};

use crate::digits::press;
use crate::routed::{ANN, BOB, Route, contacts};

#[test]
fn a_recording_begun_and_paused_by_codes_is_so_without_the_other_keys() {
    let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
    let handler = Arc::new(Route(contacts(&[(BOB, 0)], options)));
    let resolver = Arc::new(ChainResolver::new(Vec::new()));
    let recording = Some(Arc::new(RecordingRules::new("recordings")));
    let config = SwitchConfig { recording, ..SwitchConfig::default() };
    let mut harness =
        Harness::with(Instant::now(), vec![handler], resolver, Box::new(AdmitAll), config, Network::QUIET);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    let relay = "application/dtmf-relay";
    for body in ["Signal=7\r\nDuration=120\r\n", "Signal=10\r\n", "Signal=1\r\nDuration=120\r\n"] {
        press(&mut harness, (ann, a), relay, body, Vec::new());
    }
    let recordings = harness.media().recordings();
    assert!(matches!(&recordings[..], [(_, it)] if it.running && !it.paused), "{recordings:?}");
    for digit in ['4', '*', '2'] {
        let endpoint = EndpointId(1);
        harness.media_event(MediaEvent::Digit {
            endpoint,
            digit,
            duration_ms: 90,
            passed_on: true,
            by_tone: false,
        });
    }
    assert!(harness.media().recordings()[0].1.paused);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}
