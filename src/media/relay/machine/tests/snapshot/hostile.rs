//! Damaged or forged snapshots: they cause errors, and nothing worse.

use serde_json::Value;

use super::*;
use crate::codec::Codec;
use crate::remote::{SendFormat, Voice};
use crate::stage::Act;
use crate::transport::protection::{Keys, MasterKey, Protection, Suite};

/// A snapshot with a value in every field.
fn full() -> EndpointSnapshot {
    let mut lab = Lab::joined();
    let gets = SendFormat {
        payload_type: 0,
        codec: Codec::Pcmu,
        ptime_ms: 20,
        fec: false,
        max_bitrate: Some(16_000),
    };
    let mut says = Voice::NONE.says;
    says[0] = Some((0, Codec::Pcmu));
    let remote = Remote { voice: Voice { gets: Some(gets), says }, ..remote(0) };
    lab.command(Command::Describe { id: id(0), remote });
    lab.command(Command::Stage { id: id(0), act: Box::new(Act::HearTones { on: true }) });
    lab.talk(0, 1, 400);
    lab.talk(1, 1, 10);
    lab.put(0, party(0), packet(101, 401, 64_000, 70, &[5, 10, 0, 160]));
    lab.command(Command::Describe { id: id(0), remote: Remote { rtp: party(8), sends: false, ..remote } });
    lab.put(0, SocketAddr::from(([127, 6, 6, 6], 666)), packet(13, 1, 1, 70, &[6]));
    let key = |n| MasterKey::generate(Suite::AeadAes128Gcm, |octets| octets.fill(n));
    let mut protection = Protection::new(Keys { local: key(1), remote: key(2) });
    let mut buffer = [0; 300];
    buffer[..172].copy_from_slice(&packet(0, 5, 5, 6, &[0; 160]));
    protection.outbound.rtp(&mut buffer, 172).unwrap();
    let mut snapshot = lab.snapshot(0);
    snapshot.protect(Some(&protection));
    snapshot
}

/// If these octets are a valid endpoint, use it: packets, reports, digits, a stage, closing.
fn try_out(octets: &[u8]) -> bool {
    let Ok(snapshot) = serde_json::from_slice::<EndpointSnapshot>(octets) else { return false };
    let mut lab = Lab::new(2);
    lab.command(Command::Close { id: id(0) });
    let own = RelayId { generation: 2, ..id(0) };
    lab.command(Command::Open { id: own, config: snapshot.config() });
    let restored = snapshot.protection().is_ok() && lab.machine.restore(lab.now, own, &snapshot).is_ok();
    if restored {
        let (forward, backward) = (Box::new(way()), Box::new(way()));
        lab.command(Command::Join { a: own, b: id(1), forward, backward });
        lab.command(Command::Digit { id: own, code: 5, duration_ms: 100 });
        let source = snapshot.remote().map_or(party(0), |remote| remote.rtp);
        for n in [402, 403, 404, 60_000, 60_001, 410].into_iter().chain(405..425u16) {
            for source in [source, party(0)] {
                lab.put(0, source, packet(0, n, u32::from(n) * 160, 70, &[1; 160]));
            }
            lab.put(1, party(1), packet(0, n, u32::from(n) * 160, 71, &[1; 160]));
            lab.run(FRAME);
        }
        lab.put(0, source, packet(101, 426, 70_000, 70, &[5, 0x8A, 0, 160]));
        lab.run(SECOND * 13);
        lab.command(Command::Part { a: own, b: id(1) });
        lab.command(Command::Digit { id: own, code: 5, duration_ms: 100 });
        lab.run(SECOND);
        assert!(lab.machine.snapshot(lab.now, own).is_some());
        lab.command(Command::Close { id: own });
    }
    restored
}

/// The paths of all leaf values in a document.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), found));
        }
        Value::Array(values) if !values.is_empty() => {
            values.iter().enumerate().for_each(|(n, value)| leaves(value, &format!("{path}/{n}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn whatever_a_number_is_there_is_an_endpoint_or_an_error() {
    let good = serde_json::to_value(full()).unwrap();
    assert!(try_out(good.to_string().as_bytes()));
    let mut places = Vec::new();
    leaves(&good, "", &mut places);
    places.retain(|place| !place.contains("/key_salt/") && !place.contains("/cname/"));
    assert!(places.len() > 80, "{}", places.len());
    let mut refused = 0;
    for place in &places {
        for absurd in [
            "0",
            "1",
            "128",
            "65535",
            "4294967295",
            "18446744073709551615",
            "-1",
            "1e300",
            "null",
            "[]",
            "\"x\"",
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = serde_json::from_str(absurd).unwrap();
            refused += usize::from(!try_out(bad.to_string().as_bytes()));
        }
    }
    assert!(refused > places.len() * 5, "{refused} of {}", places.len() * 11);
}

#[test]
fn a_snapshot_that_is_cut_short_or_has_other_octets_is_no_panic() {
    let good = serde_json::to_vec(&full()).unwrap();
    let mut dice = Dice(3);
    for _ in 0..200 {
        assert!(!try_out(&good[..dice.roll(good.len() as u64) as usize]), "cut");
        let mut bad = good.clone();
        for _ in 0..1 + dice.roll(3) {
            let place = dice.roll(bad.len() as u64) as usize;
            bad[place] = [b'9', b'0', b',', b'"', dice.roll(256) as u8][dice.roll(5) as usize];
        }
        try_out(&bad);
    }
}

#[test]
fn what_is_wrong_is_said() {
    let good = serde_json::to_value(full()).unwrap();
    let refused = |place: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(place).expect("a place") = value;
        let snapshot: EndpointSnapshot = serde_json::from_value(bad).expect("the shape of one");
        let mut lab = Lab::new(0);
        lab.command(Command::Open { id: id(0), config: snapshot.config() });
        let refused = lab.machine.restore(lab.now, id(0), &snapshot).expect_err("no endpoint");
        assert_eq!(lab.stats(0).received.packets, 0, "nothing has changed");
        refused
    };
    assert_eq!(refused("/version", 2.into()), RestoreError::Version(2));
    assert_eq!(refused("/received/numbers/highest", u32::MAX.into()), RestoreError::Value("sequence number"));
    assert_eq!(refused("/sent/packets", u64::MAX.into()), RestoreError::Value("counter"));
    assert_eq!(refused("/protection/sent/0/highest", u64::MAX.into()), RestoreError::Value("SRTP index"));
    assert!(matches!(refused("/written", (1u64 << 63).into()), RestoreError::TooOld(_)));
    let mut bad = good;
    bad["protection"]["local"]["key_salt"] = serde_json::json!([1, 2, 3]);
    let error = serde_json::from_value::<EndpointSnapshot>(bad).unwrap_err();
    assert!(error.to_string().contains("does not match its suite"), "{error}");
}
