//! Records by number in memory that outlives the process: the latest of each counts, with what was added to it.
//!
//! The memory has two halves. Records are appended to one of them; when it is full, those that count are copied to the
//! other one, whose head then says that it is the later. A record has a length, a checksum and an end mark, and begins
//! at a multiple of [`ALIGN`]: what is torn or damaged is passed over, up to the next whole one.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

use bytes::Bytes;
use twox_hash::XxHash3_64;

use b2b_base::stepping::{Stepping, WORDS};
use b2b_sys::mapping::{Mapping, MappingError};

/// The beginning of each record and each half.
const ALIGN: usize = 64;
/// The head of a half: magic, version, boot, epoch, size, checksum.
const MAGIC: &[u8; 8] = b"b2bcalls";
const VERSION: u32 = 1;
/// The marks of a record, at its beginning and its end.
const BEGIN: u64 = 0x9d7e_3c51_b2b0_ca11;
const END: u64 = 0x11ac_0b2b_15c3_e7d9;
/// A record besides its octets: marks, number, length, checksum.
const OWN: usize = 8 + 8 + 4 + 8 + 8;
/// The length of a record that says that there is none of this number any more.
const GONE: u32 = u32::MAX;
/// The bit in the length of a record that is added to the one before of its number.
const ADDED: u32 = 1 << 31;

/// Identifies the start of the system: what was written before it is of no use.
pub(super) type Boot = [u8; 16];

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[error("no memory for calls at {}: {why}; set survive.file to a path in a folder of this user's, or survive.size_mb to less, or remove [survive]", path.display())]
pub struct StoreError {
    path: PathBuf,
    why: MappingError,
}

/// Records by number, each with what was added to it.
pub(super) type Records = Vec<(u64, Vec<Bytes>)>;

/// A record does not fit in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for calls is full; raise survive.size_mb")]
pub struct Full;

/// Where a record is in the current half.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    length: usize,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Store {
    mapping: Mapping,
    /// Behind the records: what the process works on.
    stepping: Stepping,
    boot: Boot,
    /// The half in use: the first or the second one.
    half: usize,
    epoch: u64,
    /// Where the next record begins.
    end: usize,
    latest: BTreeMap<u64, Vec<Place>>,
}

fn number<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk().copied()
}

fn number_64(octets: &[u8], at: usize) -> Option<u64> {
    number(octets, at).map(u64::from_le_bytes)
}

/// What a record's checksum covers.
fn checksum(key: u64, length: u32, octets: &[u8]) -> u64 {
    XxHash3_64::oneshot(octets)
        ^ XxHash3_64::oneshot(&[key.to_le_bytes(), u64::from(length).to_le_bytes()].concat())
}

/// The room that a record takes.
fn room(length: usize) -> usize {
    (OWN + length).next_multiple_of(ALIGN)
}

/// A record that was read.
struct Read {
    key: u64,
    /// `None`: there is none of this number any more.
    place: Option<Place>,
    is_added: bool,
    room: usize,
}

/// The whole record that begins here.
fn read(half: &[u8], at: usize) -> Option<Read> {
    if number_64(half, at)? != BEGIN {
        return None;
    }
    let key = number_64(half, at + 8)?;
    let written = number(half, at + 16).map(u32::from_le_bytes)?;
    let length = if written == GONE { 0 } else { (written & !ADDED) as usize };
    let octets = half.get(at + OWN - 8..)?.get(..length)?;
    let whole = number_64(half, at + 20)? == checksum(key, written, octets)
        && number_64(half, at + OWN - 8 + length)? == END;
    let place = (written != GONE).then_some(Place { at: at + OWN - 8, length });
    let is_added = written != GONE && written & ADDED != 0;
    whole.then(|| Read { key, place, is_added, room: room(length) })
}

/// Writes a record; its beginning last, so that it is whole or not there.
fn write(half: &mut [u8], at: usize, key: u64, octets: Option<&[u8]>, is_added: bool) {
    let added = if is_added { ADDED } else { 0 };
    let (octets, length) = (octets.unwrap_or_default(), octets.map_or(GONE, |it| it.len() as u32 | added));
    let Some(to) = half.get_mut(at..at + OWN + octets.len()) else { return };
    to[..8].fill(0);
    compiler_fence(Ordering::SeqCst);
    let (head, rest) = to.split_at_mut(OWN - 8);
    rest[..octets.len()].copy_from_slice(octets);
    rest[octets.len()..].copy_from_slice(&END.to_le_bytes());
    head[8..16].copy_from_slice(&key.to_le_bytes());
    head[16..20].copy_from_slice(&length.to_le_bytes());
    head[20..28].copy_from_slice(&checksum(key, length, octets).to_le_bytes());
    compiler_fence(Ordering::SeqCst);
    head[..8].copy_from_slice(&BEGIN.to_le_bytes());
}

