//! BLF, on the real binary: SUBSCRIBE and NOTIFY on the wire.

mod asking;
mod caller;
mod places;
mod users;
mod watcher;

/// Three users who may call each other.
const USERS: &str = "[[user]]\nname = \"1001\"\npassword = \"secret\"\n\
                     [[user]]\nname = \"1002\"\npassword = \"secret\"\naliases = [\"bob\"]\n\
                     [[user]]\nname = \"1003\"\npassword = \"secret\"\n\
                     [[route]]\nname = \"users\"\ncalled = \"100[0-9]|bob\"\nto = \"user/$0\"\n";
