//! A file in memory, which outlives the process: what is written is there for the next one, without a system call.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nix::libc;

use b2b_base::stepping::Outlives;

/// Why a file is not mapped.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// Another process has it.
    #[error("another process uses it")]
    Taken,
    /// Others could read or change what is in it.
    #[error("it belongs to another user, or others may read or write it; remove it, or set its mode to 0600")]
    Open,
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A mapped file. No other process has it: it is locked.
#[derive(Debug)]
pub struct Mapping {
    mapped: Arc<Mapped>,
    /// The octets of it that are not in [`Words`].
    len: usize,
}

/// The last words of a mapped file, which threads share.
#[derive(Debug)]
pub struct Words {
    mapped: Arc<Mapped>,
    /// Where they begin.
    at: usize,
    count: usize,
}

#[derive(Debug)]
struct Mapped {
    /// Its lock.
    _file: File,
    begin: NonNull<u8>,
    len: usize,
}

// SAFETY: its owners divide the memory: it is changed through the `&mut` of one, or word by word.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapping {
    /// Maps this many octets of a file, more than none. A new one is made with mode 0600 and zeros, and its blocks are
    /// allocated now: a full disk is an error here, and none later.
    ///
    /// # Errors
    /// See [`MappingError`].
    pub fn open(path: &Path, len: usize) -> Result<Mapping, MappingError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)?;
        let found = file.metadata()?;
        // SAFETY: it always succeeds.
        let user = unsafe { libc::geteuid() };
        if found.uid() != user || found.mode() & 0o077 != 0 || !found.is_file() {
            return Err(MappingError::Open);
        }
        // SAFETY: the descriptor is open.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            return Err(match error.kind() {
                io::ErrorKind::WouldBlock => MappingError::Taken,
                _ => error.into(),
            });
        }
        let size = libc::off_t::try_from(len.max(1)).map_err(io::Error::other)?;
        // The next process looks at each page of the one before otherwise.
        let has_all = found.len().min(found.blocks() * 512) >= len as u64;
        // SAFETY: the descriptor is open.
        match if has_all { 0 } else { unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size) } } {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error).into()),
        }
        let (read_write, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping of `len` octets, all of which the file has.
        let begin =
            unsafe { libc::mmap(std::ptr::null_mut(), len.max(1), read_write, shared, file.as_raw_fd(), 0) };
        if begin == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        let begin = NonNull::new(begin.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let mapped = Arc::new(Mapped { _file: file, begin, len: len.max(1) });
        Ok(Mapping { mapped, len: len.max(1) })
    }

    /// Takes off so many of its last words, or as many as there are.
    pub fn words(&mut self, count: usize) -> Words {
        let count = count.min(self.len / size_of::<AtomicU64>());
        // A page begins at a multiple of every alignment.
        let at =
            (self.len - count * size_of::<AtomicU64>()) / align_of::<AtomicU64>() * align_of::<AtomicU64>();
        self.len = at;
        Words { mapped: self.mapped.clone(), at, count }
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        // SAFETY: the mapping has this many, and nobody else changes them while it is locked.
        unsafe { std::slice::from_raw_parts(self.mapped.begin.as_ptr(), self.len) }
    }

    /// The octets, to be written.
    pub fn octets_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.mapped.begin.as_ptr(), self.len) }
    }
}

impl Outlives for Words {
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has them, from a multiple of their alignment on, and they belong to this value alone.
        unsafe { std::slice::from_raw_parts(self.mapped.begin.add(self.at).cast().as_ptr(), self.count) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping of `open`, which no slice has outlived.
        unsafe { libc::munmap(self.begin.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_mapped_file_keeps_what_is_written_for_the_next_one_alone() {
        let folder = std::env::temp_dir().join(format!("b2b-mapping-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("calls");
        let mut mapping = Mapping::open(&path, 5_000).unwrap();
        assert!(mapping.octets().iter().all(|octet| *octet == 0));
        mapping.octets_mut()[4_990..].fill(7);
        assert!(matches!(Mapping::open(&path, 5_000), Err(MappingError::Taken)));
        let words = mapping.words(2);
        words.words()[1].store(u64::from_ne_bytes([9; 8]), std::sync::atomic::Ordering::Relaxed);
        assert_eq!((mapping.octets().len(), mapping.octets()[4_983]), (4_984, 0));
        drop(mapping);
        assert!(matches!(Mapping::open(&path, 5_000), Err(MappingError::Taken)), "its words are in use");
        drop(words);
        let again = Mapping::open(&path, 9_000).unwrap();
        assert_eq!((&again.octets()[4_990..4_994], again.octets().len()), (&[7, 7, 9, 9][..], 9_000));
        drop(again);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(Mapping::open(&path, 5_000), Err(MappingError::Open)));
        assert!(matches!(Mapping::open(&folder, 5_000), Err(MappingError::System(_))));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