/// The octets that a half of this boot, epoch and size begins with.
fn head(boot: &Boot, epoch: u64, size: usize) -> [u8; ALIGN] {
    let mut head = [0; ALIGN];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..28].copy_from_slice(boot);
    head[28..36].copy_from_slice(&epoch.to_le_bytes());
    head[36..44].copy_from_slice(&(size as u64).to_le_bytes());
    let sum = XxHash3_64::oneshot(&head[..44]);
    head[44..52].copy_from_slice(&sum.to_le_bytes());
    head
}

/// The epoch of a half; `None`: it is not of this boot, or none.
fn epoch(half: &[u8], boot: &Boot) -> Option<u64> {
    let epoch = number_64(half, 28).filter(|epoch| (1..u64::MAX).contains(epoch))?;
    (half.get(..ALIGN)? == head(boot, epoch, half.len())).then_some(epoch)
}

impl Store {
    /// Opens a store of this size; returns the records that it has, with their numbers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path, size: usize, boot: Boot) -> Result<(Store, Records), StoreError> {
        let size = size.next_multiple_of(2 * ALIGN).max(64 * ALIGN);
        let begin = std::fs::File::open(path).and_then(|mut file| {
            let mut begin = [0; MAGIC.len()];
            let length = file.read(&mut begin)?;
            Ok((begin, length))
        });
        // Whatever else it is, it is worth more than calls.
        if begin.is_ok_and(|(begin, length)| length > 0 && begin != [0; 8] && begin != *MAGIC) {
            let why = io::Error::new(io::ErrorKind::AlreadyExists, "it is another file, and stays as it is");
            return Err(StoreError { path: path.to_owned(), why: why.into() });
        }
        let mut mapping = Mapping::open(path, size + WORDS * size_of::<u64>()).map_err(|why| {
            let system = |error: io::Error| match error.kind() {
                io::ErrorKind::StorageFull => {
                    io::Error::new(error.kind(), format!("no room for {size} octets"))
                }
                _ => error,
            };
            let why = if let MappingError::System(error) = why { system(error).into() } else { why };
            StoreError { path: path.to_owned(), why }
        })?;
        let stepping = Stepping::new(Arc::new(mapping.words(WORDS)));
        let mut store =
            Store { mapping, stepping, boot, half: 0, epoch: 0, end: ALIGN, latest: BTreeMap::new() };
        let epochs = [0, 1].map(|half| epoch(store.half(half), &boot));
        match epochs
            .iter()
            .enumerate()
            .filter_map(|(half, epoch)| Some((half, (*epoch)?)))
            .max_by_key(|it| it.1)
        {
            Some((half, epoch)) => (store.half, store.epoch) = (half, epoch),
            None => {
                store.mapping.octets_mut().fill(0);
                store.stepping.take_left();
                store.begin(0, 1);
            }
        }
        store.read_all();
        let half = store.half(store.half);
        let octets =
            |place: &Place| Some(Bytes::copy_from_slice(half.get(place.at..place.at + place.length)?));
        let kept =
            store.latest.iter().map(|(key, places)| (*key, places.iter().filter_map(octets).collect()));
        let kept = kept.collect();
        Ok((store, kept))
    }

    /// What the process works on.
    pub fn stepping(&self) -> Stepping {
        self.stepping.clone()
    }

    /// The octets in use of one half, and those that it has.
    pub fn room(&self) -> (usize, usize) {
        (ALIGN + self.stays(), self.half(self.half).len())
    }

    /// The octets of the records that count.
    fn stays(&self) -> usize {
        self.latest.values().flatten().map(|place| room(place.length)).sum()
    }

    /// The numbers of the records.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.latest.keys().copied()
    }

    /// Removes all records, at once.
    pub fn clear(&mut self) {
        for half in [0, 1] {
            self.half_mut(half)[..ALIGN].fill(0);
        }
    }

    /// Writes a record in the place of an earlier one of this number.
    ///
    /// # Errors
    /// It does not fit in: an earlier one stays.
    pub fn put(&mut self, key: u64, octets: &[u8]) -> Result<(), Full> {
        let place = self.append(key, Some(octets), false)?;
        let places = self.latest.entry(key).or_default();
        places.clear();
        places.push(place);
        Ok(())
    }

    /// Adds octets to the record of this number.
    ///
    /// # Errors
    /// They do not fit in, or there is no record: it stays as it is.
    pub fn add(&mut self, key: u64, octets: &[u8]) -> Result<(), Full> {
        if !self.latest.contains_key(&key) {
            return Err(Full);
        }
        let place = self.append(key, Some(octets), true)?;
        self.latest.entry(key).or_default().push(place);
        Ok(())
    }

    /// Removes the record of this number.
    pub fn remove(&mut self, key: u64) -> bool {
        let Some(places) = self.latest.get(&key).cloned() else { return false };
        // Where not even this fits in, its beginnings are made invalid.
        if self.append(key, None, false).is_err() {
            let half = self.half;
            for place in places {
                self.half_mut(half)[place.at + 8 - OWN..place.at].fill(0);
            }
        }
        self.latest.remove(&key).is_some()
    }

    fn append(&mut self, key: u64, octets: Option<&[u8]>, is_added: bool) -> Result<Place, Full> {
        let length = octets.map_or(0, <[u8]>::len);
        if self.end + room(length) > self.half(self.half).len() {
            self.change_halves(room(length))?;
        }
        let (half, at) = (self.half, self.end);
        write(self.half_mut(half), at, key, octets, is_added);
        self.end += room(length);
        Ok(Place { at: at + OWN - 8, length })
    }

    /// Copies the records that count to the other half, which is the later one then. `more`: the room for
    /// the next one.
    fn change_halves(&mut self, more: usize) -> Result<(), Full> {
        if ALIGN + self.stays() + more > self.half(self.half).len() {
            return Err(Full);
        }
        let mut end = ALIGN;
        let middle = self.mapping.octets().len() / 2;
        let (first, second) = self.mapping.octets_mut().split_at_mut(middle);
        let (from, to) = if self.half == 0 { (first, second) } else { (second, first) };
        to[..ALIGN].fill(0);
        for (key, places) in &mut self.latest {
            for (index, place) in places.iter_mut().enumerate() {
                let octets = from.get(place.at..place.at + place.length).unwrap_or_default();
                write(to, end, *key, Some(octets), index > 0);
                place.at = end + OWN - 8;
                end += room(place.length);
            }
        }
        to[end..].fill(0);
        self.begin(1 - self.half, self.epoch + 1);
        self.end = end;
        Ok(())
    }

    /// Makes a half the current one.
    fn begin(&mut self, half: usize, epoch: u64) {
        let head = head(&self.boot, epoch, self.half(half).len());
        compiler_fence(Ordering::SeqCst);
        self.half_mut(half)[..ALIGN].copy_from_slice(&head);
        (self.half, self.epoch) = (half, epoch);
    }

    fn read_all(&mut self) {
        let (mut at, mut end) = (ALIGN, ALIGN);
        let mut latest: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
        let half = self.half(self.half);
        while at < half.len() {
            let Some(Read { key, place, is_added, room }) = read(half, at) else {
                at += ALIGN;
                continue;
            };
            match place {
                Some(place) if is_added => latest.entry(key).or_default().push(place),
                Some(place) => drop(latest.insert(key, vec![place])),
                None => drop(latest.remove(&key)),
            }
            at += room;
            end = at;
        }
        (self.end, self.latest) = (end, latest);
    }

    fn half(&self, half: usize) -> &[u8] {
        let (first, second) = self.mapping.octets().split_at(self.mapping.octets().len() / 2);
        if half == 0 { first } else { second }
    }

    fn half_mut(&mut self, half: usize) -> &mut [u8] {
        let middle = self.mapping.octets().len() / 2;
        let (first, second) = self.mapping.octets_mut().split_at_mut(middle);
        if half == 0 { first } else { second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    const BOOT: Boot = [3; 16];

    /// With the octets of each record together.
    fn open(path: &Path) -> (Store, Vec<(u64, Bytes)>) {
        let (store, records) = Store::open(path, 64 * 1_024, BOOT).unwrap();
        let together = |(key, all): (u64, Vec<Bytes>)| (key, Bytes::from(all.concat()));
        (store, records.into_iter().map(together).collect())
    }

    #[test]
    fn the_latest_record_of_each_number_is_there_again() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("calls");
        let (mut store, kept) = open(&path);
        assert!(kept.is_empty());
        for (key, octets) in [(1, &b"one"[..]), (2, b"two"), (1, b"another one"), (3, b""), (2, b"2")] {
            store.put(key, octets).unwrap();
        }
        store.remove(3);
        store.remove(77);
        assert_eq!(store.keys().count(), 2);
        drop(store);
        let expected = vec![(1, Bytes::from_static(b"another one")), (2, Bytes::from_static(b"2"))];
        assert_eq!(open(&path).1, expected);
        // Twice, and in a longer one.
        assert_eq!(open(&path).1, expected);
        let (other, kept) = Store::open(&path, 64 * 1_024, [4; 16]).unwrap();
        assert!(kept.is_empty() && other.keys().next().is_none(), "another start of the system");
    }

    #[test]
    fn a_full_half_gives_its_records_to_the_other_one() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("calls");
        let (mut store, _) = open(&path);
        for n in 0..1_000_u32 {
            let octets = n.to_le_bytes().repeat(100 + n as usize % 50);
            store.put(u64::from(n % 20), &octets).unwrap();
            if n % 7 == 0 {
                store.remove(u64::from(n % 3));
            }
        }
        let before: Vec<u64> = store.latest.keys().copied().collect();
        drop(store);
        let (mut store, kept) = open(&path);
        assert_eq!(kept.iter().map(|(key, _)| *key).collect::<Vec<_>>(), before);
        for (key, octets) in &kept {
            let n = u32::from_le_bytes(*octets.first_chunk().unwrap());
            assert_eq!((u64::from(n % 20), octets.len()), (*key, 4 * (100 + n as usize % 50)));
            assert!(n >= 980, "the latest: {n}");
        }
        // What does not fit in leaves everything as it is.
        assert_eq!(store.put(5, &[1; 40_000]), Err(Full));
        drop(store);
        let (mut store, again) = open(&path);
        assert_eq!(again, kept);
        let other_size = || Store::open(&path, 32 * 1_024, BOOT).unwrap().1.len();
        store.clear();
        drop(store);
        assert_eq!(open(&path).1, []);
        open(&path).0.put(1, b"new").unwrap();
        assert_eq!(open(&path).1.len(), 1);
        assert_eq!(other_size(), 0, "another size, another store");
    }

    #[test]
    fn a_record_that_is_cut_or_damaged_is_passed_over_and_no_other() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("calls");
        let octets = |n: u8| vec![n; 150];
        let fresh = || {
            let _ = std::fs::remove_file(&path);
            let (mut store, _) = open(&path);
            for n in 0..3 {
                store.put(u64::from(n), &octets(n)).unwrap();
            }
            store
        };
        let place = fresh().latest[&1][0];
        let begin = place.at + 8 - OWN;
        for at in begin..place.at + place.length + 8 {
            let mut store = fresh();
            store.half_mut(0)[at] ^= 1 << (at % 8);
            drop(store);
            let (_, kept) = open(&path);
            let others = kept.iter().filter(|(key, _)| *key != 1);
            let expected = [(0, octets(0)), (2, octets(2))];
            assert!(others.map(|(key, it)| (*key, it.to_vec())).eq(expected), "{at}");
            assert!(kept.iter().all(|(key, it)| *key != 1 || **it == octets(1)), "{at}");
            assert!(kept.len() == 2, "{at}: it is found");
            // The last octets are not written.
            let mut store = fresh();
            store.half_mut(0)[at..].fill(0);
            drop(store);
            let (mut store, kept) = open(&path);
            assert_eq!(kept, [(0, Bytes::from(octets(0)))], "{at}");
            store.put(9, b"next").unwrap();
            drop(store);
            assert_eq!(open(&path).1.len(), 2);
        }
    }

    #[test]
    fn a_store_that_another_has_or_that_finds_no_room_says_what_to_do() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("calls");
        let first = open(&path);
        let second = Store::open(&path, 64 * 1_024, BOOT).unwrap_err();
        assert!(
            second.to_string().contains("another process") && second.to_string().contains("survive.file")
        );
        drop(first);
        let nowhere = Store::open(&folder.path().join("no/calls"), 64 * 1_024, BOOT).unwrap_err();
        assert!(nowhere.to_string().contains("No such file"), "{nowhere}");
        let other = folder.path().join("key.pem");
        std::fs::write(&other, "-----BEGIN").unwrap();
        let error = Store::open(&other, 64 * 1_024, BOOT).unwrap_err();
        assert!(error.to_string().contains("another file"), "{error}");
        assert_eq!(std::fs::read(&other).unwrap(), b"-----BEGIN");
    }
}
