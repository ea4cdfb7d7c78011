//! The seeds of the fuzz target `sip_in`, unchanged and spoiled, sent to an endpoint with
//! calls: no panic, no endless output, and nothing left at the end. A short mutational fuzzer
//! that every `cargo test` runs; `cargo fuzz run sip_in` continues from there.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/sip_in");
    let entries = fs::read_dir(folder).expect("the corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|it| it.to_string_lossy().starts_with("seed-")));
    paths.sort();
    let seed = |path: &std::path::PathBuf| {
        (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), fs::read(path).expect("seed"))
    };
    paths.iter().map(seed).collect()
}

#[test]
fn every_seed_leaves_nothing_behind() {
    let seeds = seeds();
    assert!(seeds.len() >= 8, "{} seeds", seeds.len());
    for (name, data) in seeds {
        let counters = b2b_test_support::sip_in::run(&data);
        // Each message has to match something, otherwise the seed is worth little.
        let lost = (counters.malformed, counters.stray_responses, counters.stray_acks, counters.refused);
        assert_eq!(lost, (0, 0, 0, 0), "{name}");
    }
}

/// One to four changes: an octet changed, a piece removed, a piece duplicated, two seeds
/// crossed.
fn spoiled(seeds: &[(String, Vec<u8>)], random: &mut StdRng) -> Vec<u8> {
    let one = |random: &mut StdRng| seeds[random.random_range(0..seeds.len())].1.clone();
    let mut data = one(random);
    for _ in 0..random.random_range(1..=4) {
        if data.is_empty() {
            break;
        }
        let from = random.random_range(0..data.len());
        let to = (from + random.random_range(1..200_usize)).min(data.len());
        match random.random_range(0..5) {
            0 | 1 => data[from] = random.random(),
            2 => drop(data.drain(from..to)),
            3 => {
                let piece = data[from..to].to_vec();
                data.splice(from..from, piece);
            }
            _ => {
                let other = one(random);
                data.truncate(from);
                data.extend_from_slice(&other[random.random_range(0..other.len())..]);
            }
        }
    }
    data
}

#[test]
fn spoiled_seeds_break_nothing_and_leave_nothing() {
    let seeds = seeds();
    for number in 0..1_500_u64 {
        let data = spoiled(&seeds, &mut StdRng::seed_from_u64(number));
        let run = std::panic::catch_unwind(|| b2b_test_support::sip_in::run(&data));
        assert!(run.is_ok(), "number {number}:\n{}", String::from_utf8_lossy(&data));
    }
}
