//! Passwords, tokens and PINs that are easily guessed: the main cause of toll fraud.

use super::parties::{Credentials, User};
use super::tokens::MainToken;
use super::{Secret, ServerConfig};

/// Minimum length: shorter ones can be found by brute force.
const SHORTEST: usize = 8;
/// The same of a token, which no person has to remember or enter.
const SHORTEST_TOKEN: usize = 16;

impl ServerConfig {
    /// Weaknesses of passwords, tokens and PINs that are not marked as intended, one line each.
    pub fn weak_passwords(&self) -> Vec<String> {
        if self.server.weak_passwords {
            return Vec::new();
        }
        let meant = |user: &&User| !user.weak_password;
        let users = self.users.iter().filter(meant).filter_map(weakness);
        users.chain(self.weak_tokens()).chain(self.weak_pins()).collect()
    }

    fn weak_tokens(&self) -> impl Iterator<Item = String> {
        let http = self.http.iter();
        let main = http.clone().filter_map(|http| match &http.token {
            MainToken::Given(token) => Some(("http.token".to_owned(), token)),
            _ => None,
        });
        let others = http.flat_map(|http| &http.tokens);
        let others = others.map(|it| (format!("the token {:?} of [[http.tokens]]", it.name), &it.secret));
        let weak = |token: &Secret| token.reveal().chars().count() < SHORTEST_TOKEN;
        main.chain(others).filter(move |(_, token)| weak(token)).map(|(which, _)| {
            format!(
                "{which} has fewer than {SHORTEST_TOKEN} characters: an attacker who guesses it commands your \
                 calls; choose another one, like the output of `openssl rand -base64 24`, or allow it with \
                 server.weak_passwords = true"
            )
        })
    }

    fn weak_pins(&self) -> impl Iterator<Item = String> {
        let boxes = self.apps.voicemail.mailboxes.iter();
        let boxes =
            boxes.map(|it| (format!("the PIN of mailbox {}", it.name), it.name.as_str(), Some(&it.pin)));
        let rooms = self.apps.conferences.iter().flat_map(|it| {
            let of = |key: &str| format!("{key} of conference {}", it.name);
            [(of("pin"), &it.pin), (of("moderator_pin"), &it.moderator_pin)]
                .map(|(which, pin)| (which, it.name.as_str(), pin.as_ref()))
        });
        boxes.chain(rooms).filter_map(|(which, name, pin)| {
            let why = weak_pin(pin?.reveal(), name)?;
            Some(format!(
                "{which} {why}: it is among the first that are guessed; choose another one, or allow it with \
                 server.weak_passwords = true"
            ))
        })
    }
}

fn weak_pin(pin: &str, name: &str) -> Option<&'static str> {
    let steps = |by: i16| pin.as_bytes().windows(2).all(|two| i16::from(two[1]) - i16::from(two[0]) == by);
    let half = pin.len() / 2;
    match pin {
        _ if pin == name => Some("is its name"),
        _ if steps(0) => Some("is one digit repeated"),
        _ if steps(1) || steps(-1) => Some("counts up or down"),
        _ if pin.len().is_multiple_of(2) && pin[..half] == pin[half..] => Some("repeats itself"),
        _ => None,
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
    use crate::parse_made;

    #[test]
    fn short_tokens_and_pins_that_are_guessed_first_are_weak() {
        let text = |server: &str, [token, other, pin, moderator, of_box]: [&str; 5]| {
            let text = format!(
                "{server}[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"{token}\"\n\
                 [[http.tokens]]\nname = \"board\"\ntoken = \"{other}\"\nscopes = [\"read\"]\n\
                 [voicemail]\nfolder = \"/tmp\"\n[[mailbox]]\nname = \"1001\"\npin = \"{of_box}\"\n\
                 [[conference]]\nname = \"blue\"\npin = \"{pin}\"\nmoderator_pin = \"{moderator}\"\n"
            );
            parse_made(&text).unwrap_or_else(|error| panic!("{error}")).weak_passwords()
        };
        let good = ["0123456789abcdef", "fedcba9876543210", "4711", "8150", "290714"];
        assert_eq!(text("", good), [""; 0]);
        let weak = text("", ["1", "look", "1234", "0000", "1001"]);
        for (line, begins) in weak.iter().zip([
            "http.token has fewer than 16",
            "the token \"board\" of [[http.tokens]] has fewer",
            "the PIN of mailbox 1001 is its name",
            "pin of conference blue counts up",
            "moderator_pin of conference blue is one digit",
        ]) {
            assert!(line.starts_with(begins), "{line}");
        }
        assert_eq!(weak.len(), 5);
        assert_eq!(text("", ["0123456789abcdef", "fedcba9876543210", "4321", "1212", "123123"]).len(), 3);
        assert_eq!(text("[server]\nweak_passwords = true\n", ["1", "2", "1111", "1234", "1001"]), [""; 0]);
    }

    #[test]
    fn names_and_short_passwords_are_weak_unless_they_are_meant() {
        let users = |server: &str, user: &str| {
            let text = format!(
                "{server}[[user]]\nname = \"1001-desk\"\npassword = \"1001-desk\"\n{user}\
                 [[user]]\nname = \"1002\"\npassword = \"1234567\"\n{user}\
                 [[user]]\nname = \"1003\"\naliases = [\"somebody\"]\npassword = \"somebody\"\n{user}\
                 [[user]]\nname = \"1004\"\npassword = \"12345678\"\n"
            );
            parse_made(&text).unwrap().weak_passwords()
        };
        let weak = users("", "");
        assert_eq!(weak.len(), 3, "{weak:?}");
        assert!(weak[1].starts_with("the password of user 1002 (line 4) has fewer than 8"), "{weak:?}");
        assert_eq!(users("[server]\nweak_passwords = true\n", ""), [""; 0]);
        assert_eq!(users("", "weak_password = true\n"), [""; 0]);
    }
}
