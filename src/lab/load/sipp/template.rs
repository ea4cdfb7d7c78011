//! The text of a message with keywords, as lines of pieces.

use std::collections::BTreeMap;
use std::fmt;

use super::fields::Fields;
use super::scenario::Variable;

/// A message template.
#[derive(Debug)]
pub struct Template {
    /// The kind of its first line.
    pub start: Start,
    /// Its lines, without indentation.
    pub lines: Vec<Vec<Piece>>,
    /// The index of the first line of the body; `None` without a body.
    pub body: Option<usize>,
}

/// The kind of a message's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A request with this method.
    Request(String),
    /// A response with this status.
    Response(u16),
    /// None: the text of a log line.
    Text,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// A value known when it is sent; a number is added to a numeric one.
    Keyword(Keyword, i64),
}

/// A keyword.
#[derive(Debug, Clone, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
#[allow(missing_docs, reason = "they are SIPp's own names")]
pub enum Keyword {
    CallId,
    CallNumber,
    /// Of the message this many steps before.
    #[strum(disabled)]
    Branch(usize),
    #[strum(serialize = "local_ip", serialize = "server_ip")]
    LocalIp,
    LocalIpType,
    LocalPort,
    RemoteIp,
    RemoteHost,
    RemotePort,
    Transport,
    Service,
    Pid,
    ClockTick,
    MsgIndex,
    #[strum(serialize = "cseq")]
    CSeq,
    Len,
    MediaIp,
    MediaIpType,
    MediaPort,
    #[strum(serialize = "auto_media_port", serialize = "rtpstream_audio_port")]
    OwnMediaPort,
    PeerTagParam,
    Routes,
    NextUrl,
    /// A header field of the last message, or all of that name.
    #[strum(disabled)]
    Last(String),
    #[strum(serialize = "last_cseq_number")]
    LastCSeqNumber,
    #[strum(serialize = "last_Request_URI")]
    LastRequestUri,
    LastMessage,
    #[strum(disabled)]
    Variable(Variable),
    /// Of the call's line of the file with this index.
    #[strum(disabled)]
    Field {
        file: usize,
        number: usize,
    },
    #[strum(disabled)]
    Authentication {
        user: Option<String>,
        password: Option<String>,
    },
}

/// Values of custom keywords, and the numbering of variables.
pub struct Names<'a> {
    /// SIPp's `-key`.
    pub keys: &'a BTreeMap<String, String>,
    /// Variables in the order of their first use.
    pub variables: &'a mut Vec<String>,
    /// The files of fields.
    pub fields: &'a Fields,
}

impl Names<'_> {
    /// The index of a variable.
    pub fn variable(&mut self, name: &str) -> Variable {
        match self.variables.iter().position(|known| known == name) {
            Some(at) => at,
            // Beyond this many the scenario is refused.
            None if self.variables.len() > super::read::MOST_VARIABLES => self.variables.len() - 1,
            None => {
                self.variables.push(name.to_owned());
                self.variables.len() - 1
            }
        }
    }
}

/// SIPp's keywords outside the subset, and their replacements.
const REFUSED: [(&str, &str); 9] = [
    ("tdmmap", "there are no circuits; write the numbers themselves"),
    ("users", "write the number itself"),
    ("userid", "write [call_number]"),
    ("fill", "write the text itself"),
    ("file", "write the text itself, or --scenario-key NAME=VALUE"),
    ("timestamp", "write a date of your own, or leave the line out"),
    ("date", "write a date of your own, or leave the line out"),
    ("dynamic_id", "write [call_number]"),
    ("rtpstream_video_port", "there is audio only; leave the video line out"),
];

