#![no_main]
//! Parsing of the server's configuration.

use std::io;
use std::path::{Path, PathBuf};

use b2b::server::config::{Outside, parse};
use libfuzzer_sys::fuzz_target;

/// A system in which every file exists; the real one is not accessed.
struct Imagined;

impl Outside for Imagined {
    fn variable(&self, name: &str) -> Option<String> {
        (name.len() > 2).then(|| name.to_owned())
    }

    fn secret_file(&self, path: &Path) -> io::Result<String> {
        Ok(path.display().to_string())
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }

    fn resolve(&self, path: &str) -> PathBuf {
        Path::new("/b2b").join(path)
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text, &Imagined) {
        Ok(config) => {
            let _ = config.summary(1_024);
            let _ = config.warnings();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
