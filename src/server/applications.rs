//! The built-in applications, by name. Configured applications are registered by the modules that run them.

use std::sync::Arc;

use b2b_app::Applications;
use b2b_app::test_numbers::{EchoNumber, Milliwatt};

/// Returns all of them.
pub fn applications() -> Applications {
    let apps = Applications::new();
    apps.add(Arc::new(EchoNumber));
    apps.add(Arc::new(Milliwatt));
    apps
}
