//! Passwords that are easily guessed: the main cause of toll fraud.

use super::ServerConfig;
use super::parties::{Credentials, User};

/// Minimum length: shorter ones can be found by brute force.
const SHORTEST: usize = 8;

impl ServerConfig {
    /// Weaknesses of users' passwords that are not marked as intended, one line each.
    pub fn weak_passwords(&self) -> Vec<String> {
        let meant = |user: &&User| !self.server.weak_passwords && !user.weak_password;
        self.users.iter().filter(meant).filter_map(weakness).collect()
    }
}

fn weakness(user: &User) -> Option<String> {
    let Credentials::Password(password) = &user.credentials else { return None };
    let why = match password.reveal() {
        text if user.is(text) => "is a name of the user",
        text if text.chars().count() < SHORTEST => "has fewer than 8 characters",
        _ => return None,
    };
    Some(format!(
        "the password of user {} (line {}) {why}: an attacker who guesses it makes calls at your cost; choose another one, \
         or allow it with weak_password = true (for all users: server.weak_passwords)",
        user.name, user.line
    ))
}

#[cfg(test)]
mod tests {
    use crate::config::parse_alone;

    #[test]
    fn names_and_short_passwords_are_weak_unless_they_are_meant() {
        let users = |server: &str, user: &str| {
            let text = format!(
                "{server}[[user]]\nname = \"1001-desk\"\npassword = \"1001-desk\"\n{user}\
                 [[user]]\nname = \"1002\"\npassword = \"1234567\"\n{user}\
                 [[user]]\nname = \"1003\"\naliases = [\"somebody\"]\npassword = \"somebody\"\n{user}\
                 [[user]]\nname = \"1004\"\npassword = \"12345678\"\n"
            );
            parse_alone(&text).unwrap().weak_passwords()
        };
        let weak = users("", "");
        assert_eq!(weak.len(), 3, "{weak:?}");
        assert!(weak[1].starts_with("the password of user 1002 (line 4) has fewer than 8"), "{weak:?}");
        assert_eq!(users("[server]\nweak_passwords = true\n", ""), [""; 0]);
        assert_eq!(users("", "weak_password = true\n"), [""; 0]);
    }
}
