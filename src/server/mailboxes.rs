//! The voicemail folder: recovery at the start, and the thread that moves messages.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use tokio::sync::oneshot;

use super::recordings::lock;
use b2b_app::voicemail::{Age, COMING, FileWork, Message, MessageFiles, SHORTEST, VoicemailConfig};
use b2b_call::recording::{Coding, is_complete, opus_lasts, recover};

/// Octets per second: 8,000 samples of 16 bits.
const SECOND: u64 = 16_000;
const SECOND_OF_GSM: u64 = 1_625;
/// Octets before the first sample.
const HEADER: u64 = 44;

enum Work {
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
}

type Reply = oneshot::Sender<Result<(), String>>;

/// The folder, locked against other servers as long as this exists.
#[derive(Debug)]
pub struct Folder {
    _lock: File,
    work: Option<Sender<(Work, Reply)>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Folder {
    /// Opens the folder; messages whose recording was cut off when an earlier process was killed become
    /// complete messages. Must be called before anything is recorded.
    ///
    /// # Errors
    /// If it cannot be created, or another server has it; in words.
    pub fn open(config: &VoicemailConfig) -> Result<Folder, String> {
        let path = config.folder.clone();
        let refused = |error: io::Error| {
            format!("voicemail.folder {} cannot be used: {error}; choose another folder", path.display())
        };
        fs::create_dir_all(&path).map_err(refused)?;
        let lock = lock(&path).map_err(refused)?;
        for mailbox in &config.mailboxes {
            // Callers and the machine's owner are told; calls go on.
            if let Err(error) = settle(config, &mailbox.name) {
                tracing::error!("mailbox {}: {error}; callers cannot leave messages there", mailbox.name);
            }
        }
        let (work, works) = crossbeam_channel::unbounded::<(Work, Reply)>();
        let run = move || {
            for (work, reply) in works {
                // A requester that no longer waits needs no answer; the work was done all the same.
                let _ = reply.send(work.run().map_err(|error| error.to_string()));
            }
        };
        let thread = std::thread::Builder::new().name("voicemail-files".into()).spawn(run);
        let thread = Mutex::new(Some(thread.map_err(refused)?));
        Ok(Folder { _lock: lock, work: Some(work), thread })
    }

    fn ask(&self, work: Work) -> FileWork {
        let (reply, answer) = oneshot::channel();
        if let Some(sender) = &self.work {
            // If the thread is gone, the dropped channel gives the answer below.
            let _ = sender.send((work, reply));
        }
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err("the server is stopping".to_owned())) })
    }
}

impl MessageFiles for Folder {
    fn rename(&self, from: &Path, to: &Path) -> FileWork {
        self.ask(Work::Rename { from: from.into(), to: to.into() })
    }

    fn remove(&self, path: &Path) -> FileWork {
        self.ask(Work::Remove(path.into()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.work.take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that moves messages panicked");
        }
    }
}

impl Work {
    fn run(self) -> io::Result<()> {
        let named = |path: &Path, error: &io::Error| io::Error::other(format!("{}: {error}", path.display()));
        match self {
            Work::Rename { from, to } => rename(&from, &to).map_err(|error| named(&to, &error)),
            Work::Remove(path) => fs::remove_file(&path).map_err(|error| named(&path, &error)),
        }
    }
}

/// Renames to an unused name, and syncs to the disk.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::Error::other("there is another file of this name"));
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    fs::rename(from, to)?;
    File::open(folder)?.sync_all()
}

