//! The values of `[field0]`, `[field1]` …: SIPp's file of `-inf`. Its first line is the order, each further one has the
//! fields of a call, separated by semicolons; what begins with `#` is a comment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::element::{Fault, ScenarioError};
use super::template::{Names, Piece, Template};

/// The fields of a call: each may have keywords.
pub type Line = Arc<[Vec<Piece>]>;

/// The lines of a file.
#[derive(Debug)]
pub struct Fields {
    random: bool,
    lines: Vec<Line>,
}

/// Reads a file.
///
/// # Errors
/// See [`ScenarioError`].
pub fn read(path: &Path, keys: &BTreeMap<String, String>) -> Result<Fields, ScenarioError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ScenarioError::Read { path: path.to_owned(), error })?;
    parse(&text, keys).map_err(|fault| ScenarioError::Lines { path: path.to_owned(), faults: vec![fault] })
}

pub(super) fn parse(text: &str, keys: &BTreeMap<String, String>) -> Result<Fields, Fault> {
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
    let mut variables = Vec::new();
    let mut read = |(at, line): (u32, &str)| {
        let mut names = Names { keys, variables: &mut variables };
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
    Ok(Fields { random, lines })
}

impl Fields {
    /// How many fields every line has.
    pub fn columns(&self) -> usize {
        self.lines.iter().map(|line| line.len()).min().unwrap_or_default()
    }

    /// The line of a call with this number, from 1; `chance`: any number.
    pub fn line(&self, number: u64, chance: u64) -> Line {
        let turn = if self.random { chance } else { number.saturating_sub(1) };
        self.lines[(turn % self.lines.len() as u64) as usize].clone()
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
        let fields = parse(file, &BTreeMap::new()).unwrap();
        assert_eq!(fields.columns(), 3);
        let names: Vec<_> = (1..=3).map(|number| text(&fields.line(number, 7)[0])).collect();
        assert_eq!(names, ["1000", "1001", "1000"]);
        assert_eq!(text(&fields.line(1, 0)[1]), "[]");
        let random = parse("RANDOM\na\nb\n", &BTreeMap::new()).unwrap();
        assert_eq!(text(&random.line(1, 3)[0]), "b");
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
            let (at, why) = parse(file, &BTreeMap::new()).unwrap_err();
            assert!(at == line && why.contains(said), "{file:?}: {at}: {why}");
        }
    }
}
