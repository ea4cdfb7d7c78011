//! A UA without a network, for tests of roles: the test plays the far end.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::sys::signal::Signal;

use super::UaOptions;
use super::life::Life;
use b2b_ua::{Audio, CallId, Codec, EndCause, MediaStats, Ua, UaError, UaEvent, UaStats};

/// A request of the role to its UA.
pub(super) enum Asked {
    Dial { call: CallId, target: String, audio: Audio },
    Answer { call: CallId, audio: Audio },
    Reject { call: CallId, status: u16 },
    Hangup { call: CallId },
    Shutdown,
}

struct FakeUa {
    events: Receiver<UaEvent>,
    asked: Sender<Asked>,
    next_call: Mutex<u64>,
}

impl Ua for FakeUa {
    fn local(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 5_060))
    }

    fn events(&self) -> &Receiver<UaEvent> {
        &self.events
    }

    fn dial(&self, target: &str, audio: Audio) -> Result<CallId, UaError> {
        if !target.starts_with("sip:") {
            return Err(UaError::Target { uri: target.into(), reason: "no scheme".into() });
        }
        let mut next = self.next_call.lock().unwrap();
        *next += 1;
        let call = CallId(1_000 + *next);
        let _ = self.asked.send(Asked::Dial { call, target: target.into(), audio });
        Ok(call)
    }

    fn answer(&self, call: CallId, audio: Audio) -> Result<(), UaError> {
        let _ = self.asked.send(Asked::Answer { call, audio });
        Ok(())
    }

    fn reject(&self, call: CallId, status: u16, _: &str) -> Result<(), UaError> {
        let _ = self.asked.send(Asked::Reject { call, status });
        Ok(())
    }

    fn hangup(&self, call: CallId) -> Result<(), UaError> {
        let _ = self.asked.send(Asked::Hangup { call });
        Ok(())
    }

    fn stats(&self) -> UaStats {
        let outgoing = MediaStats { packets_tx: 7, ..MediaStats::default() };
        UaStats { outgoing, ..UaStats::default() }
    }

    fn shutdown(self: Box<Self>, _: Duration) {
        let _ = self.asked.send(Asked::Shutdown);
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The other side of a role under test.
pub(super) struct Stage {
    pub events: Sender<UaEvent>,
    pub asked: Receiver<Asked>,
    pub signals: Sender<Signal>,
    lines: Lines,
    role: JoinHandle<anyhow::Result<()>>,
}

/// Maximum wait of a test.
const LONG: Duration = Duration::from_secs(60);

impl Stage {
    /// Starts a role on a fake UA. `live` receives the life, and a function that opens the UA.
    pub(super) fn start(
        role: &'static str,
        options: &UaOptions,
        live: impl FnOnce(Life, Box<dyn FnOnce(&UaOptions) -> anyhow::Result<Box<dyn Ua>>>) -> anyhow::Result<()>
        + Send
        + 'static,
    ) -> Stage {
        let (events, event_receiver) = unbounded();
        let (ask, asked) = unbounded();
        let (signals, signal_receiver) = unbounded();
        let lines = Lines::default();
        let life = Life::in_test(role, options, signal_receiver, Box::new(lines.clone()));
        let ua = FakeUa { events: event_receiver, asked: ask, next_call: Mutex::new(0) };
        let role = std::thread::spawn(move || live(life, Box::new(move |_| Ok(Box::new(ua) as Box<dyn Ua>))));
        Stage { events, asked, signals, lines, role }
    }

    /// The next request of the role.
    pub(super) fn next(&self) -> Asked {
        self.asked.recv_timeout(LONG).expect("the role asks for something")
    }

    pub(super) fn dialled(&self) -> (CallId, String, Audio) {
        match self.next() {
            Asked::Dial { call, target, audio } => (call, target, audio),
            _ => panic!("expected a dial"),
        }
    }

    pub(super) fn answered(&self) -> (CallId, Audio) {
        match self.next() {
            Asked::Answer { call, audio } => (call, audio),
            _ => panic!("expected an answer"),
        }
    }

    pub(super) fn hung_up(&self) -> CallId {
        match self.next() {
            Asked::Hangup { call } => call,
            _ => panic!("expected a hang-up"),
        }
    }

    pub(super) fn rejected(&self) -> (CallId, u16) {
        match self.next() {
            Asked::Reject { call, status } => (call, status),
            _ => panic!("expected a refusal"),
        }
    }

    pub(super) fn incoming(&self, call: u64) {
        let _ = self.events.send(UaEvent::Incoming {
            call: CallId(call),
            from: "sip:caller@127.0.0.1".into(),
            to: "sip:us@127.0.0.1".into(),
            sip_call_id: format!("call-{call}"),
        });
    }

    pub(super) fn ringing(&self, call: CallId) {
        let _ = self.events.send(UaEvent::Progress { call, status: 180, reason: "Ringing".into() });
    }

    pub(super) fn is_up(&self, call: CallId) {
        let remote_rtp = SocketAddr::from(([127, 0, 0, 1], 4_000));
        let _ = self.events.send(UaEvent::Answered { call, codec: Codec::Pcmu, ptime_ms: 20, remote_rtp });
    }

    pub(super) fn ended(&self, call: CallId, cause: EndCause) {
        let _ = self.events.send(UaEvent::Ended { call, cause });
    }

    /// The role's result and its output.
    pub(super) fn finish(self) -> (anyhow::Result<()>, Vec<String>) {
        let start = std::time::Instant::now();
        while !self.role.is_finished() {
            assert!(start.elapsed() < LONG, "the role does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        let result = self.role.join().expect("the role does not panic");
        let text = String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap();
        (result, text.lines().map(String::from).collect())
    }
}

/// The exit code of a role's result.
pub(super) fn exit_of(result: &anyhow::Result<()>) -> b2b_base::util::exit::Exit {
    use b2b_base::util::exit::{Exit, Failure};
    match result {
        Ok(()) => Exit::Ok,
        Err(error) => error.downcast_ref::<Failure>().expect("a Failure").exit,
    }
}
