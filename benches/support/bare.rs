//! The floor: receives and forwards, without looking at the packets.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use b2b::sys::descriptors;
use b2b::sys::relay::bind;
use b2b::sys::wake::Wake;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// A forwarder of packets between sockets in pairs.
pub struct Bare {
    servers: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    /// Packets received at one socket of a pair leave from the other, to the address in that socket's entry
    /// of `routes`.
    pub fn start(mut port: u16, routes: Vec<SocketAddr>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, servers) = std::sync::mpsc::channel();
        let stopped = stop.clone();
        let serve = move || {
            let wake = Wake::new().expect("a descriptor");
            let _ = descriptors::own_table(wake.as_raw_fd());
            let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
            let mut sockets: Vec<UdpSocket> = Vec::new();
            while sockets.len() < routes.len() {
                if let Ok(socket) = bind((Ipv4Addr::LOCALHOST, port).into()) {
                    let token = sockets.len() as u64;
                    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token)).expect("epoll");
                    sockets.push(socket);
                }
                port += 2;
            }
            let addresses = sockets.iter().map(|socket| socket.local_addr().expect("bound"));
            told.send(addresses.collect::<Vec<_>>()).expect("a listener");
            let mut events = [EpollEvent::empty(); 256];
            let mut buffer = [0; 2_048];
            while !stopped.load(Ordering::Relaxed) {
                let ready = epoll.wait(&mut events, EpollTimeout::from(100u16)).unwrap_or(0);
                for event in &events[..ready] {
                    let n = event.data() as usize;
                    if let Ok((len, _)) = sockets[n].recv_from(&mut buffer) {
                        let other = n ^ 1;
                        let _ = sockets[other].send_to(&buffer[..len], routes[other]);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("bare".into()).spawn(serve).expect("a thread");
        Bare { servers: servers.recv().expect("a running thread"), stop, thread: Some(thread) }
    }

    /// Addresses of its sockets.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
