//! Parties with different formats: different codecs, or SRTP on one side and RTP on the other.

use super::*;
use b2b::call::controller::{SrtpPolicy, SrtpRules, SrtpSuite};
use b2b::media::codec::g711::{alaw_decode, alaw_encode};
use b2b::media::transport::protection::{Inbound, MasterKey, Outbound, RTP_OVERHEAD};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A level above all silence and below every sound here.
const LOUD: u16 = 4_000;
const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

/// 20 ms of a square wave of 1 kHz in this encoding.
fn sound(encode: fn(i16) -> u8) -> Vec<u8> {
    (0..160).map(|n| encode(if n / 4 % 2 == 0 { 8_000 } else { -8_000 })).collect()
}

impl Party {
    /// Sends the next packet with this payload type, encrypted by `seal` if given.
    fn send_as(&mut self, to: SocketAddr, payload_type: u8, payload: &[u8], seal: Option<&mut Outbound>) {
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&self.next.to_be_bytes());
        packet.extend_from_slice(&(u32::from(self.next) * 160).to_be_bytes());
        packet.extend_from_slice(&7u32.to_be_bytes());
        packet.extend_from_slice(payload);
        self.next += 1;
        if let Some(seal) = seal {
            let length = packet.len();
            packet.resize(length + RTP_OVERHEAD, 0);
            let sealed = seal.rtp(&mut packet, length).expect("sealed");
            packet.truncate(sealed);
        }
        self.rtp.send_to(&packet, to).expect("loopback");
    }

    /// Packets received so far, and within a short while.
    fn packets(&self) -> Vec<Vec<u8>> {
        let (mut packets, mut buffer) = (Vec::new(), [0; 2_048]);
        while let Ok((length, _)) = self.rtp.recv_from(&mut buffer) {
            packets.push(buffer[..length].to_vec());
        }
        packets
    }

    /// Whether audio of this payload type has arrived.
    fn hears_sound(&self, payload_type: u8, decode: fn(u8) -> i16) -> bool {
        let loud = |packet: &Vec<u8>| {
            packet.len() >= 172
                && packet[1] & 0x7f == payload_type
                && packet[12..].iter().any(|octet| decode(*octet).unsigned_abs() > LOUD)
        };
        self.packets().iter().any(loud)
    }

    /// Its description with another audio line, and additional lines.
    fn says_like(&self, profile: &str, formats: &str, more: &str) -> Bytes {
        let text = String::from_utf8(self.says(1, "sendrecv").to_vec()).expect("text");
        format!("{}{more}", text.replace("RTP/AVP 0", &format!("{profile} {formats}"))).into()
    }
}

impl Carried<'_> {
    /// A party with PCMU and one with PCMA hear each other.
    pub(super) async fn transcoding(&mut self) {
        if !self.has(Capability::Transcoding) {
            return;
        }
        let (mut ann, mut bob) = (Party::new(), Party::new());
        let policy = PairPolicy { transcode: true, ..PairPolicy::default() };
        let (a, _) = self.endpoint(None).await;
        let (b, _) = self.endpoint(Some(a)).await;
        let offer = good("an offer", self.pair_offer(a, b, ann.says(1, "sendrecv"), &policy)).await;
        let to_b = address(&offer);
        let answer = bob.says_like("RTP/AVP", "8", "");
        let answer = good("an answer", self.pair_answer(b, a, answer)).await;
        let to_a = address(&answer);
        let joined = good("a bridge", self.bridge(a, b)).await;
        assert!(!joined.is_relay(), "{joined:?}");
        let (start, mut heard) = (Instant::now(), (false, false));
        while heard != (true, true) {
            assert!(start.elapsed() < PATIENCE, "PCMU and PCMA: heard {heard:?}");
            ann.send_as(to_a, 0, &sound(ulaw_encode), None);
            bob.send_as(to_b, 8, &sound(alaw_encode), None);
            heard = (heard.0 || ann.hears_sound(0, ulaw_decode), heard.1 || bob.hears_sound(8, alaw_decode));
        }
        [a, b].into_iter().for_each(|id| self.media.release_endpoint(id));
    }

    /// A party with SRTP and one with RTP hear each other; without its key the SRTP party is not heard.
    pub(super) async fn encrypted(&mut self) {
        if !self.has(Capability::Encryption) {
            return;
        }
        let rules = SrtpRules { suites: vec![SUITE], ..SrtpPolicy::Required.into() };
        let spec = EndpointSpec { srtp: rules, ..EndpointSpec::new(AddressFamily::V4) };
        let (mut ann, mut bob, policy) = (Party::new(), Party::new(), PairPolicy::default());
        let (a, _) = self.endpoint(None).await;
        let (b, _) = good("an endpoint", self.media.allocate_endpoint(spec)).await;
        let offer = good("an offer", self.pair_offer(a, b, ann.says(1, "sendrecv"), &policy)).await;
        let to_b = address(&offer);
        let text = String::from_utf8_lossy(&offer).into_owned();
        assert!(text.contains("RTP/SAVP"), "{text}");
        let inline = text.split("inline:").nth(1).and_then(|rest| rest.split(['|', '\r', ' ']).next());
        let theirs = STANDARD.decode(inline.unwrap_or_else(|| panic!("a key: {text}"))).expect("base64");
        let mut inbound = Inbound::new(&MasterKey::new(SUITE, &theirs).expect("a key"));
        let ours = [9; 30];
        let mut outbound = Outbound::new(&MasterKey::new(SUITE, &ours).expect("a key"));
        let crypto = format!("a=crypto:1 {SUITE} inline:{}\r\n", STANDARD.encode(ours));
        let answer = good("an answer", self.pair_answer(b, a, bob.says_like("RTP/SAVP", "0", &crypto)));
        let to_a = address(&answer.await);
        good("a bridge", self.bridge(a, b)).await;

        // Unencrypted audio is not forwarded.
        for _ in 0..10 {
            bob.send_as(to_b, 0, &sound(ulaw_encode), None);
            assert!(!ann.hears_sound(0, ulaw_decode), "what was not encrypted is heard");
        }
        let (start, mut heard) = (Instant::now(), (false, false));
        while heard != (true, true) {
            assert!(start.elapsed() < PATIENCE, "RTP and SRTP: heard {heard:?}");
            ann.send_as(to_a, 0, &sound(ulaw_encode), None);
            bob.send_as(to_b, 0, &sound(ulaw_encode), Some(&mut outbound));
            heard.0 = heard.0 || ann.hears_sound(0, ulaw_decode);
            for mut packet in bob.packets() {
                // Reports arrive, too.
                let clear = inbound.rtp(&mut packet).ok();
                let opened = clear.is_some_and(|length| packet[12..length] == sound(ulaw_encode));
                heard.1 = heard.1 || opened;
            }
        }
        [a, b].into_iter().for_each(|id| self.media.release_endpoint(id));
    }
}
