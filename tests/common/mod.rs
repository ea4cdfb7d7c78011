//! Shared parts of the whole-program tests: starting `b2b`, reading its lines, making audio and comparing it.

pub mod audio;
pub mod child;
pub mod orchestrated;

/// Makes a test for every engine of this build from each of these functions, which take an engine:
/// `native::name` and, with the feature, `baresip::name`.
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
