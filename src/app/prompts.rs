//! Prompts by name: files below one folder, and digits composed of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use b2b_call::controller::{Part, check_sound, check_sounds};

/// The location of prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// The folder that relative names refer to.
    pub folder: PathBuf,
    /// The extension of the digit files: `wav`.
    pub ending: String,
}

impl Default for Prompts {
    fn default() -> Self {
        Prompts { folder: PathBuf::from("prompts"), ending: "wav".to_owned() }
    }
}

impl Prompts {
    /// Prompts in this folder, with digits as WAV.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Prompts { folder: folder.into(), ..Prompts::default() }
    }

    /// The file of a prompt.
    pub fn path(&self, name: &str) -> Arc<Path> {
        self.folder.join(name).into()
    }

    /// Checks that a file can be played, by reading its beginning.
    ///
    /// # Errors
    /// The reason, and what to do about it.
    pub fn check(path: &Path) -> Result<(), String> {
        check_sound(path).map_err(|error| error.to_string())
    }

    /// The same for a folder of music: that a file of it can be played. Returns those that cannot, with the reason.
    ///
    /// # Errors
    /// If none can be played: the reason, and what to do about it.
    pub fn check_folder(folder: &Path) -> Result<Vec<String>, String> {
        check_sounds(folder).map_err(|error| error.to_string())
    }

    /// The file as a part of a prompt.
    pub fn file(&self, name: &str) -> Part {
        Part::File(self.path(name))
    }

    /// The file for a telephone key; `None` for any other character.
    pub fn digit(&self, key: char) -> Option<Arc<Path>> {
        let name = match key {
            '0'..='9' => key.to_string(),
            '*' => "star".to_owned(),
            '#' => "hash".to_owned(),
            _ => return None,
        };
        Some(self.path(&format!("digits/{name}.{}", self.ending)))
    }

    /// These keys in sequence; other characters are skipped.
    pub fn say_digits(&self, text: &str) -> Vec<Part> {
        text.chars().filter_map(|key| self.digit(key)).map(Part::File).collect()
    }

    /// Every file that may be needed for digits.
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
