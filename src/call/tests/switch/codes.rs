//! Recording codes by INFO and as telephone events: a journal without the pressed keys replays in the same
//! way.

use b2b_call::controller::{EndpointId, MediaEvent};

use crate::digits::press;
use crate::routed::recorded;

#[test]
fn a_recording_begun_and_paused_by_codes_is_so_without_the_other_keys() {
    let (mut harness, ann, a) = recorded();
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
