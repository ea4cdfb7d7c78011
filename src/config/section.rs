//! TOML tables with line numbers. A [`Section`] knows its keys from its [`Table`]: getters take range and
//! default from there. When it is opened, every value is checked against its row (`check`), so a getter fails
//! only for values that failed there.

#[cfg(debug_assertions)]
use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::lines::{Lines, Text};
use crate::problem::{ConfigError, ConfigProblem};
use crate::table::{Named, Row, Table, Takes, or_numbers};
use crate::value::Read;

/// A value of the file.
pub(crate) type Value<'a> = &'a Spanned<DeValue<'a>>;

/// One table of the file.
#[derive(Debug)]
pub struct Section<'a> {
    /// The file.
    pub lines: &'a Lines,
    /// The keys that it may have.
    pub table: &'static Table,
    /// The offset where it begins.
    pub at: usize,
    pub(crate) entries: Vec<(&'static Row, Range<usize>, Value<'a>)>,
    /// The error of an unknown key.
    pub(crate) unknown: Option<ConfigError>,
    /// Keys that the code has read.
    #[cfg(debug_assertions)]
    read: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// A table that is missing from the file.
    pub fn absent(lines: &'a Lines, table: &'static Table) -> Self {
        Section {
            lines,
            table,
            at: 0,
            entries: Vec::new(),
            unknown: None,
            #[cfg(debug_assertions)]
            read: RefCell::default(),
        }
    }

    /// Declares that everything was read. Debug builds panic for a key that was not.
    pub fn finish(&self) {
        #[cfg(debug_assertions)]
        for row in self.table.keys {
            debug_assert!(
                self.read.borrow().contains(&row.name),
                "nobody reads {}.{}",
                self.table.name,
                row.name
            );
        }
    }

    /// Its first line.
    pub fn line(&self) -> usize {
        self.lines.line(self.at)
    }

    /// `user.name`
    pub fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.table.name)
    }

    /// The offset of a key; if it is missing, of the table.
    pub fn place(&self, key: &str) -> usize {
        self.entries.iter().find(|(row, ..)| row.name == key).map_or(self.at, |(_, span, _)| span.start)
    }

    /// Whether a key is set.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(row, ..)| row.name == key)
    }

    /// An error at a key.
    pub fn error(&self, key: &str, problem: ConfigProblem) -> ConfigError {
        self.lines.error(self.place(key), problem)
    }

    /// The error of a missing key. If the table has an unknown key, its error is returned instead: it is
    /// likely the missing one, misspelt.
    pub fn missing(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        let missing =
            || self.error(key, ConfigProblem::Missing { key: self.full(key), reason: reason.into() });
        self.unknown.clone().unwrap_or_else(missing)
    }

    /// The error of two mutually exclusive keys, at the second one.
    pub fn both(&self, key: &str, other: &str, reason: &str) -> ConfigError {
        let problem =
            ConfigProblem::Both { key: self.full(key), other: self.full(other), reason: reason.to_string() };
        self.error(other, problem)
    }

    /// The error of an invalid value.
    pub fn bad(&self, key: &str, at: usize, value: &str, reason: impl Into<String>) -> ConfigError {
        let problem = ConfigProblem::BadValue {
            key: self.full(key),
            value: format!("{value:?}"),
            reason: reason.into(),
        };
        self.lines.error(at, problem)
    }

    /// The error of an invalid secret, which is not shown.
    pub fn bad_secret(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        self.error(key, ConfigProblem::BadSecret { key: self.full(key), reason: reason.into() })
    }

    /// Reports the problem of a reference to a name, if any.
    pub fn refer(&self, at: usize, problem: Option<ConfigProblem>) {
        problem.into_iter().for_each(|problem| self.lines.report(self.lines.error(at, problem)));
    }

    /// The row of a key; marks it as read.
    fn row(&self, key: &'static str) -> Option<&'static Row> {
        #[cfg(debug_assertions)]
        self.read.borrow_mut().push(key);
        let row = self.table.row(key);
        debug_assert!(row.is_some(), "{}.{key} is not in its table", self.table.name);
        row
    }

    fn value(&self, key: &'static str) -> Option<Value<'a>> {
        self.row(key)?;
        self.entries.iter().find(|(row, ..)| row.name == key).map(|(.., value)| *value)
    }

    /// The default text without its quotes; `None` if the row has none.
    fn default_text(&self, key: &str) -> Option<&'static str> {
        let default = self.table.row(key)?.default;
        default.strip_prefix('"')?.strip_suffix('"')
    }

    fn wrong_type(&self, key: &str, value: Value<'_>, wanted: &str) -> ConfigError {
        let problem = ConfigProblem::WrongType {
            key: self.full(key),
            found: described(value.get_ref()).to_string(),
            wanted: wanted.to_string(),
        };
        self.lines.error(value.span().start, problem)
    }

    // ---- texts

    /// A text.
    pub fn text(&self, key: &'static str) -> Result<Option<Text>, ConfigError> {
        self.value(key).map(|value| self.text_of(key, value)).transpose()
    }

    /// A text that errors do not show.
    pub fn text_of_secret(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        self.value(key).map(|value| self.secret_of(key, value)).transpose()
    }

    /// A text, parsed by `read`.
    pub fn parsed<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Read<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        read(&text.text).map(Some).map_err(|reason| self.bad(key, text.at, &text.text, reason))
    }

    /// Like `parsed`, for a mandatory key; `reason` is for the error if it is missing.
    pub fn needed<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Read<T>,
        reason: &str,
    ) -> Result<T, ConfigError> {
        self.parsed(key, read)?.ok_or_else(|| self.missing(key, reason))
    }

    /// Like `parsed`, with the default of the row.
    pub fn parsed_or_default<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Read<T>,
    ) -> Result<T, ConfigError> {
        let text = match self.text(key)? {
            Some(text) => text,
            None => Text { text: self.default_text(key).unwrap_or_default().to_string(), at: self.at },
        };
        read(&text.text).map_err(|reason| self.bad(key, text.at, &text.text, reason))
    }

    /// One of several names, or the default of the row.
    pub fn choice<T: Copy>(&self, key: &'static str, named: &Named<T>) -> Result<T, ConfigError> {
        self.parsed_or_default(key, |text| named.read(text))
    }

    /// One of several names; `None` if the key is missing.
    pub fn choice_if_set<T: Copy>(
        &self,
        key: &'static str,
        named: &Named<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.parsed(key, |text| named.read(text))
    }

    /// A list of texts, or a single one; empty if the key is missing.
    pub fn texts(&self, key: &'static str) -> Result<Vec<Text>, ConfigError> {
        self.value(key).map_or(Ok(Vec::new()), |value| self.texts_of(key, value))
    }

    /// A list of texts, parsed by `read`, or the default of the row.
    pub fn parsed_list<T>(
        &self,
        key: &'static str,
        read: impl Fn(&str) -> Read<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let texts = match self.value(key) {
            Some(value) => self.texts_of(key, value)?,
            None => self.default_texts(key),
        };
        let parse = |text: &Text| read(&text.text).map_err(|why| self.bad(key, text.at, &text.text, why));
        texts.iter().map(parse).collect()
    }

    /// Several of several names, or the default of the row.
    pub fn choices<T: Copy>(&self, key: &'static str, named: &Named<T>) -> Result<Vec<T>, ConfigError> {
        self.parsed_list(key, |text| named.read_item(text))
    }

    /// The default of a list of texts.
    fn default_texts(&self, key: &str) -> Vec<Text> {
        let default = self.table.row(key).map_or("", |row| row.default);
        if matches!(default, "" | "[]") {
            return Vec::new();
        }
        let value = DeValue::parse(default).map(Spanned::into_inner);
        let texts = value.ok().and_then(|value| match value {
            DeValue::Array(items) => Some(items),
            _ => None,
        });
        let text = |item: &Spanned<DeValue<'_>>| Some(item.get_ref().as_str()?.to_string());
        let texts = texts.iter().flat_map(|items| items.iter()).filter_map(text);
        texts.map(|text| Text { text, at: self.at }).collect()
    }

    pub(crate) fn text_of(&self, key: &str, value: Value<'_>) -> Result<Text, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) if text.contains(|c: char| c.is_control()) => {
                Err(self.bad(key, value.span().start, text, "it has a control character; remove it"))
            }
            DeValue::String(text) => Ok(Text { text: text.to_string(), at: value.span().start }),
            _ => Err(self.wrong_type(key, value, "text in quotes")),
        }
    }

    pub(crate) fn secret_of(&self, key: &str, value: Value<'_>) -> Result<String, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            _ => Err(self.wrong_type(key, value, "text in quotes")),
        }
    }

    pub(crate) fn texts_of(&self, key: &str, value: Value<'_>) -> Result<Vec<Text>, ConfigError> {
        match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| self.text_of(key, item)).collect(),
            DeValue::String(_) => self.text_of(key, value).map(|text| vec![text]),
            _ => Err(self.wrong_type(key, value, "a list of texts: [\"…\", \"…\"]")),
        }
    }

    // ---- numbers

    /// A whole number, or the default of the row.
    pub fn whole<T: TryFrom<u64>>(&self, key: &'static str) -> Result<T, ConfigError> {
        let default = self.table.row(key).map_or("", |row| row.default);
        match self.whole_if_set(key)? {
            Some(number) => Ok(number),
            None => default
                .parse()
                .ok()
                .and_then(|number: u64| T::try_from(number).ok())
                .ok_or_else(|| self.bad(key, self.at, default, "not a number in the permitted range")),
        }
    }

    /// A whole number; `None` if the key is missing.
    pub fn whole_if_set<T: TryFrom<u64>>(&self, key: &'static str) -> Result<Option<T>, ConfigError> {
        let (Some(row), Some(value)) = (self.row(key), self.value(key)) else { return Ok(None) };
        let number = self.number_of(row, value)?;
        let fits = T::try_from(number)
            .map_err(|_| self.bad(key, value.span().start, "", "not a number in the permitted range"));
        fits.map(Some)
    }

    /// Whole seconds, or the default of the row.
    pub fn seconds(&self, key: &'static str) -> Result<Duration, ConfigError> {
        self.whole(key).map(Duration::from_secs)
    }

    /// Whole seconds; `None` if the key is missing.
    pub fn seconds_if_set(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        Ok(self.whole_if_set(key)?.map(Duration::from_secs))
    }

    /// Whole seconds, or the default of the row; `None` for 0, which means never.
    pub fn seconds_unless_zero(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        Ok(Some(self.seconds(key)?).filter(|time| !time.is_zero()))
    }

    pub(crate) fn number_of(&self, row: &Row, value: Value<'_>) -> Result<u64, ConfigError> {
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(row.name, value, "a whole number without quotes"));
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let reason = match row.takes {
            Takes::OneOf(numbers) => match parsed.filter(|number| numbers.contains(number)) {
                Some(number) => return Ok(number),
                None => format!("choose {}", or_numbers(numbers)),
            },
            Takes::Whole(least, most) => match parsed.filter(|number| (least..=most).contains(number)) {
                Some(number) => return Ok(number),
                None => format!("not a whole number from {least} to {most}"),
            },
            _ => "this key does not take a number".to_string(),
        };
        let (key, value_text) = (self.full(row.name), number.as_str().to_string());
        Err(self.lines.error(value.span().start, ConfigProblem::BadValue { key, value: value_text, reason }))
    }

    // ---- switches

    /// `true` or `false`, or the default of the row.
    pub fn switch(&self, key: &'static str) -> Result<bool, ConfigError> {
        match self.value(key) {
            Some(value) => self.switch_of(key, value),
            None => Ok(self.table.row(key).is_some_and(|row| row.default == "true")),
        }
    }

    pub(crate) fn switch_of(&self, key: &str, value: Value<'_>) -> Result<bool, ConfigError> {
        match value.get_ref() {
            DeValue::Boolean(on) => Ok(*on),
            _ => Err(self.wrong_type(key, value, "true or false without quotes")),
        }
    }

    /// A switch, or a list of texts or whole numbers.
    pub fn switch_or_codes(&self, key: &'static str) -> Result<Option<Result<bool, Vec<Text>>>, ConfigError> {
        self.value(key).map(|value| self.switch_or_codes_of(key, value)).transpose()
    }

    pub(crate) fn switch_or_codes_of(
        &self,
        key: &str,
        value: Value<'_>,
    ) -> Result<Result<bool, Vec<Text>>, ConfigError> {
        let wanted = "true, false, or a list of status codes: [503, \"5xx\"]";
        match value.get_ref() {
            DeValue::Boolean(on) => Ok(Ok(*on)),
            DeValue::Array(items) => {
                let code = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
                    DeValue::Integer(number) => {
                        Ok(Text { text: number.as_str().to_string(), at: item.span().start })
                    }
                    DeValue::String(_) => self.text_of(key, item),
                    _ => Err(self.wrong_type(key, item, wanted)),
                };
                items.iter().map(code).collect::<Result<_, _>>().map(Err)
            }
            _ => Err(self.wrong_type(key, value, wanted)),
        }
    }

    // ---- tables

    /// A table of texts, `{ 1 = "sales" }`, in the order of the file.
    pub fn pairs(&self, key: &'static str) -> Result<Vec<(String, Text)>, ConfigError> {
        self.value(key).map_or(Ok(Vec::new()), |value| self.pairs_of(key, value))
    }

    pub(crate) fn pairs_of(&self, key: &str, value: Value<'_>) -> Result<Vec<(String, Text)>, ConfigError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(key, value, r#"a table: { 1 = "…", 2 = "…" }"#));
        };
        let mut pairs: Vec<_> = table.iter().collect();
        pairs.sort_by_key(|(name, _)| name.span().start);
        let pairs = pairs.into_iter();
        pairs.map(|(name, value)| Ok((name.get_ref().to_string(), self.text_of(key, value)?))).collect()
    }

    /// A list of tables (`{ … }`), and of texts if the row allows them.
    pub fn items(&self, key: &'static str) -> Result<Vec<Result<Section<'a>, Text>>, ConfigError> {
        match (self.row(key).map(|row| row.takes), self.value(key)) {
            (Some(Takes::Tables(_, table)), Some(value)) => self.items_of(key, table, false, value),
            (Some(Takes::TablesOrTexts(_, table, _)), Some(value)) => self.items_of(key, table, true, value),
            _ => Ok(Vec::new()),
        }
    }

    /// One of several names, or a table.
    pub fn choice_or_table(
        &self,
        key: &'static str,
    ) -> Result<Option<Result<Text, Section<'a>>>, ConfigError> {
        match (self.row(key).map(|row| row.takes), self.value(key)) {
            (Some(Takes::ChoiceOrTable(_, table)), Some(value)) => {
                self.choice_or_table_of(key, table, value).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn choice_or_table_of(
        &self,
        key: &str,
        table: &'static Table,
        value: Value<'a>,
    ) -> Result<Result<Text, Section<'a>>, ConfigError> {
        match value.get_ref() {
            DeValue::Table(values) => Ok(Err(Section::open(self.lines, table, value.span().start, values))),
            DeValue::String(_) => self.text_of(key, value).map(Ok),
            _ => Err(self.wrong_type(key, value, "a text, or a { … } table")),
        }
    }

    /// A list of tables.
    pub fn tables(&self, key: &'static str) -> Result<Vec<Section<'a>>, ConfigError> {
        Ok(self.items(key)?.into_iter().filter_map(Result::ok).collect())
    }

    pub(crate) fn items_of(
        &self,
        key: &str,
        table: &'static Table,
        texts: bool,
        value: Value<'a>,
    ) -> Result<Vec<Result<Section<'a>, Text>>, ConfigError> {
        let wanted = if texts { "a list of texts or { … } tables" } else { "a list of { … } tables" };
        let item = |item: Value<'a>| match item.get_ref() {
            DeValue::Table(values) => Ok(Ok(Section::open(self.lines, table, item.span().start, values))),
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

/// A value's type in words; the value itself might be a secret.
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
