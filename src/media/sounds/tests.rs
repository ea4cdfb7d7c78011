//! The store with files in a folder of the test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::codec::Codec;
use crate::remote::SendFormat;
use crate::stage::{OpusMode, Segment, Sound};

const PATIENCE: Duration = Duration::from_secs(10);

fn wav(path: &Path, rate_hz: u32, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate_hz,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
}

struct Lab {
    store: SoundStore,
    folder: tempfile::TempDir,
}

impl Lab {
    fn new(limits: Limits) -> Self {
        Lab { store: SoundStore::start(limits).unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fetch(&self, wants: Vec<Want>, rate_hz: u32) -> Fetched {
        self.fetch_for(wants, Listener::plain(rate_hz))
    }

    fn fetch_for(&self, wants: Vec<Want>, listener: Listener) -> Fetched {
        let (told, fetched) = crossbeam_channel::bounded(1);
        self.store.fetch(wants, listener, move |fetched| told.send(fetched).unwrap());
        fetched.recv_timeout(PATIENCE).expect("an answer in time")
    }

    fn file(&self, name: &str, rate_hz: u32) -> Result<Sound, SoundError> {
        let mut fetched = self.fetch(vec![Want::File(self.path(name).into())], rate_hz)?;
        match fetched.pop() {
            Some(Segment::Sound(sound)) => Ok(sound),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_is_decoded_once_for_each_rate_and_shared() {
    let lab = Lab::new(Limits::default());
    wav(&lab.path("a.wav"), 48_000, &[1_000; 48_000]);
    let (one, other) = (lab.file("a.wav", 8_000).unwrap(), lab.file("a.wav", 8_000).unwrap());
    assert!(std::ptr::eq(&*one, &*other));
    assert_eq!(one.len(), 8_000);
    assert_eq!(lab.file("a.wav", 16_000).unwrap().len(), 16_000);
    let stats = lab.store.stats();
    assert_eq!((stats.decoded, stats.kept, stats.octets), (2, 2, 48_000));
}

#[test]
fn who_asks_while_it_is_decoded_waits_for_the_same() {
    let lab = Lab::new(Limits::default());
    wav(&lab.path("long.wav"), 44_100, &vec![500; 44_100 * 20]);
    let (told, fetched) = crossbeam_channel::unbounded();
    for _ in 0..10 {
        let told = told.clone();
        let wants = vec![Want::File(lab.path("long.wav").into()), Want::Made(Segment::Silence(5))];
        lab.store.fetch(wants, Listener::plain(8_000), move |fetched| told.send(fetched).unwrap());
    }
    for _ in 0..10 {
        let segments = fetched.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(segments.iter().map(Segment::len).collect::<Vec<_>>(), [160_000, 5]);
    }
    // A file after it in the queue.
    wav(&lab.path("next.wav"), 8_000, &[1; 80]);
    lab.file("next.wav", 8_000).unwrap();
    assert_eq!(lab.store.stats().decoded, 2);
}

#[test]
fn a_file_that_has_changed_is_read_again() {
    let lab = Lab::new(Limits::default());
    wav(&lab.path("a.wav"), 8_000, &[1; 100]);
    assert_eq!(lab.file("a.wav", 8_000).unwrap()[..], [1; 100]);
    wav(&lab.path("a.wav"), 8_000, &[2; 101]);
    assert_eq!(lab.file("a.wav", 8_000).unwrap()[..], [2; 101]);
    assert_eq!(lab.store.stats().kept, 1);
    std::fs::remove_file(lab.path("a.wav")).unwrap();
    assert!(lab.file("a.wav", 8_000).is_err(), "what is gone is not played from memory");
}

#[test]
fn memory_is_bounded_and_what_is_in_use_stays_whole() {
    let lab = Lab::new(Limits { octets: 3_000, ..Limits::default() });
    let names: Vec<String> = (0..5).map(|n| format!("{n}.wav")).collect();
    for name in &names {
        wav(&lab.path(name), 8_000, &[7; 600]);
    }
    let held: Vec<Sound> = names.iter().map(|name| lab.file(name, 8_000).unwrap()).collect();
    assert!(held.iter().all(|sound| sound[..] == [7; 600]));
    let stats = lab.store.stats();
    assert_eq!((stats.kept, stats.octets), (2, 2_400));
}

#[test]
fn what_cannot_be_played_is_named_with_its_reason() {
    let lab = Lab::new(Limits { longest: Duration::from_secs(1), ..Limits::default() });
    std::fs::write(lab.path("text.wav"), "no sound").unwrap();
    std::fs::create_dir(lab.path("folder.wav")).unwrap();
    wav(&lab.path("empty.wav"), 8_000, &[]);
    wav(&lab.path("long.wav"), 8_000, &[1; 8_001]);
    let said = |name| lab.file(name, 8_000).unwrap_err().0;
    for (name, why) in [
        ("missing.wav", "No such file"),
        ("text.wav", "convert it"),
        ("folder.wav", "not a regular file"),
        ("empty.wav", "("),
    ] {
        let said = said(name);
        assert!(said.contains(name) && said.contains(why), "{said}");
        assert!(check(&lab.path(name)).is_err(), "{name}");
    }
    assert_eq!(lab.file("long.wav", 8_000).unwrap().len(), 8_000, "its beginning is played");
    // One part that cannot be played fails the whole request.
    wav(&lab.path("good.wav"), 8_000, &[1; 80]);
    let wants = ["good.wav", "missing.wav"].map(|name| Want::File(lab.path(name).into()));
    assert!(lab.fetch(wants.to_vec(), 8_000).is_err());
    assert_eq!(lab.file("good.wav", 8_000).unwrap().len(), 80);
}

#[test]
fn a_folder_is_its_sounds_by_name() {
    let lab = Lab::new(Limits::default());
    for (n, name) in ["b.wav", "a.WAV", "c.wav"].into_iter().enumerate() {
        wav(&lab.path(name), 8_000, &vec![1; n + 1]);
    }
    std::fs::write(lab.path("notes.txt"), "x").unwrap();
    let folder = |name: &str| vec![Want::Folder(lab.path(name).into())];
    let lengths: Vec<usize> = lab.fetch(folder(""), 8_000).unwrap().iter().map(Segment::len).collect();
    assert_eq!(lengths, [2, 1, 3]);
    std::fs::create_dir(lab.path("none")).unwrap();
    assert!(lab.fetch(folder("none"), 8_000).unwrap_err().0.contains("no audio file"));
    std::fs::write(lab.path("none/b.wav"), "no sound").unwrap();
    assert!(check_folder(&lab.path("none")).unwrap_err().0.contains("none of its files can be played"));
    std::fs::write(lab.path("d.wav"), "no sound").unwrap();
    assert_eq!(check_folder(&lab.path("")).unwrap().len(), 1, "the others can");
}

#[test]
fn a_file_of_a_folder_that_cannot_be_played_is_left_out() {
    let lab = Lab::new(Limits::default());
    let folder = || vec![Want::Folder(lab.path("").into())];
    let lengths = || -> Result<Vec<usize>, _> {
        lab.fetch(folder(), 8_000).map(|segments| segments.iter().map(Segment::len).collect())
    };
    std::fs::write(lab.path("a.wav"), "no sound").unwrap();
    assert!(lengths().is_err(), "nothing else is there");
    assert!(lengths().unwrap_err().0.ends_with(" (none of its files)"), "it is known");
    wav(&lab.path("b.wav"), 8_000, &[1; 2]);
    wav(&lab.path("c.wav"), 8_000, &[1; 3]);
    assert_eq!(lengths(), Ok(vec![2, 3]));
    wav(&lab.path("a.wav"), 8_000, &[1; 40]);
    assert_eq!(lengths(), Ok(vec![40, 2, 3]), "it has been exchanged");
    std::fs::write(lab.path("b.wav"), "no sound at all").unwrap();
    let named = vec![Want::File(lab.path("b.wav").into())];
    assert!(lab.fetch(named, 8_000).is_err(), "by its name it is an error");
}

#[test]
fn what_is_heard_a_second_time_in_opus_is_encoded_for_all() {
    let lab = Lab::new(Limits::default());
    wav(&lab.path("a.wav"), 16_000, &[1_000; 16_000]);
    let target =
        SendFormat { payload_type: 96, codec: Codec::Opus, ptime_ms: 20, fec: false, max_bitrate: None };
    let mode = OpusMode::of(&target, 16_000).unwrap();
    let listener = Listener { rate_hz: 16_000, opus: Some(mode) };
    let fetch = || match lab.fetch_for(vec![Want::File(lab.path("a.wav").into())], listener).unwrap().pop() {
        Some(Segment::Sound(sound)) => sound,
        other => panic!("{other:?}"),
    };
    let first = fetch();
    assert!(first.lacks(&mode), "once is for one");
    assert!(std::ptr::eq(&*first, &*fetch()));
    let until = std::time::Instant::now() + PATIENCE;
    while first.lacks(&mode) {
        assert!(std::time::Instant::now() < until, "the second time it is encoded");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(first.packet(&mode, 49 * 320).is_some() && first.packet(&mode, 50 * 320).is_none());
}
