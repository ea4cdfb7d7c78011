//! The tables of a configuration file, and their keys. A [`Row`] is the only description of a key: its type,
//! its default, whether a change requires a restart, its requirement on the media backend, its meaning.
//! Reading, checking, documentation and the schema all use the rows.

use crate::value::Read;

/// A table of the file.
#[derive(Debug)]
pub struct Table {
    /// Its name: `server`, `user`.
    pub name: &'static str,
    /// Its notation: `[server]`, `[[user]]`, `{ … }` for tables in a list.
    pub written: &'static str,
    /// Its description.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Row],
}

impl Table {
    /// The row of a key.
    pub fn row(&self, key: &str) -> Option<&'static Row> {
        self.keys.iter().find(|row| row.name == key)
    }

    /// Whether the table can be repeated.
    pub fn is_list(&self) -> bool {
        self.written.starts_with("[[")
    }
}

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name in the file.
    pub name: &'static str,
    /// The type of its value.
    pub takes: Takes,
    /// The default, as TOML; empty if it needs a description.
    pub default: &'static str,
    /// Its description, including the default where `default` is empty.
    pub about: &'static str,
    /// When a change takes effect.
    pub applies: Applies,
    /// The requirement of some of its values on the media backend.
    pub needs: Option<Need>,
}

/// When a change of a key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// At a reload.
    Live,
    /// At the next start; until then the old value applies.
    AtRestart,
}

/// A value's requirement on the media backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The values with this requirement, as in the file but without quotes; empty: all.
    pub values: &'static [&'static str],
    /// The name of the capability.
    pub capability: &'static str,
    /// The remedy if it is missing.
    pub fix: &'static str,
}

impl Row {
    /// A key that a reload changes, without a requirement on the media backend.
    pub const fn new(name: &'static str, takes: Takes, default: &'static str, about: &'static str) -> Row {
        Row { name, takes, default, about, applies: Applies::Live, needs: None }
    }

    /// The same key, but a change requires a restart.
    #[must_use]
    pub const fn at_restart(self) -> Row {
        Row { applies: Applies::AtRestart, ..self }
    }

    /// The same key, but these values (empty: all) have this requirement on the media backend.
    #[must_use]
    pub const fn needs(
        self,
        values: &'static [&'static str],
        capability: &'static str,
        fix: &'static str,
    ) -> Row {
        Row { needs: Some(Need { values, capability, fix }), ..self }
    }
}

/// Validates a text.
pub type Check = fn(&str) -> Read<()>;

