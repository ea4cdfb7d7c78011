//! The common parts of flags, plans and configurations: names, tables of settings, values. Raw text becomes
//! checked values here, once, for the command line and for plans. Internal: its API is not stable.
//!
//! - `role_name`: the roles
//! - `keys`: tables of settings: key, flag, roles, kind, check, help; `command_line`: what is given of them
//! - `value`: one parser per value
//! - `table`: the tables of a configuration file, one row per key
//! - `section`: TOML with line numbers, read by those rows; `check`: validation against them; `lines`: a file
//!   and the errors found in it; `problem`: the possible errors
//! - `step`: the steps of a scripted phone and of a call under load
//! - `target`: host and port of a target, including a port known only later

mod check;
pub mod command_line;
pub mod keys;
pub mod lines;
pub mod problem;
pub mod role_name;
pub mod section;
pub mod step;
pub mod table;
pub mod target;
pub mod value;

pub use role_name::RoleName;

/// A TOML syntax error in one line.
pub fn syntax(message: &str) -> String {
    let mut text = message.replace('\n', " ");
    if text.contains("escape") {
        // typical of regular expressions and Windows paths
        text.push_str(
            "; in double quotes a backslash begins an escape: write it in single quotes, like '1\\d{3}'",
        );
    }
    text
}
