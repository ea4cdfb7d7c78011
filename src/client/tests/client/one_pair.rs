//! Several calls with one microphone and one loudspeaker: no voice is heard twice.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use b2b_client::audio::Incoming;
use b2b_client::{
    Audio, Call, ClientEvent, DeviceError, DeviceSide, Devices, Loudspeaker, Microphone, SipClient, Sound,
    SoundSystem,
};
use b2b_test_support::client::hand::{builder, client, connected_to};
use b2b_test_support::client::within;

/// Longer than any test.
const FOREVER: u32 = 3_600_000;

#[derive(Clone, Default)]
struct Fake(Arc<State>);

#[derive(Default)]
struct State {
    /// The level of the microphones; the named one has half of it.
    says: AtomicI32,
    opened: AtomicU32,
    /// Peak of the last played frame.
    played: AtomicI32,
}

struct Device(Fake, i16);

impl Microphone for Device {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(20));
        let loud = self.0.0.says.load(Ordering::SeqCst) as i16 / self.1;
        frame.iter_mut().enumerate().for_each(|(n, it)| *it = if n % 20 < 10 { loud } else { -loud });
        Ok(())
    }
}

impl Loudspeaker for Device {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        let peak = frame.iter().map(|sample| sample.saturating_abs()).max().unwrap_or(0);
        self.0.0.played.store(i32::from(peak), Ordering::SeqCst);
        Ok(())
    }
}

impl Fake {
    fn open(&self, name: Option<&str>) -> Box<Device> {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        Box::new(Device(self.clone(), if name.is_some() { 2 } else { 1 }))
    }
}

impl SoundSystem for Fake {
    fn microphone(&self, name: Option<&str>, _: u32) -> io::Result<Box<dyn Microphone>> {
        Ok(self.open(name))
    }

    fn loudspeaker(&self, name: Option<&str>, _: u32) -> io::Result<Box<dyn Loudspeaker>> {
        Ok(self.open(name))
    }
}

/// Waits for ten consecutive frames with peaks in this range.
async fn peaks(what: &str, hears: &mut Incoming, range: std::ops::Range<i16>) {
    let mut last = 0;
    let heard = async {
        let mut in_a_row = 0;
        while in_a_row < 10 {
            let frame = hears.next().await.expect("the call is up");
            last = frame.samples().iter().map(|sample| sample.saturating_abs()).max().unwrap_or(0);
            in_a_row = if range.contains(&last) { in_a_row + 1 } else { 0 };
        }
    };
    let in_time = tokio::time::timeout(b2b_test_support::client::PATIENCE, heard).await;
    assert!(in_time.is_ok(), "{what}: {last} is not in {range:?}");
}

/// Waits until the loudspeaker has peaks in this range for a fifth of a second.
async fn played(what: &str, fake: &Fake, range: std::ops::Range<i32>) {
    within(what, async {
        let mut in_a_row = 0;
        while in_a_row < 20 {
            in_a_row = if range.contains(&fake.0.played.load(Ordering::SeqCst)) { in_a_row + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A host with devices in calls with two guests: both sides of each call, and the audio of the guests.
async fn calls(fake: &Fake) -> (SipClient, Vec<(SipClient, Call, Call, Incoming)>) {
    let devices = Devices::new(fake.clone());
    let host = builder("host").audio(Audio::Devices(devices)).build().expect("a client");
    let mut guests = Vec::new();
    for name in ["a", "b"] {
        let (guest, mut incoming) = client(name).await;
        let (here, there) = connected_to(&host, &guest, &mut incoming).await;
        let hears = there.audio().expect("audio").incoming;
        guests.push((guest, there, here, hears));
    }
    (host, guests)
}

/// The range of a guest's audio that contains a microphone at 8,000 once.
const ONCE: std::ops::Range<i16> = 7_000..9_000;
const SILENCE: std::ops::Range<i16> = 0..100;

#[tokio::test]
async fn in_a_conference_with_devices_every_voice_is_heard_once() {
    let fake = Fake::default();
    let (host, mut guests) = calls(&fake).await;
    let here = [guests[0].2.clone(), guests[1].2.clone()];
    fake.0.says.store(8_000, Ordering::SeqCst);
    let conference = host.conference(&here).await.expect("a conference");
    for (n, guest) in guests.iter_mut().enumerate() {
        peaks(&format!("guest {n} of the microphone"), &mut guest.3, ONCE).await;
    }
    fake.0.says.store(0, Ordering::SeqCst);
    // A tone peaks at 16,384; twice it would clip.
    guests[1].1.play(Sound::tone(440.0, FOREVER)).await.expect("a tone");
    played("the second guest in the loudspeaker", &fake, 15_000..18_000).await;
    guests[1].1.mute(true).await.expect("muted");
    guests[0].1.play(Sound::tone(440.0, FOREVER)).await.expect("a tone");
    played("the first guest in the loudspeaker", &fake, 15_000..18_000).await;
    guests[0].1.mute(true).await.expect("muted");
    assert_eq!(fake.0.opened.load(Ordering::SeqCst), 2, "one microphone and one loudspeaker");

    // A call on hold is left out, and the other one has the devices.
    fake.0.says.store(8_000, Ordering::SeqCst);
    within("held", here[0].hold()).await.expect("held");
    peaks("who is held", &mut guests[0].3, SILENCE).await;
    peaks("who is not", &mut guests[1].3, ONCE).await;
    guests[1].1.mute(false).await.expect("not muted");
    played("who is not held in the loudspeaker", &fake, 15_000..18_000).await;
    peaks("who is held of the other guest", &mut guests[0].3, SILENCE).await;
    guests[1].1.mute(true).await.expect("muted");
    within("taken back", here[0].resume()).await.expect("taken back");
    for (n, guest) in guests.iter_mut().enumerate() {
        peaks(&format!("guest {n} after the hold"), &mut guest.3, ONCE).await;
    }

    // Muting one of the calls silences the user for all.
    here[1].mute(true).await.expect("muted");
    for guest in &mut guests {
        peaks("a guest of a muted host", &mut guest.3, SILENCE).await;
    }
    here[1].mute(false).await.expect("not muted");
    conference.remove(&here[0]).await.expect("removed");
    for (n, guest) in guests.iter_mut().enumerate() {
        peaks(&format!("guest {n} alone with the host"), &mut guest.3, ONCE).await;
    }
}

#[tokio::test]
async fn a_program_takes_another_microphone_in_a_call_and_is_told() {
    let fake = Fake::default();
    let (host, mut guests) = calls(&fake).await;
    fake.0.says.store(8_000, Ordering::SeqCst);
    peaks("the default one", &mut guests[0].3, ONCE).await;
    let mut events = host.events().await.expect("events");
    host.use_microphone(Some("desk")).await.expect("devices");
    let told = async {
        loop {
            if let Some(ClientEvent::Device { side, device, problem, works }) = events.next().await {
                return (side, device, problem, works);
            }
        }
    };
    let wanted = (DeviceSide::Microphone, Some("desk".to_owned()), None, true);
    assert_eq!(within("it is told", told).await, wanted);
    for guest in &mut guests {
        peaks("the other one", &mut guest.3, 3_500..4_500).await;
    }
    let refused = guests[0].0.use_loudspeaker(None).await;
    assert!(matches!(refused, Err(DeviceError::NoDevices)), "{refused:?}");
}
