//! A server with applications, and clients of this library that call it: each sends its own tone, and tones
//! are recognised by pitch.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use b2b::client::{Call, Codec, DtmfMode, SipClient, Sound};
use b2b::media::dtmf::goertzel;

use crate::common::child::{B2b, PATIENCE, b2b};

/// Sample rate of the sessions.
pub const RATE_HZ: u32 = 8_000;

/// A server that trusts this machine, with `more` in its configuration.
pub fn server(folder: &Path, more: &str) -> (B2b, SocketAddr) {
    let config = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\ntrusted = [\"127.0.0.1\"]\ndrain_s = 0\n\
         [http]\nlisten = \"off\"\n{more}"
    );
    let path = folder.join("b2bua.toml");
    std::fs::write(&path, config).expect("a file");
    let mut server = b2b(&["--role", "b2bua", "--config", path.to_str().expect("UTF-8")]);
    let address = server.ready();
    (server, address)
}

pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: nothing came"))
}

/// A caller with its own tone.
pub struct Party {
    /// Kept because a client ends with the last of its handles.
    pub _client: SipClient,
    pub call: Call,
}

pub fn client(name: &str, codec: Codec) -> SipClient {
    let builder =
        SipClient::builder().identity(format!("sip:{name}@127.0.0.1")).jitter_ms(200).rate_hz(RATE_HZ);
    builder.codecs([codec]).dtmf(DtmfMode::Rfc4733).build().expect("a client")
}

impl Party {
    /// Calls this number and sends this tone.
    pub async fn calls(name: &str, codec: Codec, number: &str, server: SocketAddr, hz: f64) -> Party {
        let client = client(name, codec);
        let call = client.call(format!("sip:{number}@{server}")).await.expect("a call");
        within("an answer", call.wait_for_answer()).await.expect("answered");
        let party = Party { _client: client, call };
        party.says(hz).await;
        party
    }

    pub async fn says(&self, hz: f64) {
        self.call.play(Sound::tone(hz as f32, 600_000)).await.expect("it is said");
    }

    pub async fn presses(&self, digits: &str) {
        self.call.send_digits(digits, None).await.expect("pressed");
    }

    /// Waits for half a second in which the party hears each of these tones and none of those.
    pub async fn hears(&self, these: &[f64], not: &[f64]) {
        let mut audio = self.call.audio().expect("sound");
        let until = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            let frame = tokio::time::timeout(Duration::from_secs(5), audio.incoming.next()).await;
            match frame {
                Ok(Some(frame)) => heard.extend_from_slice(frame.samples()),
                // No packets count as silence.
                Err(_) => heard.extend_from_slice(&[0; 4_000]),
                Ok(None) => panic!("the call is over: {:?}", self.call.state()),
            }
            if heard.len() >= 4_000 {
                // The server's tones have -16 dBm0, six times this threshold.
                let has = |hz: &f64| goertzel(&heard, *hz, RATE_HZ) > 1e6;
                if these.iter().all(has) && !not.iter().any(has) {
                    return;
                }
                let levels: Vec<_> =
                    these.iter().chain(not).map(|hz| (*hz, goertzel(&heard, *hz, RATE_HZ))).collect();
                assert!(Instant::now() < until, "wanted {these:?} and not {not:?}; heard {levels:?}");
                heard.clear();
            }
        }
    }

    pub async fn hangs_up(self) {
        within("hung up", self.call.hangup()).await.expect("hung up");
    }
}
