//! Opens a table: checks its content against its rows.

use toml::de::{DeTable, DeValue};

use crate::keys::nearest;
use crate::lines::{Asked, Lines, Text};
use crate::problem::{ConfigError, ConfigProblem};
use crate::section::{Section, Value};
use crate::table::{Row, Table, Takes};
use crate::value::Read;

impl<'a> Section<'a> {
    /// Opens a table of the file. Unknown keys and invalid values are reported.
    pub fn open(lines: &'a Lines, table: &'static Table, at: usize, values: &'a DeTable<'a>) -> Self {
        let mut section = Section::absent(lines, table);
        section.at = at;
        for (name, value) in values {
            match table.row(name.get_ref()) {
                Some(row) => section.entries.push((row, name.span(), value)),
                None => {
                    let name_of = |row: &'static Row| row.name;
                    let nearest = nearest(name.get_ref(), table.keys.iter().map(name_of)).unwrap_or_default();
                    let key = section.full(name.get_ref());
                    let problem = ConfigProblem::UnknownKey { key, nearest: nearest.into() };
                    let error = lines.error(name.span().start, problem);
                    section.unknown.get_or_insert_with(|| error.clone());
                    lines.report(error);
                }
            }
        }
        section.entries.sort_by_key(|(_, span, _)| span.start);
        for (row, span, value) in &section.entries {
            lines.sound(section.check(row, value));
            section.ask(row, span.start, value);
        }
        section
    }

    /// Checks a value against its row.
    fn check(&self, row: &'static Row, value: Value<'a>) -> Result<(), ConfigError> {
        let key = row.name;
        let checked = |text: &Text, check: &dyn Fn(&str) -> Read<()>| {
            check(&text.text).map_err(|why| self.bad(key, text.at, &text.text, why))
        };
        let all = |texts: Vec<Text>, check: &dyn Fn(&str) -> Read<()>| {
            for text in &texts {
                self.lines.sound(checked(text, check));
            }
            Ok(())
        };
        match row.takes {
            Takes::Text(_, check) => checked(&self.text_of(key, value)?, &check),
            Takes::Choice(names) => checked(&self.text_of(key, value)?, &|text| names.check(text)),
            Takes::Texts(_, check) => all(self.texts_of(key, value)?, &check),
            Takes::Choices(names) => all(self.texts_of(key, value)?, &|text| names.check_item(text)),
            Takes::Secret(_) => self.secret_of(key, value).map(drop),
            Takes::Switch => self.switch_of(key, value).map(drop),
            Takes::Whole(..) | Takes::OneOf(_) => self.number_of(row, value).map(drop),
            Takes::Pairs(_) => self.pairs_of(key, value).map(drop),
            Takes::Tables(_, table) => self.items_of(key, table, false, value).map(drop),
            Takes::TablesOrTexts(_, table, check) => {
                let items = self.items_of(key, table, true, value)?;
                all(items.into_iter().filter_map(Result::err).collect(), &check)
            }
            Takes::ChoiceOrTable(names, table) => match self.choice_or_table_of(key, table, value)? {
                Ok(text) => checked(&text, &|text| names.check(text)),
                // the code that reads it opens it again: its requirements are noted only once
                Err(_) => Ok(()),
            },
            Takes::SwitchOrCodes(_, check) => {
                all(self.switch_or_codes_of(key, value)?.err().unwrap_or_default(), &check)
            }
        }
    }

    /// Notes a value's requirement on the media backend.
    fn ask(&self, row: &'static Row, at: usize, value: Value<'a>) {
        let Some(need) = row.needs else { return };
        let written = match value.get_ref() {
            DeValue::Boolean(on) => on.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => String::new(),
        };
        let words = match (need.values, value.get_ref()) {
            ([], _) => format!("{} = …", row.name),
            (values, _) if !values.contains(&written.as_str()) => return,
            (_, DeValue::String(_)) => format!("{} = {written:?}", row.name),
            _ => format!("{} = {written}", row.name),
        };
        let name = self.entries.iter().find(|(row, ..)| row.name == "name");
        let who = match name.map(|(.., value)| value.get_ref()) {
            Some(DeValue::String(name)) => format!("{} {name:?}", self.table.name),
            _ => self.table.written.to_string(),
        };
        self.lines.ask(Asked { line: self.lines.line(at), who, words, need });
    }
}
