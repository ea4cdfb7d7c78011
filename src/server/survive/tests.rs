//! What the next process finds in memory.

use std::path::Path;

use b2b_call::controller::{AddressFamily, EndpointSpec};

use super::*;
use crate::config::parse_alone;

fn media() -> Media {
    let config =
        parse_alone("[media]\nbind = \"127.0.79.30\"\nports = \"30000-30999\"\n").expect("a configuration");
    Media::start(&config).expect("media").0
}

/// Memory with two calls of one endpoint each. The one of the first call was asked for something after it was written.
fn two_calls(path: &Path) {
    let media = media();
    let (mut store, _) = Store::open(path, SIZE, boot().expect("a boot")).expect("a store");
    for (call, asked_ms) in [(2, 3_000), (1, 1_000)] {
        let spec = EndpointSpec::new(AddressFamily::V4);
        let endpoint = pollster::block_on(media.controller().open_endpoint(spec)).expect("an endpoint");
        let octets = pollster::block_on(media.write_endpoint(endpoint)).expect("octets");
        let kept = Kept {
            first: call,
            before: 0,
            written_ms: 2_000,
            changed_ms: 2_000,
            piece: Bytes::from_static(b"a call"),
            endpoints: vec![(endpoint, endpoint)],
        };
        let of_media = KeptMedia { asked_ms, media: octets.into() };
        store.put(call, &rmp_serde::to_vec(&kept).expect("octets")).expect("room");
        let of_media = rmp_serde::to_vec(&of_media).expect("octets");
        store.put(endpoint.0 | OF_ENDPOINT, &of_media).expect("room");
    }
}

const SIZE: usize = 1 << 20;

#[test]
fn a_process_that_dies_while_it_takes_calls_up_loses_none_of_their_media() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("calls");
    let takes_up = |path: &Path| {
        let max_age = Duration::MAX;
        let settings = Survive { file: path.to_owned(), size: SIZE, max_age };
        let mut calls = begin(&settings, &media(), Duration::ZERO).expect("calls").surviving.calls;
        calls.sort_by_key(|call| call.call);
        let outdated: Vec<_> = calls.iter().map(|call| (call.endpoints.len(), call.outdated.len())).collect();
        assert_eq!(outdated, [(1, 1), (1, 0)]);
    };
    two_calls(&path);
    let before = std::fs::read(&path).expect("octets");
    takes_up(&path);
    let after = std::fs::read(&path).expect("octets");
    // What is written comes after what was there.
    let changed = || (0..after.len()).filter(|at| before[*at] != after[*at]);
    let (first, last) = (changed().next().expect("a change"), changed().next_back().expect("a change"));
    for written in (first..=last).step_by(64) {
        let torn = [&after[..written], &before[written..]].concat();
        std::fs::write(&path, torn).expect("room");
        takes_up(&path);
    }
}

#[test]
fn the_media_of_a_call_that_is_covered_again_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = Store::open(&folder.path().join("calls"), 1 << 20, [7; 16]);
    let (store, _) = opened.expect("a store");
    let (told, mut changed) = mpsc::unbounded_channel();
    let mut calls = WithinTurns::new(Arc::new(Mutex::new(store)), SurviveFigures::default(), told);
    for (media_changes, is_forgotten, is_told) in
        [(true, false, true), (false, false, false), (false, true, true)]
    {
        if is_forgotten {
            calls.forget(CallId(1));
            assert!(changed.try_recv().is_ok_and(|told| told.endpoints.is_empty()));
        }
        let (octets, at, endpoints) = (&b"a call"[..], Instant::now(), vec![EndpointId(5)]);
        let written = WrittenCall { octets, at, goes_on: false, endpoints, media_changes };
        assert!(calls.keep(CallId(1), Some(written)));
        assert_eq!(changed.try_recv().is_ok_and(|told| told.endpoints == [EndpointId(5)]), is_told);
    }
}

#[test]
fn a_call_that_is_written_anew_still_says_when_its_media_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("calls");
    let (store, _) = Store::open(&path, SIZE, [7; 16]).expect("a store");
    let (told, _changed) = mpsc::unbounded_channel();
    let mut calls = WithinTurns::new(Arc::new(Mutex::new(store)), SurviveFigures::default(), told);
    let writes = [(true, false), (false, true), (false, false), (false, true)];
    for (media_changes, goes_on) in writes {
        let octets = b"a call";
        let written =
            WrittenCall { octets, at: Instant::now(), goes_on, endpoints: Vec::new(), media_changes };
        assert!(calls.keep(CallId(1), Some(written)));
    }
    drop(calls);
    let (_, kept) = Store::open(&path, SIZE, [7; 16]).expect("a store");
    let kept = pieces(1, &kept[0].1).expect("pieces");
    assert!(kept.iter().map(|it| it.changed_ms > 0).eq([true, true]));
}

#[test]
fn media_whose_leg_changes_its_call_keeps_its_record_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("calls");
    two_calls(&path);
    let settings = Survive { file: path, size: SIZE, max_age: Duration::MAX };
    let Begun { keeper, surviving, .. } = begin(&settings, &media(), Duration::ZERO).expect("calls");
    let mut keeper = keeper.expect("a keeper");
    let endpoint = *surviving.calls[0].endpoints.values().next().expect("an endpoint");
    let (call, mut changed) = (surviving.calls[0].call, BTreeSet::new());
    for endpoints in [vec![endpoint], Vec::new()] {
        keeper.told(Changed { call, endpoints }, &mut changed);
        assert!(locked(&keeper.store).keys().any(|key| key == endpoint.0 | OF_ENDPOINT));
    }
    assert_eq!(keeper.gone, [endpoint]);
}
