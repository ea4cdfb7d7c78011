//! The values of `[field0]`, `[field1]` …: SIPp's files of `-inf`. The first line of a file is the order, each further one
//! has the fields of a call, separated by semicolons; what begins with `#` is a comment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::element::{Fault, ScenarioError};
use super::template::{Keyword, Names, Piece, Template};

/// The fields of a call: each may have keywords.
pub type Line = Arc<[Vec<Piece>]>;

/// The files of a scenario.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldFile>);

#[derive(Debug)]
struct FieldFile {
    path: PathBuf,
    random: bool,
    lines: Vec<Line>,
}

/// Reads files.
///
/// # Errors
/// See [`ScenarioError`].
pub fn read(paths: &[PathBuf], keys: &BTreeMap<String, String>) -> Result<Fields, ScenarioError> {
    let file = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScenarioError::Read { path: path.clone(), error })?;
        parse(path, &text, keys)
            .map_err(|fault| ScenarioError::Lines { path: path.clone(), faults: vec![fault] })
    };
    paths.iter().map(file).collect::<Result<_, _>>().map(Fields)
}

fn parse(path: &Path, text: &str, keys: &BTreeMap<String, String>) -> Result<FieldFile, Fault> {
    let mut lines =
        (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let (at, order) = lines.next().ok_or((1, "the file is empty; begin it with SEQUENTIAL".to_owned()))?;
    let random = match order.trim() {
        // A user is a call's number here.
        "SEQUENTIAL" | "USER" => false,
        "RANDOM" => true,
        other => {
            return Err((at, format!("{other:?} is no order; begin the file with SEQUENTIAL or RANDOM")));
        }
    };
    let (mut variables, none) = (Vec::new(), Fields::default());
    let mut read = |(at, line): (u32, &str)| {
        let mut names = Names { keys, variables: &mut variables, fields: &none };
        let fields = line.split(';').map(|field| {
            Template::lines(field, &mut names).map(|field| field.lines.concat()).map_err(|(_, why)| (at, why))
        });
        let fields: Vec<_> = fields.collect::<Result<_, _>>()?;
        match variables.is_empty() {
            true => Ok(Line::from(fields)),
            false => Err((at, "a field has no variables; write the text itself".to_owned())),
        }
    };
    let lines: Vec<Line> = lines.map(&mut read).collect::<Result<_, _>>()?;
    if lines.is_empty() {
        return Err((
            at,
            "there is no line with fields; write one for each call, like 1000;secret".to_owned(),
        ));
    }
    Ok(FieldFile { path: path.to_owned(), random, lines })
}

impl Fields {
    /// What stands for `[field0]`, `[field0 file="users.csv"]` or `[field0 line=3]`, without the brackets; `None`: it is
    /// another keyword. A line counts from 0.
    ///
    /// # Errors
    /// If there is no such field, and the remedy.
    pub fn named(&self, keyword: &str) -> Result<Option<Vec<Piece>>, String> {
        let mut words = keyword.split_whitespace();
        let number = words.next().and_then(|word| word.strip_prefix("field")?.parse::<usize>().ok());
        let Some(number) = number else { return Ok(None) };
        let (mut file, mut fixed) = (None, None);
        for word in words {
            let value = |value: &str| value.trim_matches(['"', '\'']).to_owned();
            match word.split_once('=') {
                Some(("file", name)) => file = Some(value(name)),
                Some(("line", at)) => {
                    fixed = Some(value(at).parse::<usize>().map_err(|_| {
                        format!("[{keyword}]: a line is a number, from 0; write it like line=2")
                    })?);
                }
                _ => return Err(format!("[{keyword}]: write it like [field0 file=\"users.csv\" line=2]")),
            }
        }
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let place = match &file {
            None => (!self.0.is_empty()).then_some(0),
            Some(name) => {
                self.0.iter().position(|it| it.path.file_name().is_some_and(|it| *it == *last(name)))
            }
        };
        let Some((place, file)) = place.and_then(|place| Some((place, self.0.get(place)?))) else {
            let name = file.as_deref().map_or("FILE".to_owned(), last);
            return Err(format!(
                "[{keyword}] has its value from a file; add --scenario-fields {name}, SIPp's -inf"
            ));
        };
        let short = |lines: &[Line]| lines.iter().map(|line| line.len()).min().unwrap_or_default();
        let few = |count: usize| {
            Err(format!("[{keyword}]: {} has lines with {count} fields; write more", file.path.display()))
        };
        match fixed {
            None if number < short(&file.lines) => {
                Ok(Some(vec![Piece::Keyword(Keyword::Field { file: place, number }, 0)]))
            }
            None => few(short(&file.lines)),
            Some(at) => match file.lines.get(at) {
                Some(line) => {
                    line.get(number).cloned().map_or_else(|| few(line.len()), |field| Ok(Some(field)))
                }
                None => Err(format!(
                    "[{keyword}]: {} has {} lines with fields, from 0; write more",
                    file.path.display(),
                    file.lines.len()
                )),
            },
        }
    }

    /// The lines of a call with this number, from 1, one of each file; `chance` gives any number.
    pub fn lines(&self, number: u64, mut chance: impl FnMut() -> u64) -> Vec<Line> {
        let line = |file: &FieldFile| {
            let chance = chance();
            let turn = if file.random { chance } else { number.saturating_sub(1) };
            file.lines[(turn % file.lines.len() as u64) as usize].clone()
        };
        self.0.iter().map(line).collect()
    }

    /// One file that is made up.
    #[cfg(test)]
    pub(super) fn made(path: &str, text: &str) -> Result<Fields, Fault> {
        parse(Path::new(path), text, &BTreeMap::new()).map(|file| Fields(vec![file]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(field: &[Piece]) -> String {
        field
            .iter()
            .map(|piece| if let Piece::Text(text) = piece { text.clone() } else { "[]".into() })
            .collect()
    }

    #[test]
    fn a_line_is_for_a_call_in_turn_and_a_field_may_have_keywords() {
        let file =
            "SEQUENTIAL\n# name;secret\n1000;[authentication username=1000 password=x];a\n\n1001;b;c\n";
        let fields = Fields::made("users.csv", file).unwrap();
        let names: Vec<_> = (1..=3).map(|number| text(&fields.lines(number, || 7)[0][0])).collect();
        assert_eq!(names, ["1000", "1001", "1000"]);
        assert_eq!(text(&fields.lines(1, || 0)[0][1]), "[]");
        let random = Fields::made("any.csv", "RANDOM\na\nb\n").unwrap();
        assert_eq!(text(&random.lines(1, || 3)[0][0]), "b");
    }

    #[test]
    fn a_field_is_of_its_file_and_of_the_line_that_is_named() {
        let mut fields = Fields::made("a/callers.csv", "SEQUENTIAL\nann;x\nbob;y\n").unwrap();
        fields.0.extend(Fields::made("callees.csv", "SEQUENTIAL\ncat\n").unwrap().0);
        let named = |keyword: &str| fields.named(keyword);
        let of = |file, number| Ok(Some(vec![Piece::Keyword(Keyword::Field { file, number }, 0)]));
        assert_eq!((named("field1"), named("field1 ")), (of(0, 1), of(0, 1)));
        assert_eq!(named("field0 file=\"b/callees.csv\""), of(1, 0));
        assert_eq!(named("field0 file=callers.csv line=\"1\""), Ok(Some(vec![Piece::Text("bob".into())])));
        assert_eq!(named("fields"), Ok(None));
        for (keyword, said) in [
            ("field0 file=\"none.csv\"", "add --scenario-fields none.csv"),
            ("field2", "a/callers.csv has lines with 2 fields"),
            ("field1 file=\"callees.csv\" line=0", "has lines with 1 fields"),
            ("field0 line=2", "has 2 lines"),
            ("field0 line=\"[$line", "a line is a number"),
            ("field0 row=1", "write it like [field0 file"),
        ] {
            let why = named(keyword).unwrap_err();
            assert!(why.contains(said), "{keyword}: {why}");
        }
    }

    #[test]
    fn what_is_no_such_file_says_its_line_and_what_to_write() {
        for (file, line, said) in [
            ("", 1, "begin it with SEQUENTIAL"),
            ("1000;x\n", 1, "is no order"),
            ("# c\nSEQUENTIAL\n", 2, "write one for each call"),
            ("RANDOM\n[mine]\n", 2, "--scenario-key mine=VALUE"),
            ("RANDOM\n[$a]\n", 2, "no variables"),
        ] {
            let (at, why) = Fields::made("users.csv", file).unwrap_err();
            assert!(at == line && why.contains(said), "{file:?}: {at}: {why}");
        }
    }
}
