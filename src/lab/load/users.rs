//! Users of a load, from a CSV file: a header line with the column names, then one line per user.
//!
//! ```csv
//! # whom they call is in the third column
//! user,password,number
//! 1001,secret,2001
//! 1002,"a, ""b""",2002
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use b2b_call::agent::{Credentials, DialAs, sip_uri};
use b2b_config::step::{Deed, Step};

/// An error in a file of users.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read.
    #[error("{path}: {error}; choose an existing file of users")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: std::io::Error,
    },
    /// A line is invalid.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The reason and the remedy.
        reason: String,
    },
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The user part of its URI, and the user name in digests.
    pub name: String,
    /// `None`: it answers no challenge.
    pub password: Option<String>,
    /// The value of `{number}`.
    pub number: Option<String>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the password is never printed
        f.debug_struct("User").field("name", &self.name).field("number", &self.number).finish_non_exhaustive()
    }
}

/// Users, in turn.
pub type Users = Arc<[User]>;

/// Reads a file of users.
///
/// # Errors
/// See [`UsersError`].
pub fn read(path: &Path) -> Result<Users, UsersError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| UsersError::Read { path: path.to_owned(), error })?;
    parse(&text).map_err(|(line, reason)| UsersError::Line { path: path.to_owned(), line, reason })
}

fn parse(text: &str) -> Result<Users, (usize, String)> {
    // spreadsheet programs start a file with a byte order mark
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    // a record's first line, computed from its end, because a record after a comment is reported to begin at
    // the comment
    let line_of = |record: &csv::StringRecord, end: u64| {
        let read = text.get(..usize::try_from(end).unwrap_or(usize::MAX)).unwrap_or(text);
        let inside: usize = record.iter().map(|value| value.trim_end().matches('\n').count()).sum();
        read.trim_end().lines().count().saturating_sub(inside).max(1)
    };
    let mut columns: Option<csv::StringRecord> = None;
    let mut users = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let more = reader.read_record(&mut record);
        let end = reader.position().byte();
        let bad = |reason: String| (line_of(&record, end), reason);
        if !more.map_err(|error| bad(error.to_string()))? {
            break;
        }
        // an unclosed quote extends to the end of the file
        if record.iter().any(|value| value.contains('\n')) {
            return Err(bad("a quote is not closed; write \"\" for one inside of quotes".to_owned()));
        }
        let mut record = record.clone();
        record.trim();
        let Some(columns) = &columns else {
            check_columns(&record).map_err(bad)?;
            columns = Some(record);
            continue;
        };
        users.push(user(columns, &record).map_err(bad)?);
    }
    if users.is_empty() {
        let reason = "no user is named; write user,password,number and a line for each".to_owned();
        return Err((text.lines().count().max(1), reason));
    }
    Ok(users.into())
}

fn check_columns(columns: &csv::StringRecord) -> Result<(), String> {
    if let Some(other) = columns.iter().find(|it| !["user", "password", "number"].contains(it)) {
        return Err(format!(
            "there is no column {other:?}; the first line names them: user, password, number"
        ));
    }
    let twice = columns.iter().enumerate().any(|(n, name)| columns.iter().take(n).any(|it| it == name));
    if twice || !columns.iter().any(|it| it == "user") {
        return Err(
            "the first line names each column once: user, and password and number where there are some"
                .to_owned(),
        );
    }
    Ok(())
}

fn user(columns: &csv::StringRecord, record: &csv::StringRecord) -> Result<User, String> {
    if record.len() != columns.len() {
        return Err(format!(
            "{} values for {} columns; write {}, and a value with a comma between quotes",
            record.len(),
            columns.len(),
            columns.iter().collect::<Vec<_>>().join(",")
        ));
    }
    let value = |name: &str| {
        let at = columns.iter().position(|it| it == name);
        at.and_then(|at| record.get(at)).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let name = value("user").ok_or_else(|| "no user; write its name or number".to_owned())?;
    for part in [Some(&name), value("number").as_ref()].into_iter().flatten() {
        if part.contains(['@', '<', '>', ':']) || sip_uri(&format!("sip:{part}@127.0.0.1")).is_err() {
            return Err(format!(
                "{part:?} cannot stand before the @ of a SIP URI; write a name or number, and other characters as %20"
            ));
        }
    }
    Ok(User { name, password: value("password"), number: value("number") })
}

impl User {
    /// Its identity in a call: its URI at this domain, and its credentials.
    pub fn dials(&self, domain: &str, headers: Vec<(String, String)>) -> DialAs {
        DialAs { identity: Some(self.uri(domain)), credentials: self.credentials(), headers }
    }

    /// Its URI.
    pub fn uri(&self, domain: &str) -> String {
        format!("sip:{}@{domain}", self.name)
    }

    /// Its credentials for challenges.
    pub fn credentials(&self) -> Option<Credentials> {
        let password = self.password.clone()?;
        Some(Credentials { username: self.name.clone(), password, realm: None })
    }
}

/// Fills in `{user}`, `{number}` and `{n}`, the number of the call.
pub fn fill(text: &str, user: Option<&User>, n: u64) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let (name, number) = match user {
        Some(user) => (user.name.as_str(), user.number.as_deref().unwrap_or_default()),
        None => ("", ""),
    };
    text.replace("{user}", name).replace("{number}", number).replace("{n}", &n.to_string())
}

