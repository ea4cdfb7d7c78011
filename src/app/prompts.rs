//! Prompts by name: files below one folder, and digits that are put together from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use b2b_call::controller::Part;

/// Where prompts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// What relative names are relative to.
    pub folder: PathBuf,
    /// The ending of the files that digits are said with: `wav`.
    pub ending: String,
}

impl Default for Prompts {
    fn default() -> Self {
        Prompts { folder: PathBuf::from("prompts"), ending: "wav".to_owned() }
    }
}

impl Prompts {
    /// In this folder, digits as WAV.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Prompts { folder: folder.into(), ..Prompts::default() }
    }

    /// The file of a prompt.
    pub fn path(&self, name: &str) -> Arc<Path> {
        self.folder.join(name).into()
    }

    /// The same as a part of a prompt.
    pub fn file(&self, name: &str) -> Part {
        Part::File(self.path(name))
    }

    /// The file that says this key of a telephone; none: it is none.
    pub fn digit(&self, key: char) -> Option<Arc<Path>> {
        let name = match key {
            '0'..='9' => key.to_string(),
            '*' => "star".to_owned(),
            '#' => "hash".to_owned(),
            _ => return None,
        };
        Some(self.path(&format!("digits/{name}.{}", self.ending)))
    }

    /// These keys one after the other; whatever else is in the text is left out.
    pub fn say_digits(&self, text: &str) -> Vec<Part> {
        text.chars().filter_map(|key| self.digit(key)).map(Part::File).collect()
    }

    /// Every file that may be needed to say digits.
    pub fn digit_files(&self) -> Vec<Arc<Path>> {
        "0123456789".chars().filter_map(|key| self.digit(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_files_of_a_folder_of_their_own() {
        let prompts = Prompts::new("/p");
        let said = prompts.say_digits("+1 2#");
        let files: Vec<String> = said
            .iter()
            .map(|part| match part {
                Part::File(path) => path.display().to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(files, ["/p/digits/1.wav", "/p/digits/2.wav", "/p/digits/hash.wav"]);
        assert_eq!(prompts.digit_files().len(), 10);
        assert_eq!(prompts.file("a/b.mp3"), Part::File(Path::new("/p/a/b.mp3").into()));
    }
}
