//! What a run is told: names, values, plans. Raw text becomes checked values
//! here, once, for the command line and for plans.
//!
//! - `role_name`: the roles
//! - `keys`: the table of settings: key, flag, roles, kind, check
//! - `value`, `value_lab`, `value_phone`: one parser per value
//! - `target`: host and port of a target; filling in a port known later
//! - `plan`, `plan_error`: TOML text → [`plan::Plan`], with line numbers
//! - `expect`: the plan's limits
//! - `scene`: a plan of a server and phones
//! - `files`: a plan's file: reading it, resolving paths, the host's address
//! - `server`: the server's configuration

#[cfg(feature = "lab")]
pub mod expect;
#[cfg(feature = "lab")]
pub mod files;
pub mod keys;
#[cfg(feature = "lab")]
pub mod plan;
#[cfg(feature = "lab")]
pub mod plan_error;
pub mod role_name;
#[cfg(all(feature = "lab", feature = "phone", feature = "server"))]
pub mod scene;
#[cfg(feature = "server")]
pub mod server;
pub mod target;
pub mod value;

pub use role_name::RoleName;

/// What is wrong with a text that is no TOML, in one line.
#[cfg(any(feature = "lab", feature = "server"))]
fn syntax(message: &str) -> String {
    let mut text = message.replace('\n', " ");
    if text.contains("escape") {
        // Regular expressions and Windows' paths.
        text.push_str(
            "; in double quotes a backslash begins an escape: write it in single quotes, like '1\\d{3}'",
        );
    }
    text
}