/// The type of a key's value. Descriptions are for display; without one, it follows from the rest.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// A text.
    Text(&'static str, Check),
    /// A list of texts, or one of them.
    Texts(&'static str, Check),
    /// A text that errors do not show.
    Secret(&'static str),
    /// `true` or `false`.
    Switch,
    /// A whole number, minimum and maximum. The key's name states the unit: `_s` is seconds.
    Whole(u64, u64),
    /// One of these numbers.
    OneOf(&'static [u64]),
    /// One of several names.
    Choice(&'static (dyn Names + Sync)),
    /// A list of several names, or one of them.
    Choices(&'static (dyn Names + Sync)),
    /// A table of texts.
    Pairs(&'static str),
    /// A list of tables.
    Tables(&'static str, &'static Table),
    /// A list of tables and texts, or one text.
    TablesOrTexts(&'static str, &'static Table, Check),
    /// One of several names, or a table.
    ChoiceOrTable(&'static (dyn Names + Sync), &'static Table),
    /// `true`, `false`, or a list of whole numbers and texts.
    SwitchOrCodes(&'static str, Check),
}

/// Accepts any text.
///
/// # Errors
/// None.
pub const fn any(_: &str) -> Read<()> {
    Ok(())
}

/// Any text.
pub const TEXT: Takes = Takes::Text("text", any);

/// Defines rows: the key, its type, its default as TOML if it has one, [`Row::at_restart`] and [`Row::needs`]
/// where they apply, and its description. A leading `..ROWS;` adds the rows of that list after the table's
/// own.
#[macro_export]
macro_rules! rows {
    (..$shared:path; $($own:tt)*) => {{
        const OWN: &[$crate::table::Row] = $crate::rows! { $($own)* };
        const ALL: [$crate::table::Row; OWN.len() + $shared.len()] = $crate::table::joined(OWN, $shared);
        &ALL
    }};
    ($($name:ident: $takes:expr $(=> $default:tt)?, $($method:ident $arguments:tt,)* $about:literal;)*) => {
        &[$($crate::table::Row::new(stringify!($name), $takes, $crate::rows!(@default $($default)?), $about)
            $(.$method $arguments)*),*]
    };
    (@default $default:tt) => { stringify!($default) };
    (@default) => { "" };
}

/// Concatenates both lists to `N` rows; the second one must not be empty.
#[must_use]
pub const fn joined<const N: usize>(first: &[Row], second: &[Row]) -> [Row; N] {
    assert!(first.len() + second.len() == N);
    let (mut all, mut place) = ([second[0]; N], 0);
    while place < N {
        all[place] = if place < first.len() { first[place] } else { second[place - first.len()] };
        place += 1;
    }
    all
}

/// The type of a text that a function parses: its description, and that function.
#[macro_export]
macro_rules! text {
    ($words:expr, $read:expr) => {
        $crate::table::Takes::Text($words, |text| $read(text).map(drop))
    };
}

/// The same for a list of texts.
#[macro_export]
macro_rules! texts {
    ($words:expr, $read:expr) => {
        $crate::table::Takes::Texts($words, |text| $read(text).map(drop))
    };
}

/// Values selected by name.
#[derive(Debug)]
pub struct Named<T: 'static> {
    /// The start of the error text: `no such strategy; choose`.
    pub refusal: &'static str,
    /// The names, in display order.
    pub values: &'static [(&'static str, T)],
}

impl<T: Copy> Named<T> {
    /// The value with this name.
    ///
    /// # Errors
    /// The valid names.
    pub fn read(&self, text: &str) -> Read<T> {
        let found = self.values.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("{} {}", self.refusal, or(&self.plain())))
    }

    /// Like [`Named::read`], for an item of a list.
    ///
    /// # Errors
    /// The valid names.
    pub fn read_item(&self, text: &str) -> Read<T> {
        self.read(text).map_err(|_| format!("{} {}", self.refusal, self.plain().join(", ")))
    }

    /// All values.
    pub fn all(&self) -> Vec<T> {
        self.values.iter().map(|(_, value)| *value).collect()
    }

    fn plain(&self) -> Vec<String> {
        self.values.iter().map(|(name, _)| (*name).to_string()).collect()
    }
}

impl<T: PartialEq> Named<T> {
    /// The name of a value.
    pub fn name(&self, value: &T) -> &'static str {
        self.values.iter().find(|(_, known)| known == value).map_or("", |(name, _)| *name)
    }
}

/// The names of [`Named`] values of any type.
pub trait Names: std::fmt::Debug {
    /// The names.
    fn names(&self) -> Vec<&'static str>;

    /// Whether a text is one of them.
    ///
    /// # Errors
    /// The valid names.
    fn check(&self, text: &str) -> Read<()>;

    /// Like [`Names::check`], for an item of a list.
    ///
    /// # Errors
    /// The valid names.
    fn check_item(&self, text: &str) -> Read<()>;
}

impl<T: Copy + std::fmt::Debug> Names for Named<T> {
    fn names(&self) -> Vec<&'static str> {
        self.values.iter().map(|(name, _)| *name).collect()
    }

    fn check(&self, text: &str) -> Read<()> {
        self.read(text).map(drop)
    }

    fn check_item(&self, text: &str) -> Read<()> {
        self.read_item(text).map(drop)
    }
}

impl Takes {
    /// The description for display: `0 to 3600`.
    pub fn words(&self) -> String {
        let quoted = |names: &dyn Names| -> Vec<String> {
            names.names().into_iter().map(|name| format!("`{name}`")).collect()
        };
        match *self {
            Takes::Text(words, _)
            | Takes::Texts(words, _)
            | Takes::Secret(words)
            | Takes::Pairs(words)
            | Takes::Tables(words, _)
            | Takes::TablesOrTexts(words, ..)
            | Takes::SwitchOrCodes(words, _) => words.to_string(),
            Takes::Switch => "true or false".to_string(),
            Takes::Whole(least, most) => format!("{least} to {most}"),
            Takes::OneOf(numbers) => or_numbers(numbers),
            Takes::Choice(names) => or(&quoted(names)),
            Takes::ChoiceOrTable(names, table) => {
                format!("{}, or a table ({})", quoted(names).join(", "), table.written)
            }
            Takes::Choices(names) => format!("list of {}", quoted(names).join(", ")),
        }
    }
}

/// `8000, 16000 or 48000`
pub fn or_numbers(numbers: &[u64]) -> String {
    or(&numbers.iter().map(u64::to_string).collect::<Vec<_>>())
}

/// `a, b or c`
fn or(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_takes_is_said_in_words() {
        static TRANSPORTS: Named<u8> =
            Named { refusal: "no such transport; choose", values: &[("udp", 1), ("tcp", 2), ("tls", 3)] };
        for (takes, words) in [
            (Takes::Whole(0, 3_600), "0 to 3600"),
            (Takes::OneOf(&[8_000, 16_000]), "8000 or 16000"),
            (Takes::Choice(&TRANSPORTS), "`udp`, `tcp` or `tls`"),
            (Takes::Choices(&TRANSPORTS), "list of `udp`, `tcp`, `tls`"),
            (Takes::Switch, "true or false"),
            (TEXT, "text"),
        ] {
            assert_eq!(takes.words(), words);
        }
        assert_eq!(TRANSPORTS.read("tcp"), Ok(2));
        assert_eq!(TRANSPORTS.read("sctp").unwrap_err(), "no such transport; choose udp, tcp or tls");
    }
}
