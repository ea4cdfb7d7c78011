//! By which address the outside sees us has been found out (STUN), and what follows: SDP names it, gateways
//! that know us by our registration are told, and so is whoever watches.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::thread;

use super::admission::AdmissionParts;
use super::board::Wanted;
use super::media::Media;
use crate::config::ServerConfig;
use b2b_call::event::{AddressSeen, Event};
use b2b_call::switch::driver::Jobs;
use b2b_sip::net::SeenAs;

/// Does so until the sockets are gone.
///
/// # Errors
/// The system refused a thread.
pub fn follow(seen: Receiver<SeenAs>, media: Media, admission: AdmissionParts, jobs: Jobs) -> io::Result<()> {
    let run = move || {
        for SeenAs { local, seen } in seen {
            let settings = admission.current.get();
            if names_media(&settings.config, local, seen) {
                media.seen_as(seen.ip());
            }
            admission.current.seen_as(seen);
            // Those of a listener with a name are told the address of that.
            let known = settings.config.gateways.iter();
            for gateway in known.filter(|it| it.register.is_some() && it.listener.is_none()) {
                admission.board.register(Wanted::At(gateway.name.clone()));
            }
            let bus = admission.bus.clone();
            jobs.run_blocking(move |switch, t, _| {
                bus.publish(t.wall, Event::AddressSeen(AddressSeen { local, seen }));
                switch.wake_admission(t);
            });
        }
    };
    thread::Builder::new().name("stun".into()).spawn(run)?;
    Ok(())
}

/// Whether what a socket is seen as stands in SDP: RTP has the address of the first one of a family, and
/// nothing else is said of it.
fn names_media(config: &ServerConfig, local: SocketAddr, seen: SocketAddr) -> bool {
    let first = config.server.listen.iter().map(|it| it.bind.ip()).find(|ip| ip.is_ipv4() == local.is_ipv4());
    let said = config.media.advertise.is_some_and(|said| said.is_ipv4() == seen.is_ipv4());
    first == Some(local.ip()) && !said
}
