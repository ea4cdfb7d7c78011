//! The file's tables, sorted.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};

use super::{ConfigError, ConfigProblem};
use b2b_config::keys::nearest;
use b2b_config::lines::Lines;
use b2b_config::section::{Section, described};
use b2b_config::table::Table;

/// The file's tables. Each has been opened, and checked against its rows.
pub(super) struct Root<'a> {
    lines: &'a Lines,
    sections: HashMap<&'static str, Vec<Section<'a>>>,
}

impl<'a> Root<'a> {
    /// Opens every table of `known`, and reports the others.
    pub fn open(known: &[&'static Table], lines: &'a Lines, root: &'a DeTable<'a>) -> Self {
        // tables within lists are part of another table: `[[ivr.node]]`, `{ … } in hosts`
        let tables = || known.iter().filter(|it| it.written.starts_with('[') && !it.name.contains('.'));
        let mut sections: HashMap<&'static str, Vec<Section<'a>>> = HashMap::new();
        for (name, value) in root {
            let at = name.span().start;
            let Some(table) = tables().find(|table| table.name == name.get_ref()) else {
                let key = name.get_ref().to_string();
                let problem = match ["topology", "expect", "scene", "orchestrator"].contains(&key.as_str()) {
                    true => ConfigProblem::IsPlan { key },
                    false => {
                        let nearest = nearest(&key, tables().map(|table| table.name)).unwrap_or_default();
                        ConfigProblem::UnknownKey { nearest: nearest.to_string(), key }
                    }
                };
                lines.report(lines.error(at, problem));
                continue;
            };
            let found = sections.entry(table.name).or_default();
            match value.get_ref() {
                DeValue::Table(values) if !table.is_list() => {
                    found.push(Section::open(lines, table, at, values));
                }
                DeValue::Array(items) if table.is_list() => {
                    for item in items {
                        let at = item.span().start;
                        match item.get_ref() {
                            DeValue::Table(values) => found.push(Section::open(lines, table, at, values)),
                            other => lines.report(lines.error(at, wrong(table, other))),
                        }
                    }
                }
                other => lines.report(lines.error(at, wrong(table, other))),
            }
        }
        Root { lines, sections }
    }

    /// Whether a table is present.
    pub fn has(&self, table: &Table) -> bool {
        !self.all(table).is_empty()
    }

    /// The tables of a kind that may occur several times.
    pub fn all(&self, table: &Table) -> &[Section<'a>] {
        self.sections.get(table.name).map_or(&[], Vec::as_slice)
    }

    /// Reads a table that occurs once; if absent, it is read as empty. An error is reported, too.
    pub fn one<T>(
        &self,
        table: &'static Table,
        read: impl FnOnce(&Section<'a>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        let absent = Section::absent(self.lines, table);
        let section = self.all(table).first().unwrap_or(&absent);
        read(section).inspect_err(|error| self.lines.report(error.clone()))
    }

    /// Reads tables that may occur several times; invalid ones are reported and left out.
    pub fn each<T>(
        &self,
        table: &Table,
        mut read: impl FnMut(&Section<'a>) -> Result<T, ConfigError>,
    ) -> Vec<T> {
        self.all(table).iter().filter_map(|section| self.lines.sound(read(section))).collect()
    }

    /// Reports a problem at a key of a table that occurs once.
    pub fn report(&self, table: &'static Table, key: &str, problem: ConfigProblem) {
        let place = self.all(table).first().map_or(0, |section| section.place(key));
        self.report_at(place, problem);
    }

    /// Reports a problem at an octet offset.
    pub fn report_at(&self, at: usize, problem: ConfigProblem) {
        self.lines.report(self.lines.error(at, problem));
    }
}

fn wrong(table: &Table, value: &DeValue<'_>) -> ConfigProblem {
    match value {
        DeValue::Table(_) | DeValue::Array(_) => ConfigProblem::Brackets {
            table: table.name.to_string(),
            right: table.written.to_string(),
            wrong: if table.is_list() { format!("[{}]", table.name) } else { format!("[[{}]]", table.name) },
        },
        value => ConfigProblem::WrongType {
            key: table.name.to_string(),
            found: described(value).to_string(),
            wanted: format!("a table: {}", table.written),
        },
    }
}