/// Checks that these users have the values that the steps need.
///
/// # Errors
/// The first step that needs something else, and the remedy.
pub fn check(steps: &[Step], users: Option<&Users>) -> Result<(), String> {
    for step in steps {
        let texts: &[&String] = match &step.deed {
            Deed::Dial(to) | Deed::Transfer(to) => &[to],
            Deed::Header { name, value } => &[name, value],
            _ => &[],
        };
        for text in texts {
            let asks = |what: &str| text.contains(what);
            let fault = match users {
                None if asks("{user}") || asks("{number}") => "asks for users; name a file of them",
                Some(users) if asks("{number}") && users.iter().any(|it| it.number.is_none()) => {
                    "asks for a number, and not every user has one; write it into the column number"
                }
                _ => continue,
            };
            return Err(format!("the step `{}` {fault}", step.text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use b2b_config::step;

    use super::*;

    #[test]
    fn columns_are_found_by_their_names_and_comments_are_none_of_them() {
        let users =
            parse("\u{feff}# who\nnumber, user,password\n\n2001,1001,\"a, \"\"b\"\"\"\r\n,1002,\n").unwrap();
        let first = User {
            name: "1001".to_owned(),
            password: Some("a, \"b\"".to_owned()),
            number: Some("2001".to_owned()),
        };
        let second = User { name: "1002".to_owned(), password: None, number: None };
        assert_eq!(*users, [first, second]);
        assert!(!format!("{users:?}").contains("a, "), "a password");
    }

    #[test]
    fn what_is_wrong_says_its_line() {
        for (text, line, said) in [
            ("", 1, "no user is named"),
            ("user\n# nobody\n", 2, "no user is named"),
            ("name,password\n", 1, "no column \"name\""),
            ("password\n", 1, "each column once"),
            ("user,user\n", 1, "each column once"),
            ("user,password\n1001\n", 2, "1 values for 2 columns; write user,password"),
            ("user,password\n1001,x\n,x\n", 3, "no user"),
            ("user,password\n1001,\"x\n", 2, "not closed"),
            ("user,password\n1001,\"x\n1002,y\n", 2, "not closed"),
            ("# who\r\n\r\nuser,password\r\n1001,x\r\n# more\r\n,x\r\n", 6, "no user"),
            ("user\na@b\n", 2, "cannot stand before the @"),
            ("user\na b\n", 2, "cannot stand before the @"),
        ] {
            let (at, reason) = parse(text).unwrap_err();
            assert_eq!(at, line, "{text:?}: {reason}");
            assert!(reason.contains(said), "{text:?}: {reason}");
        }
    }

    #[test]
    fn steps_are_filled_in_and_ask_for_nothing_that_is_not_there() {
        let user = User { name: "1001".to_owned(), password: None, number: Some("2001".to_owned()) };
        assert_eq!(fill("{user}-{number}-{n}-{x}", Some(&user), 7), "1001-2001-7-{x}");
        let asking = step::caller("header X-Who: {user}; dial {number}; hang up").unwrap();
        let counting = step::caller("dial 1{n}; hang up").unwrap();
        let nobody = User { number: None, ..user.clone() };
        assert!(check(&asking, Some(&[user.clone()].into())).is_ok());
        assert!(check(&counting, None).is_ok());
        assert!(check(&asking, None).unwrap_err().contains("`header X-Who: {user}` asks for users"));
        let error = check(&asking, Some(&[user, nobody].into())).unwrap_err();
        assert!(error.contains("`dial {number}` asks for a number"), "{error}");
    }
}
