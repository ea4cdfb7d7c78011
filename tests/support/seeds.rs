//! Simulations by seed: their command line, which is that of a test, too, and seeds on threads.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Reads the command line. `take` is given the name of each flag, and what gives its value where it has one; `false`:
/// there is no such flag. What `cargo test` says to every test is passed over.
///
/// # Errors
/// The usage, or what is wrong, has been printed: with what to exit.
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
                // The name of a test.
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

/// A value that is a number.
///
/// # Errors
/// It is none, in words.
pub fn number<T: FromStr>(text: String) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is no number"))
}

/// Each seed from the first one on, on so many threads, until one of them says that it is enough.
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
