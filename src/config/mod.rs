//! What flags, plans and configurations have in common: names, tables of settings, values.
//! Raw text becomes checked values here, once, for the command line and for plans.
//! Internal: its API makes no promise.
//!
//! - `role_name`: the roles
//! - `keys`: tables of settings: key, flag, roles, kind, check
//! - `value`: one parser per value
//! - `table`: the tables of a configuration file, a row a key
//! - `section`: TOML with lines, read by those rows; `check`: held against them; `lines`: a file that
//!   is read, and what is found in it; `problem`: what can be wrong
//! - `step`: the steps by which a phone without hands, and a call under load, goes
//! - `target`: host and port of a target; filling in a port known later

mod check;
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

/// What is wrong with a text that is no TOML, in one line.
pub fn syntax(message: &str) -> String {
    let mut text = message.replace('\n', " ");
    if text.contains("escape") {
        // Regular expressions and Windows' paths.
        text.push_str(
            "; in double quotes a backslash begins an escape: write it in single quotes, like '1\\d{3}'",
        );
    }
    text
}
