//! A recording continues when one of its parties is transferred.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::{ANN, BOB, FOLDER, Voice, channels, recording, records, runs, talk, with_tone};
use crate::server_support::captured::Lab;
use crate::server_support::phone::{CallsOff, Phone};
use crate::server_support::until;

const CAT: f64 = 1_000.0;

/// The address for audio in an INVITE.
fn media_of(invite: &str) -> SocketAddr {
    let port = invite.split("m=audio ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    SocketAddr::from(([127, 0, 0, 1], port.expect("an offer")))
}

/// The recorded party or the other one leaves; the recording stays one file.
fn transferred(recorded_leaves: bool) {
    let cat = Phone::new("cat");
    let to_cat = format!("{FOLDER}[[route]]\ncalled = \"cat\"\nto = \"{}\"\n", cat.uri());
    let lab = Lab::with(&to_cat, "record = true\n");
    runs(&lab);
    let path = PathBuf::from(recording(&lab)["file"].as_str().expect("a file"));
    talk(&mut [Voice::new(&lab.ann, lab.for_ann, ANN), Voice::new(&lab.bob, lab.for_bob, BOB)], 50);
    let over = AtomicBool::new(false);
    let (leaves, stays, stays_at, stays_hz) = match recorded_leaves {
        true => (&lab.ann, &lab.bob, lab.for_bob, BOB),
        false => (&lab.bob, &lab.ann, lab.for_ann, ANN),
    };
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        let dialog = if recorded_leaves { &lab.dialog } else { &lab.answered };
        leaves.refer(dialog, 2, &cat.uri());
        let (invite, from) = cat.hear("INVITE");
        let for_cat = media_of(&invite);
        cat.answer_to(&invite, from);
        scope.spawn(|| leaves.agree(&over));
        scope.spawn(|| stays.agree(&over));
        until("the other's end", || {
            let legs = lab.server.get(&lab.path).json()["now"]["legs"].clone();
            (legs.as_array().map(Vec::len) == Some(2)).then_some(())
        });
        assert_eq!(recording(&lab)["file"].as_str(), path.to_str(), "it is the same one");
        let mut voices = [Voice::new(&cat, for_cat, CAT), Voice::new(stays, stays_at, stays_hz)];
        voices[1].said = 200;
        talk(&mut voices, 50);
        scope.spawn(|| cat.agree(&over));
        assert_eq!(lab.server.ask("DELETE", &lab.path).status, 204);
        until("the file", || path.exists().then_some(()));
        until("the records", || (records(&lab, 3).len() == 3).then_some(()));
    });
    let [left, right] = channels(&path);
    let heard = |samples: &[i16]| [ANN, BOB, CAT].map(|hz| with_tone(samples, hz) > 15);
    let expected = match recorded_leaves {
        true => ([true, false, true], [false, true, false]),
        false => ([true, false, false], [false, true, true]),
    };
    assert_eq!((heard(&left), heard(&right)), expected);
    let records = records(&lab, 3);
    for record in &records {
        assert_eq!(record["variables"]["recording"].as_str(), path.to_str(), "{record}");
        assert_eq!(record["linked_id"], records[0]["linked_id"]);
    }
}

#[test]
fn who_is_recorded_sends_the_other_one_away() {
    transferred(true);
}

#[test]
fn who_is_recorded_is_sent_to_somebody_else() {
    transferred(false);
}