impl Template {
    /// Parses the text of a message.
    ///
    /// # Errors
    /// The line within the text, from 0, and the error.
    pub fn message(text: &str, names: &mut Names<'_>) -> Result<Self, (u32, String)> {
        let mut template = Template::lines(text, names)?;
        let first = text.lines().position(|line| !line.trim().is_empty()).unwrap_or_default() as u32;
        let Some([Piece::Text(start), ..]) = template.lines.first().map(Vec::as_slice) else {
            return Err((first, "a message is missing; write it into <![CDATA[ … ]]>".to_owned()));
        };
        let mut words = start.split(' ');
        let method =
            |word: &str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        template.start = match (words.next(), words.next().map(str::parse::<u16>)) {
            (Some("SIP/2.0"), Some(Ok(status @ 100..=699))) => Start::Response(status),
            (Some("SIP/2.0"), _) => {
                return Err((first, format!("{start:?} has no status; write SIP/2.0 200 OK")));
            }
            (Some(word), Some(_)) if method(word) => Start::Request(word.to_owned()),
            _ => {
                return Err((
                    first,
                    format!("{start:?} is no first line; write INVITE sip:… SIP/2.0 or SIP/2.0 200 OK"),
                ));
            }
        };
        let empty = template.lines.iter().position(Vec::is_empty);
        template.body = empty.map(|at| at + 1).filter(|at| *at < template.lines.len());
        if template.body.is_none() {
            template.lines.truncate(empty.unwrap_or(template.lines.len()));
        }
        Ok(template)
    }

    /// Parses text that is not a message.
    ///
    /// # Errors
    /// As [`Template::message`].
    pub fn lines(text: &str, names: &mut Names<'_>) -> Result<Self, (u32, String)> {
        let mut lines = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let read = pieces(line.trim(), names).map_err(|reason| (n as u32, reason))?;
            if !(lines.is_empty() && read.is_empty()) {
                lines.push(read);
            }
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        Ok(Template { start: Start::Text, lines, body: None })
    }

    /// Whether it contains such a keyword.
    pub fn has(&self, wanted: impl Fn(&Keyword) -> bool) -> bool {
        self.lines
            .iter()
            .flatten()
            .any(|piece| matches!(piece, Piece::Keyword(keyword, _) if wanted(keyword)))
    }
}

