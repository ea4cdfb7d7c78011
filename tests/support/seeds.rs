//! Simulations by seed: their command line, which also accepts that of a test, and their threads.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Parses the command line. `take` receives the name of each flag, and a function that returns its value, if
/// any; it returns `false` for an unknown flag. Flags of `cargo test` are ignored.
///
/// # Errors
/// The usage or the error has been printed; returns the exit code.
pub fn flags(
    usage: &str,
    mut take: impl FnMut(&str, &mut dyn FnMut() -> Result<String, String>) -> Result<bool, String>,
) -> Result<(), ExitCode> {
    let mut given = std::env::args().skip(1);
    let mut read = || -> Result<bool, String> {
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or(format!("{name} takes a value"));
            match name.as_str() {
                "--help" => return Ok(false),
                "-q" | "--quiet" | "--nocapture" | "--ignored" | "--include-ignored" => {}
                "--test-threads" | "--skip" | "--exact" => drop(value()),
                // The name of a test, from `cargo test`.
                other if !other.starts_with('-') => {}
                other => {
                    if !take(other, &mut value)? {
                        return Err(format!("there is no {other}"));
                    }
                }
            }
        }
        Ok(true)
    };
    match read() {
        Ok(true) => Ok(()),
        Ok(false) => {
            println!("{usage}");
            Err(ExitCode::SUCCESS)
        }
        Err(why) => {
            println!("{why}\n{usage}");
            Err(ExitCode::from(2))
        }
    }
}

/// Parses a number.
///
/// # Errors
/// The text is not a number.
pub fn number<T: FromStr>(text: String) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number"))
}

/// Runs each seed from `first` on, on `jobs` threads, until one of them breaks.
pub fn each(first: u64, jobs: usize, one: impl Fn(u64) -> ControlFlow<()> + Sync) {
    let (next, enough) = (AtomicU64::new(first), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    if one(next.fetch_add(1, Ordering::Relaxed)).is_break() {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}
