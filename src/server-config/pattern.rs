//! Patterns on numbers, and templates that use the groups of a pattern.
//!
//! A pattern is a regular expression that has to match the whole number. A template is text with `$1` or
//! `${name}` for a group of the pattern, `$0` for the whole number, and `$$` for a dollar sign.

use std::fmt;

use regex::{Captures, Regex, RegexBuilder};

/// Maximum octets of a compiled pattern.
const MAX_COMPILED: usize = 1 << 20;

/// A regular expression that matches whole numbers.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with the expression, in a line.
    pub fn new(text: &str) -> Result<Self, String> {
        // compiled alone first: `a)(b` must not become valid by the parentheses added
        let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
        let regex =
            build(text).and_then(|_| build(&format!("^(?:{text})$"))).map_err(|error| match error {
                regex::Error::Syntax(reason) => {
                    let reason = reason.lines().last().unwrap_or_default();
                    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                    format!("not a regular expression: {reason}")
                }
                regex::Error::CompiledTooBig(_) => "a regular expression that is too large".to_string(),
                error => error.to_string(),
            })?;
        Ok(Pattern { text: text.to_string(), regex })
    }

    /// Whether it matches the whole number.
    pub fn matches(&self, number: &str) -> bool {
        self.regex.is_match(number)
    }

    /// The intended regular expression, if this is a pattern of Asterisk's dialplan, such as `_1N.`.
    pub fn of_a_dialplan(&self) -> Option<String> {
        let rest =
            self.text.strip_prefix('_').filter(|rest| rest.contains(|it: char| "XZN.!".contains(it)))?;
        let mut meant = String::new();
        for letter in rest.chars() {
            match letter {
                'X' => meant.push_str(r"\d"),
                'Z' => meant.push_str("[1-9]"),
                'N' => meant.push_str("[2-9]"),
                '.' => meant.push_str(".+"),
                '!' => meant.push_str(".*"),
                '+' | '*' => meant.extend(['\\', letter]),
                '0'..='9' | '#' | '[' | ']' | '-' | '(' | ')' => meant.push(letter),
                _ => return None,
            }
        }
        Some(meant)
    }

    /// The groups' matches in a number.
    pub fn captures<'n>(&self, number: &'n str) -> Option<Captures<'n>> {
        self.regex.captures(number)
    }

    /// The group that a template's name or number refers to.
    fn group(&self, name: &str) -> Option<usize> {
        match name.parse::<usize>() {
            Ok(number) => (number < self.regex.captures_len()).then_some(number),
            Err(_) => self.regex.capture_names().position(|group| group == Some(name)),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text with placeholders for the groups of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    /// Parses a template for the groups of `pattern`; without one, only `$0` exists.
    ///
    /// # Errors
    /// The invalid place, and how to write it.
    pub fn new(text: &str, pattern: Option<&Pattern>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            let (name, after) = if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
                continue;
            } else if let Some(braced) = after.strip_prefix('{') {
                braced.split_once('}').ok_or("`${` without its `}`")?
            } else {
                after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()))
            };
            if name.is_empty() {
                return Err("a `$` alone; write `$1` or `${name}` for a group, `$$` for the sign".into());
            }
            let group = match (name, pattern) {
                ("0", _) => Some(0),
                (_, pattern) => pattern.and_then(|pattern| pattern.group(name)),
            };
            let group = group.ok_or_else(|| match pattern {
                Some(pattern) => format!("`${name}` is not a group of the pattern `{pattern}`"),
                None => format!("`${name}` is a group, but there is no pattern; `$0` is the whole number"),
            })?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Group(group));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { text: text.to_string(), parts })
    }

    /// The text, if it does not depend on the called number.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Fills the template. `found` are the groups of the pattern on `number`, and `write` writes each of them.
    pub fn fill(
        &self,
        number: &str,
        found: Option<&Captures<'_>>,
        mut write: impl FnMut(&mut String, &str),
    ) -> String {
        let mut filled = String::with_capacity(self.text.len() + number.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Group(0) => write(&mut filled, number),
                Part::Group(group) => {
                    let found = found.and_then(|found| found.get(*group));
                    write(&mut filled, found.map_or("", |found| found.as_str()));
                }
            }
        }
        filled
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A rewrite rule for numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The numbers it applies to.
    pub pattern: Pattern,
    /// The resulting number.
    pub to: Template,
}

impl Rewrite {
    /// The new number, if the rule applies.
    pub fn apply(&self, number: &str) -> Option<String> {
        let found = self.pattern.captures(number)?;
        Some(self.to.fill(number, Some(&found), |filled, text| filled.push_str(text)))
    }

    /// The result of the first rule that applies; `None` if none does.
    pub fn first(rules: &[Rewrite], number: &str) -> Option<String> {
        rules.iter().find_map(|rule| rule.apply(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pattern: &str, template: &str, number: &str) -> String {
        let pattern = Pattern::new(pattern).unwrap();
        let template = Template::new(template, Some(&pattern)).unwrap();
        template.fill(number, pattern.captures(number).as_ref(), |text, found| text.push_str(found))
    }

    #[test]
    fn a_pattern_matches_whole_numbers_only() {
        let pattern = Pattern::new(r"1\d\d\d|2\d").unwrap();
        for (number, matches) in
            [("1001", true), ("23", true), ("91001", false), ("10011", false), ("", false)]
        {
            assert_eq!(pattern.matches(number), matches, "{number}");
        }
        assert!(Pattern::new("a)(b").is_err());
        assert!(Pattern::new("(1").unwrap_err().contains("unclosed group"));
    }

    #[test]
    fn templates_take_groups_by_number_and_by_name() {
        assert_eq!(filled(r"0(\d+)", "+44$1", "02083661177"), "+442083661177");
        assert_eq!(filled(r"(?<area>\d{2})(\d+)", "${area}-$2-$0", "123"), "12-3-123");
        assert_eq!(filled(r"(\d)", "$$${1}0", "7"), "$70");
        assert_eq!(filled(r"(\d)?x", "<$1>", "x"), "<>");
    }

    #[test]
    fn a_template_names_only_groups_that_exist() {
        let pattern = Pattern::new(r"0(\d+)").unwrap();
        let refused = |text: &str, pattern| Template::new(text, pattern).unwrap_err();
        assert!(refused("$2", Some(&pattern)).contains("not a group of the pattern"));
        assert!(refused("${x}", Some(&pattern)).contains("`$x`"));
        assert!(refused("$1", None).contains("no pattern"));
        assert!(refused("a$", None).contains("alone"));
        assert!(refused("${1", Some(&pattern)).contains("`}`"));
        assert_eq!(Template::new("a$$b", None).unwrap().literal(), Some("a$b"));
    }

    #[test]
    fn the_first_rule_that_applies_rewrites() {
        let rule = |pattern: &str, to: &str| {
            let pattern = Pattern::new(pattern).unwrap();
            Rewrite { to: Template::new(to, Some(&pattern)).unwrap(), pattern }
        };
        let rules = [rule(r"00(\d+)", "+$1"), rule(r"0(\d+)", "+44$1")];
        assert_eq!(Rewrite::first(&rules, "00491").as_deref(), Some("+491"));
        assert_eq!(Rewrite::first(&rules, "0208").as_deref(), Some("+44208"));
        assert_eq!(Rewrite::first(&rules, "1001"), None);
    }
}
