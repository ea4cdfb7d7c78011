//! The question of a node `http` to a URL, and the possible answers. The HTTP client is provided by others.

use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::machine::Told;
use super::template::{Variables, is_name};
use b2b_base::util::secret::SecretText;

/// A pending answer: the body of a 2xx, or the reason why there is none.
pub type UrlAnswer = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

/// A question to a URL.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlQuestion {
    pub url: String,
    /// Header fields that the node sends; one may be a token.
    pub fields: UrlFields,
    /// The body, and its media type.
    pub body: Vec<u8>,
    pub media_type: &'static str,
}

/// The media type of JSON.
pub const JSON: &str = "application/json";

/// Header fields whose values must not be logged.
pub type UrlFields = Vec<(String, SecretText)>;

/// Asks URLs. The caller enforces the timeout by dropping the answer.
pub trait AskUrl: Send + Sync {
    /// POSTs the question; at most 64 KiB of the answer are needed.
    fn ask(&self, question: UrlQuestion) -> UrlAnswer;
}

/// Maximum length of a value that an answer may set, in bytes.
const LONGEST: usize = 1_024;

#[derive(Serialize)]
struct Question<'a> {
    call: u64,
    ivr: &'a str,
    node: &'a str,
    variables: &'a Variables,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    variables: std::collections::BTreeMap<String, Value>,
}

/// A variable's value; numbers and booleans are converted to text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Whole(i64),
    Number(f64),
    Truth(bool),
}

/// The question, as JSON.
pub(super) fn question(call: u64, ivr: &str, node: &str, variables: &Variables) -> Vec<u8> {
    serde_json::to_vec(&Question { call, ivr, node, variables }).unwrap_or_default()
}

/// Parses an answer.
///
/// # Errors
/// The error, as text.
pub fn answer(body: &[u8]) -> Result<Told, String> {
    let what = "its answer is not {\"next\": …, \"variables\": {…}}";
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(what.to_owned());
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|error| format!("{what}: {error}"))?;
    let mut variables = Variables::new();
    for (name, value) in answer.variables {
        let value = match value {
            Value::Text(text) => text,
            Value::Whole(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Truth(truth) => truth.to_string(),
        };
        if !is_name(&name) || value.len() > LONGEST || value.contains(|c: char| c.is_control()) {
            return Err(format!("the variable {name:?} has a name or a value that cannot be"));
        }
        variables.insert(name, value);
    }
    Ok(Told { next: answer.next, variables })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_a_node_and_sets_variables() {
        let told = answer(br#"{"next":"vip","variables":{"name":"Ann","age":41,"ok":true},"more":1}"#);
        let told = told.unwrap();
        assert_eq!(told.next.as_deref(), Some("vip"));
        let values: Vec<&str> = told.variables.values().map(String::as_str).collect();
        assert_eq!(values, ["41", "Ann", "true"]);
        assert_eq!(answer(b"{}"), Ok(Told::default()));
    }

    #[test]
    fn what_could_do_harm_is_no_answer() {
        for body in [
            "",
            "[]",
            "{\"next\":7}",
            "{\"variables\":{\"a b\":\"\"}}",
            "{\"variables\":{\"a\":\"x\\ny\"}}",
            &format!("{{\"variables\":{{\"a\":\"{}\"}}}}", "x".repeat(1_025)),
        ] {
            assert!(answer(body.as_bytes()).is_err(), "{body}");
        }
    }
}
