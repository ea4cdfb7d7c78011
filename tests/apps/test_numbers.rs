//! Numbers for testing lines: the returned audio, and its level.

use std::time::Instant;

use b2b::client::{Codec, EndCause};
use b2b::media::dtmf::goertzel;

use crate::apps::parties::{Party, RATE_HZ, server, within};
use crate::common::child::PATIENCE;

const ROUTES: &str = "[[route]]\nname = \"echo\"\ncalled = \"600\"\napp = \"echo\"\n\
                      [[route]]\nname = \"tone\"\ncalled = \"601\"\napp = \"milliwatt\"\n";
const ANN: f64 = 700.0;

/// The level of a tone with this mean square, dBm0: a full-scale sine has 3.17 (ITU-T G.711 §4).
fn dbm0(mean_square: f64) -> f64 {
    10.0 * (mean_square / (32_768.0 * 32_768.0 / 2.0)).log10() + 3.17
}

/// Waits for half a second of a tone at this level, within 1 dB.
async fn hears_at(party: &Party, hz: f64, wanted: f64) {
    let mut audio = party.call.audio().expect("sound");
    let (until, mut heard) = (Instant::now() + PATIENCE, Vec::new());
    loop {
        let frame = within("sound", audio.incoming.next()).await.expect("the call goes on");
        heard.extend_from_slice(frame.samples());
        if heard.len() >= 4_000 {
            let level = dbm0(goertzel(&heard, hz, RATE_HZ));
            if (level - wanted).abs() < 1.0 {
                return;
            }
            assert!(Instant::now() < until, "{hz} Hz at {level} dBm0, not at {wanted}");
            heard.clear();
        }
    }
}

#[tokio::test]
async fn what_a_caller_says_comes_back_as_loud_as_it_was_until_hash() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, at) = server(folder.path(), ROUTES);
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        let ann = Party::calls("ann", codec, "600", at, ANN).await;
        // A client's tone has half of full scale.
        hears_at(&ann, ANN, 3.17 - 6.02).await;
        ann.presses("1").await;
        ann.hears(&[ANN], &[]).await;
        ann.presses("#").await;
        assert_eq!(within("the end", ann.call.wait_for_end()).await, EndCause::RemoteHangup);
    }
}

#[tokio::test]
async fn a_digital_milliwatt_has_1004_hz_at_0_dbm0() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, at) = server(folder.path(), ROUTES);
    for codec in [Codec::Pcma, Codec::Pcmu] {
        let ann = Party::calls("ann", codec, "601", at, ANN).await;
        hears_at(&ann, 1_004.0, 0.0).await;
        ann.hears(&[1_004.0], &[ANN]).await;
        ann.hangs_up().await;
    }
}