/// The pieces of a line.
fn pieces(mut line: &str, names: &mut Names<'_>) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    while let Some((before, rest)) = line.split_once('[') {
        let Some((inside, after)) = rest.split_once(']') else {
            return Err("a [ is not closed; write ] behind the keyword".to_owned());
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        match names.fields.named(inside)? {
            Some(field) => pieces.extend(field),
            None => pieces.push(keyword(inside, names)?),
        }
        line = after;
    }
    if !line.is_empty() {
        pieces.push(Piece::Text(line.to_owned()));
    }
    Ok(pieces)
}

fn keyword(inside: &str, names: &mut Names<'_>) -> Result<Piece, String> {
    if let Some(name) = inside.strip_prefix('$') {
        return Ok(Piece::Keyword(Keyword::Variable(names.variable(name)), 0));
    }
    let mut words = inside.split_whitespace();
    if words.next() == Some("authentication") {
        return authentication(words);
    }
    let address =
        inside.contains(':') && inside.bytes().all(|it| it.is_ascii_hexdigit() || b":.".contains(&it));
    if address {
        return Ok(Piece::Text(format!("[{inside}]")));
    }
    let (name, offset) = match inside.find(['+', '-']) {
        None => (inside, 0),
        Some(at) => match inside[at..].parse() {
            Ok(offset) => (&inside[..at], offset),
            Err(_) => (inside, 0),
        },
    };
    let known = match name {
        "branch" => Keyword::Branch(usize::try_from(-offset).map_err(|_| {
            format!(
                "[{inside}] is of a message that is to come; write [branch-1] for that of the message before"
            )
        })?),
        "sipp_version" => return Ok(Piece::Text(concat!("b2b ", env!("CARGO_PKG_VERSION")).to_owned())),
        name => match name.parse() {
            Ok(known) => known,
            Err(_) => {
                if let Some(name) = inside.strip_prefix("last_").filter(|_| !names.keys.contains_key(inside))
                {
                    return Ok(Piece::Keyword(Keyword::Last(name.trim_end_matches(':').to_owned()), 0));
                }
                // line breaks in a user's value become those of SIP
                let value = names.keys.get(inside);
                let value = value.map(|value| value.replace("\r\n", "\n").replace('\n', "\r\n"));
                return value.map(Piece::Text).ok_or_else(|| refusal(inside));
            }
        },
    };
    Ok(Piece::Keyword(known, offset))
}

fn refusal(name: &str) -> String {
    let word = name.split([' ', '-', '+']).next().unwrap_or_default();
    let word = word.trim_end_matches(|it: char| it.is_ascii_digit());
    match REFUSED.iter().find(|(refused, _)| *refused == word) {
        Some((_, instead)) => format!("the keyword [{name}] is not of the subset: {instead}"),
        None => format!("[{name}] is no keyword; add --scenario-key {name}=VALUE, or write its value here"),
    }
}

fn authentication<'a>(words: impl Iterator<Item = &'a str>) -> Result<Piece, String> {
    let (mut user, mut password) = (None, None);
    for word in words {
        let value = |value: &str| Some(value.trim_matches(['"', '\'']).to_owned());
        match word.split_once('=') {
            Some(("username", name)) => user = value(name),
            Some(("password", secret)) => password = value(secret),
            _ => {
                return Err(format!(
                    "{word:?} is not of the subset of [authentication]; write [authentication username=… password=…]"
                ));
            }
        }
    }
    Ok(Piece::Keyword(Keyword::Authentication { user, password }, 0))
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Request(method) => f.write_str(method),
            Start::Response(status) => write!(f, "{status}"),
            Start::Text => f.write_str("text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Template, (u32, String)> {
        let keys = BTreeMap::from([("more".to_owned(), "\nX-A: 1".to_owned())]);
        Template::message(
            text,
            &mut Names { keys: &keys, variables: &mut Vec::new(), fields: &Fields::default() },
        )
    }

    #[test]
    fn a_message_has_lines_without_indentation_and_a_body() {
        let read =
            read("\n   INVITE sip:a SIP/2.0\n   Call-ID: [call_id][more]\n\n   v=0\n   o=[$a]\n\n").unwrap();
        assert_eq!(read.start, Start::Request("INVITE".to_owned()));
        assert_eq!((read.lines.len(), read.body), (5, Some(3)));
        let line = [
            Piece::Text("Call-ID: ".to_owned()),
            Piece::Keyword(Keyword::CallId, 0),
            Piece::Text("\r\nX-A: 1".to_owned()),
        ];
        assert_eq!(read.lines[1], line);
    }

    #[test]
    fn keywords_have_offsets_and_addresses_are_none() {
        let read = read("SIP/2.0 200 OK\nVia: [branch-3] [media_port+2] [::1] [last_Call-ID:]\n[last_CSeq]")
            .unwrap();
        assert_eq!(read.start, Start::Response(200));
        let keywords: Vec<_> =
            read.lines[1].iter().filter(|it| **it != Piece::Text(" ".to_owned())).collect();
        assert_eq!(*keywords[1], Piece::Keyword(Keyword::Branch(3), -3));
        assert_eq!(*keywords[2], Piece::Keyword(Keyword::MediaPort, 2));
        for name in ["Call-ID", "CSeq"] {
            assert!(read.has(|it| *it == Keyword::Last(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn what_is_no_message_says_the_line_and_what_to_write() {
        for (text, line, said) in [
            ("\n\n", 0, "a message is missing"),
            ("\nhello\n", 1, "is no first line"),
            ("SIP/2.0 OK\n", 0, "has no status"),
            ("OPTIONS sip:a SIP/2.0\nFrom: [field0 file=a]", 1, "add --scenario-fields a"),
            ("OPTIONS sip:a SIP/2.0\n\n[mine]", 2, "--scenario-key mine=VALUE"),
            ("OPTIONS sip:a SIP/2.0\nVia: [branch", 1, "a [ is not closed"),
            ("OPTIONS sip:a SIP/2.0\nVia: [branch+1]", 1, "[branch-1]"),
            ("OPTIONS sip:a SIP/2.0\n[authentication aka_K=1]", 1, "username="),
        ] {
            let (at, reason) = read(text).unwrap_err();
            assert!(at == line && reason.contains(said), "{text:?}: {at}: {reason}");
        }
    }
}
