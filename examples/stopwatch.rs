//! A player for the sink that plays nothing and records when clicks become audible: one line each, in seconds
//! since 1970. `scripts/bench-engines.sh` compares them to the packets on the wire.
//!
//! usage: b2b --role sink --output aplay --aplay-cmd 'stopwatch clicks.txt'

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::SystemTime;

/// Samples per second.
const RATE_HZ: f64 = 8_000.0;
/// Minimum amplitude of a sample in a click.
const LOUD: u16 = 5_000;
/// Quiet samples required before a new click.
const QUIET: u32 = 4_000;

fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| io::Error::other("usage: stopwatch <file>"))?;
    let mut notes = File::create(path)?;
    let mut input = io::stdin().lock();
    let (mut buffer, mut low) = ([0; 4_096], None);
    let mut quiet = QUIET;
    loop {
        let length = input.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        // Audio written together becomes audible from now on.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        for (at, byte) in buffer[..length].iter().enumerate() {
            let Some(low) = low.take() else {
                low = Some(*byte);
                continue;
            };
            if i16::from_le_bytes([low, *byte]).unsigned_abs() < LOUD {
                quiet = quiet.saturating_add(1);
                continue;
            }
            if quiet >= QUIET {
                writeln!(notes, "{:.6}", now.as_secs_f64() + (at / 2) as f64 / RATE_HZ)?;
            }
            quiet = 0;
        }
    }
}
