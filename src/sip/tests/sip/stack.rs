//! A SIP stack on its own thread.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use b2b_sip::endpoint::{
    Body, Endpoint, EndpointConfig, EndpointLimits, Event, Invite, Termination, Transport, UsageEvent,
};
use b2b_sip::net::{NetConfig, NetCounters, SipStack};
use tokio::sync::mpsc;

/// Generous: a loaded machine is slow, a broken driver never answers.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Work = Box<dyn FnOnce(&mut SipStack) + Send>;

/// A stack on its own thread. The endpoint answers OPTIONS itself.
pub struct Stack {
    locals: Vec<(Transport, SocketAddr)>,
    work: Option<mpsc::UnboundedSender<Work>>,
    pub events: crossbeam_channel::Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Stack {
    pub fn start(config: NetConfig) -> Self {
        let (work, mut queue) = mpsc::unbounded_channel::<Work>();
        let (ready, bound) = crossbeam_channel::bounded(1);
        let (events, happened) = crossbeam_channel::unbounded();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("runtime").block_on(async {
                // Floods in these tests come from one source and consist of OPTIONS.
                let limits = EndpointLimits { refusals_per_second: 20_000, ..EndpointLimits::default() };
                let endpoint = Endpoint::new(EndpointConfig { limits, ..EndpointConfig::new([7; 32]) });
                let mut stack = SipStack::bind(config, endpoint).expect("bound");
                ready.send(stack.locals().collect()).expect("test waits");
                loop {
                    tokio::select! {
                        event = stack.next_event() => drop(events.send(event)),
                        work = queue.recv() => match work {
                            Some(work) => work(&mut stack),
                            None => break,
                        },
                    }
                }
                stack.close(Duration::from_secs(1)).await;
            });
        });
        let locals = bound.recv_timeout(PATIENCE).expect("stack starts");
        Stack { locals, work: Some(work), events: happened, thread: Some(thread) }
    }

    /// The listening address for this transport.
    pub fn at(&self, wanted: Transport) -> SocketAddr {
        self.locals.iter().find(|(transport, _)| *transport == wanted).expect("bound").1
    }

    /// All listening addresses for this transport, in the order of the configuration.
    pub fn all_at(&self, wanted: Transport) -> Vec<SocketAddr> {
        let of = |(transport, at): &(Transport, SocketAddr)| (*transport == wanted).then_some(*at);
        self.locals.iter().filter_map(of).collect()
    }

    pub fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut SipStack) -> T + Send + 'static) -> T {
        let (reply, result) = crossbeam_channel::bounded(1);
        let work: Work = Box::new(move |stack| drop(reply.send(work(stack))));
        assert!(self.work.as_ref().expect("running").send(work).is_ok(), "running");
        result.recv_timeout(PATIENCE).expect("the stack takes turns")
    }

    pub fn wait_for(&self, what: &str, mut holds: impl FnMut(NetCounters, usize) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let (counters, connections) = self.run(|stack| (stack.counters(), stack.connections()));
            if holds(counters, connections) {
                return;
            }
            assert!(Instant::now() < until, "{what}: {counters:?}, {connections} connections");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn dial(&self, target: String) {
        self.dial_by(target, None);
    }

    /// Like `dial`, with these TLS settings.
    pub fn dial_by(&self, target: String, tls: Option<&str>) {
        let (target, body) = (target.into(), Some(Body::sdp("offer")));
        let invite = Invite { target, body, tls: tls.map(Into::into), ..Invite::default() };
        self.run(|stack| {
            let now = stack.now();
            stack.endpoint().invite(now, invite).expect("dialled");
        });
    }

    pub fn ended(&self) -> Termination {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("the call ends");
            if let Event::Usage { event: UsageEvent::Terminated { cause }, .. } = event {
                return cause;
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.expect("the stack did not panic");
            }
        }
    }
}