/// Turns the messages that a killed process left in a mailbox into complete messages, if they are long enough.
fn settle(config: &VoicemailConfig, mailbox: &str) -> io::Result<()> {
    let coming = config.folder.join(mailbox).join(COMING);
    fs::create_dir_all(&coming)?;
    recover(&coming)?;
    for entry in fs::read_dir(&coming)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !is_complete(&name) || !entry.file_type()?.is_file() {
            continue;
        }
        let second = if config.coding == Coding::Gsm { SECOND_OF_GSM } else { SECOND };
        let is_long = match name.ends_with(Coding::Opus.ending()) {
            true => opus_lasts(&entry.path()) >= SHORTEST,
            false => entry.metadata()?.len() >= HEADER + second * SHORTEST.as_secs(),
        };
        match is_long {
            true => rename(&entry.path(), &config.folder_of(mailbox, Age::New).join(entry.file_name()))?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// The messages of a mailbox; a mailbox without folders has none.
pub fn messages(config: &VoicemailConfig, mailbox: &str) -> Vec<Message> {
    let of = |age: Age| {
        let entries = fs::read_dir(config.folder_of(mailbox, age)).into_iter().flatten().flatten();
        let message = move |entry: fs::DirEntry| {
            let file = entry.file_name().into_string().ok()?;
            let good = is_complete(&file) && entry.file_type().ok()?.is_file();
            good.then_some(Message { file, age })
        };
        entries.filter_map(message).collect::<Vec<_>>()
    };
    // A message in both folders was being moved when the machine went down: it is an old one.
    [Age::New, Age::Old].into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_app::voicemail::MailboxConfig;
    use b2b_base::util::secret::SecretText;

    fn config(folder: &Path) -> VoicemailConfig {
        let mut config = VoicemailConfig::new(folder.join("vm"));
        config.mailboxes.push(MailboxConfig::new("1001", SecretText::new("1")));
        config
    }

    fn put(path: PathBuf, octets: usize) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, vec![0; octets]).expect("a file");
    }

    fn files(config: &VoicemailConfig) -> Vec<(Age, String)> {
        let mut found: Vec<_> = messages(config, "1001").into_iter().map(|it| (it.age, it.file)).collect();
        found.sort();
        found
    }

    #[test]
    fn what_a_killed_process_left_becomes_a_message_if_it_is_long_enough() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = config(dir.path());
        let of = |folder: &str| config.folder.join("1001").join(folder);
        put(of("tmp").join(".a.wav.part"), 16_044);
        put(of("tmp").join("b.wav"), 16_043);
        put(of("old").join("c.wav"), 50);
        put(of("new").join("notes.txt"), 50);
        let folder = Folder::open(&config).expect("a folder");
        assert_eq!(files(&config), [(Age::New, "a.wav".to_owned()), (Age::Old, "c.wav".to_owned())]);
        assert_eq!(fs::read_dir(of("tmp")).expect("a folder").count(), 0);
        assert!(Folder::open(&config).expect_err("it is taken").contains("another server"));
        drop(folder);
        Folder::open(&config).expect("it is free");
    }

    #[test]
    fn messages_move_go_and_never_take_the_place_of_another_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = config(dir.path());
        let path = |age: Age, file: &str| config.folder_of("1001", age).join(file);
        put(path(Age::New, "a.wav"), 50);
        put(path(Age::New, "b.wav"), 50);
        put(path(Age::Old, "b.wav"), 7);
        let folder = Folder::open(&config).expect("a folder");
        let wait = |work: FileWork| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(work)
        };
        wait(folder.rename(&path(Age::New, "a.wav"), &path(Age::Old, "a.wav"))).expect("moved");
        let taken = wait(folder.rename(&path(Age::New, "b.wav"), &path(Age::Old, "b.wav")));
        assert!(taken.expect_err("it is taken").contains("another file"));
        wait(folder.remove(&path(Age::New, "b.wav"))).expect("removed");
        assert!(wait(folder.remove(&path(Age::New, "b.wav"))).is_err());
        assert_eq!(files(&config), [(Age::Old, "a.wav".to_owned()), (Age::Old, "b.wav".to_owned())]);
    }

    #[test]
    fn a_mailbox_whose_folder_cannot_be_made_does_not_keep_the_server_from_starting() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = config(dir.path());
        put(config.folder.join("1001"), 1);
        Folder::open(&config).expect("a folder");
        assert_eq!(files(&config), []);
    }
}
