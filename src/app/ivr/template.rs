//! Texts with variables: `${caller}`.

use std::collections::BTreeMap;
use std::fmt;

/// The variables of a call.
pub type Variables = BTreeMap<String, String>;

/// A text with variables to be substituted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

/// The reason why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a ${{ without }}; write it like ${{caller}}")]
    Open,
    #[error("{0:?} is not a variable name; use letters, digits and _ only")]
    Name(String),
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').ok_or(TemplateError::Open)?;
            if !is_name(name) {
                return Err(TemplateError::Name(name.to_owned()));
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Variable(name.to_owned()));
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template { text: text.to_owned(), pieces })
    }

    /// Substitutes the variables; one that is not set becomes empty.
    pub fn fill(&self, variables: &Variables) -> String {
        self.fill_with(variables, |filled, value| filled.push_str(value))
    }

    /// Substitutes the variables; `push` appends each value, such as escaped.
    pub fn fill_with(&self, variables: &Variables, push: impl Fn(&mut String, &str)) -> String {
        let mut filled = String::with_capacity(self.text.len());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Variable(name) => {
                    push(&mut filled, variables.get(name).map(String::as_str).unwrap_or_default());
                }
            }
        }
        filled
    }

    /// The text, if it has no variables.
    pub fn literal(&self) -> Option<&str> {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_))).then_some(self.text.as_str())
    }

    /// The text before the first variable.
    pub fn beginning(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// The original text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether this is a valid variable name.
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.len() <= 64 && name.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_once_and_what_is_not_set_is_empty() {
        let template = Template::new("${a}-${b}/x${none}").unwrap();
        let variables = [("a", "${b}"), ("b", "2")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(template.fill(&variables), "${b}-2/x");
        assert_eq!(template.literal(), None);
        assert_eq!(Template::new("user/1").unwrap().literal(), Some("user/1"));
        assert_eq!(Template::new("user/${digits}").unwrap().beginning(), "user/");
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        assert_eq!(Template::new("a ${b"), Err(TemplateError::Open));
        assert_eq!(Template::new("${a b}"), Err(TemplateError::Name("a b".to_owned())));
        assert!(Template::new("$5 {x}").is_ok());
    }
}
