//! TOML tables with lines. A [`Section`] knows its keys from the table of
//! [`super::docs`]: whatever else stands in it is refused when it is opened.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::docs::SectionDoc;
use super::error::{ConfigError, ConfigProblem};
use b2b_config::keys::nearest;

/// Result of reading a value; the error is a half sentence for people.
pub type Read<T> = Result<T, String>;

/// Where lines begin.
#[derive(Debug)]
pub struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub fn of(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Lines { starts: std::iter::once(0).chain(after).collect() }
    }

    /// The line of an octet, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    pub fn error(&self, at: usize, problem: ConfigProblem) -> ConfigError {
        ConfigError { line: self.line(at), problem }
    }
}

/// A text value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub at: usize,
}

/// One table of the file.
#[derive(Debug)]
pub struct Section<'a> {
    pub lines: &'a Lines,
    pub doc: &'static SectionDoc,
    /// Where it begins.
    pub at: usize,
    entries: Vec<(&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)>,
    /// Keys of the table that the code has asked for.
    #[cfg(test)]
    asked: std::cell::RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// # Errors
    /// The first key that does not belong here.
    pub fn open(
        lines: &'a Lines,
        doc: &'static SectionDoc,
        at: usize,
        table: &'a DeTable<'a>,
    ) -> Result<Self, ConfigError> {
        let mut entries: Vec<_> =
            table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        for (name, span, _) in &entries {
            if !doc.keys.iter().any(|key| key.name == *name) {
                let nearest = nearest(name, doc.keys.iter().map(|key| key.name)).unwrap_or_default();
                let problem = ConfigProblem::UnknownKey {
                    key: format!("{}.{name}", doc.name),
                    nearest: nearest.into(),
                };
                return Err(lines.error(span.start, problem));
            }
        }
        Ok(Section {
            lines,
            doc,
            at,
            entries,
            #[cfg(test)]
            asked: Default::default(),
        })
    }

    /// A table that is not in the file.
    pub fn absent(lines: &'a Lines, doc: &'static SectionDoc) -> Self {
        Section {
            lines,
            doc,
            at: 0,
            entries: Vec::new(),
            #[cfg(test)]
            asked: Default::default(),
        }
    }

    /// Says that everything was read. Tests find a documented key here that nobody
    /// asked for.
    pub fn finish(&self) {
        #[cfg(test)]
        for key in self.doc.keys {
            let name = key.name;
            assert!(self.asked.borrow().contains(&name), "nobody reads {}.{name}", self.doc.name);
        }
    }

    /// The line that it begins on.
    pub fn line(&self) -> usize {
        self.lines.line(self.at)
    }

    /// `user.name`
    pub fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.doc.name)
    }

    /// Where a key stands; without it, where the table begins.
    pub fn place(&self, key: &str) -> usize {
        self.entries.iter().find(|(name, ..)| *name == key).map_or(self.at, |(_, span, _)| span.start)
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, ..)| *name == key)
    }

    pub fn error(&self, key: &str, problem: ConfigProblem) -> ConfigError {
        self.lines.error(self.place(key), problem)
    }

    pub fn missing(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        self.error(key, ConfigProblem::Missing { key: self.full(key), reason: reason.into() })
    }

    pub fn bad(&self, key: &str, at: usize, value: &str, reason: impl Into<String>) -> ConfigError {
        let problem = ConfigProblem::BadValue {
            key: self.full(key),
            value: format!("{value:?}"),
            reason: reason.into(),
        };
        self.lines.error(at, problem)
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(
            self.doc.keys.iter().any(|doc| doc.name == key),
            "{}.{key} is not in docs",
            self.doc.name
        );
        #[cfg(test)]
        self.asked.borrow_mut().push(key);
        self.entries.iter().find(|(name, ..)| *name == key).map(|(.., value)| *value)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> ConfigError {
        let problem = ConfigProblem::WrongType {
            key: self.full(key),
            found: described(value.get_ref()).to_string(),
            wanted: wanted.to_string(),
        };
        self.lines.error(value.span().start, problem)
    }

    pub fn text(&self, key: &'static str) -> Result<Option<Text>, ConfigError> {
        self.value(key).map(|value| self.text_of(key, value)).transpose()
    }

    /// A text that no error shows.
    pub fn text_of_secret(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.get_ref() {
                DeValue::String(text) => Ok(Some(text.to_string())),
                _ => Err(self.wrong_type(key, value, "text in quotes")),
            },
        }
    }

    fn text_of(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Text, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) if text.contains(|c: char| c.is_control()) => {
                Err(self.bad(key, value.span().start, text, "a control character, which cannot be in it"))
            }
            DeValue::String(text) => Ok(Text { text: text.to_string(), at: value.span().start }),
            _ => Err(self.wrong_type(key, value, "text in quotes")),
        }
    }

    /// A text that `read` understands.
    pub fn parsed<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Read<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        read(&text.text).map(Some).map_err(|reason| self.bad(key, text.at, &text.text, reason))
    }

    /// A list of texts, or a single one; none when the key is not there.
    pub fn texts(&self, key: &'static str) -> Result<Option<Vec<Text>>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let texts = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| self.text_of(key, item)).collect(),
            DeValue::String(_) => self.text_of(key, value).map(|text| vec![text]),
            _ => Err(self.wrong_type(key, value, "a list of texts: [\"…\", \"…\"]")),
        };
        texts.map(Some)
    }

    /// A list of texts that `read` understands.
    pub fn parsed_list<T>(
        &self,
        key: &'static str,
        read: impl Fn(&str) -> Read<T>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(texts) = self.texts(key)? else { return Ok(None) };
        let parse = |text: &Text| read(&text.text).map_err(|why| self.bad(key, text.at, &text.text, why));
        texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
    }

    pub fn whole(&self, key: &'static str, range: RangeInclusive<u64>) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(key, value, "a whole number without quotes"));
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let problem = ConfigProblem::BadValue {
                    key: self.full(key),
                    value: number.as_str().to_string(),
                    reason: format!("not a whole number from {} to {}", range.start(), range.end()),
                };
                Err(self.lines.error(value.span().start, problem))
            }
        }
    }

    /// Whole seconds.
    pub fn seconds(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<Duration>, ConfigError> {
        Ok(self.whole(key, range)?.map(Duration::from_secs))
    }

    pub fn switch(&self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(on) => Ok(Some(*on)),
            _ => Err(self.wrong_type(key, value, "true or false without quotes")),
        }
    }

    /// A switch, or something else that `other` reads from a list of texts or whole
    /// numbers.
    pub fn switch_or_codes(&self, key: &'static str) -> Result<Option<Result<bool, Vec<Text>>>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let wanted = "true, false, or a list of status codes: [503, \"5xx\"]";
        match value.get_ref() {
            DeValue::Boolean(on) => Ok(Some(Ok(*on))),
            DeValue::Array(items) => {
                let code = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
                    DeValue::Integer(number) => {
                        Ok(Text { text: number.as_str().to_string(), at: item.span().start })
                    }
                    DeValue::String(_) => self.text_of(key, item),
                    _ => Err(self.wrong_type(key, item, wanted)),
                };
                items.iter().map(code).collect::<Result<_, _>>().map(|codes| Some(Err(codes)))
            }
            _ => Err(self.wrong_type(key, value, wanted)),
        }
    }

    /// A table of texts, `{ 1 = "sales" }`, in the order of the file.
    pub fn pairs(&self, key: &'static str) -> Result<Vec<(String, Text)>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(key, value, r#"a table: { 1 = "…", 2 = "…" }"#));
        };
        let mut pairs: Vec<_> = table.iter().collect();
        pairs.sort_by_key(|(name, _)| name.span().start);
        let pairs = pairs.into_iter();
        pairs.map(|(name, value)| Ok((name.get_ref().to_string(), self.text_of(key, value)?))).collect()
    }

    /// A list of tables (`{ … }`), and of texts where `texts` may stand in between.
    pub fn items(
        &self,
        key: &'static str,
        doc: &'static SectionDoc,
        texts: bool,
    ) -> Result<Vec<Result<Section<'a>, Text>>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let wanted = if texts { "a list of texts or { … } tables" } else { "a list of { … } tables" };
        let item = |item: &'a Spanned<DeValue<'a>>| match item.get_ref() {
            DeValue::Table(table) => Section::open(self.lines, doc, item.span().start, table).map(Ok),
            DeValue::String(_) if texts => self.text_of(key, item).map(Err),
            _ => Err(self.wrong_type(key, item, wanted)),
        };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().map(item).collect(),
            DeValue::String(_) if texts => Ok(vec![item(value)?]),
            _ => Err(self.wrong_type(key, value, wanted)),
        }
    }
}

/// A value's type for people; the value itself might be a secret.
pub fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
