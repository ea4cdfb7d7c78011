//! The applications that are always there, by name. Those of a configuration enlist beside whoever
//! they work with.

use std::sync::Arc;

use b2b_app::Applications;
use b2b_app::test_numbers::{EchoNumber, Milliwatt};

/// All of them.
pub fn applications() -> Applications {
    let apps = Applications::new();
    apps.add(Arc::new(EchoNumber));
    apps.add(Arc::new(Milliwatt));
    apps
}
