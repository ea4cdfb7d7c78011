//! What the whole-program tests share: starting `b2b`, reading its lines,
//! making audio and comparing it.
#![allow(dead_code)]

pub mod audio;
pub mod child;
pub mod codecs;
#[cfg(feature = "lab")]
pub mod orchestrated;

/// Makes each of these functions, which take an engine, a test of every engine of this
/// build: `native::name` and, with the feature, `baresip::name`.
#[allow(unused_macros, reason = "not every test program has such tests")]
macro_rules! on_every_engine {
    ($($(#[$attribute:meta])* $test:ident,)*) => {
        mod native {
            $(#[test] $(#[$attribute])* fn $test() { super::$test(b2b::ua::Engine::Native); })*
        }
        #[cfg(feature = "baresip")]
        mod baresip {
            $(#[test] $(#[$attribute])* fn $test() { super::$test(b2b::ua::Engine::Baresip); })*
        }
    };
}
