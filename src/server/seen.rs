//! Reaction to a changed public address (STUN): SDP names it, gateways that know us by registration get a new
//! REGISTER, and watchers are told.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::thread;

use super::admission::AdmissionParts;
use super::board::Wanted;
use super::media::Media;
use crate::config::{Listener, ServerConfig};
use b2b_call::event::{AddressSeen, Event};
use b2b_call::switch::driver::Jobs;
use b2b_sip::net::SeenAs;

/// Does so until the sockets are closed.
///
/// # Errors
/// If the system refuses a thread.
pub fn follow(seen: Receiver<SeenAs>, media: Media, admission: AdmissionParts, jobs: Jobs) -> io::Result<()> {
    let run = move || {
        for SeenAs { listener, local, seen } in seen {
            let settings = admission.current.get();
            let (config, listener) = (&settings.config, listener.as_deref());
            if names_media(config, listener, local, seen) {
                media.seen_as(listener, seen.ip());
                if listener.is_some() && config.usual_listener().map(|it| it.name.as_str()) == listener {
                    media.seen_as(None, seen.ip());
                }
            }
            admission.current.seen_as(seen);
            // Gateways of another listener keep that listener's address.
            let known = config.gateways.iter();
            for gateway in known.filter(|it| it.register.is_some() && it.listener.as_deref() == listener) {
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

/// Whether a socket's public address goes into SDP: RTP has the address of that socket, which is `media.bind`
/// or the listener's `media`, else the first one of a family, and no `advertise` overrides it.
fn names_media(config: &ServerConfig, listener: Option<&str>, local: SocketAddr, seen: SocketAddr) -> bool {
    let first_of =
        |bound: &[Listener]| bound.iter().map(|it| it.bind.ip()).find(|ip| ip.is_ipv4() == local.is_ipv4());
    let is_said = |said: &IpAddr| said.is_ipv4() == seen.is_ipv4();
    let (first, said) = match listener {
        None => {
            let bound = config.media.bind.or_else(|| first_of(&config.server.listen));
            (bound, config.media.advertise.as_ref().is_some_and(is_said))
        }
        Some(name) => {
            let Some(it) = config.listeners.iter().find(|it| it.name == name) else { return false };
            let own = it.media.iter().copied().find(|ip| ip.is_ipv4() == local.is_ipv4());
            let bound = if it.media.is_empty() { first_of(&it.listen) } else { own };
            (bound, it.media_advertise.iter().any(is_said))
        }
    };
    first == Some(local.ip()) && !said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    #[test]
    fn an_address_stands_in_sdp_where_rtp_has_that_of_the_socket() {
        for (media, local, names) in [
            ("", "192.0.2.1:5060", true),
            ("", "192.0.2.2:5060", false),
            ("advertise = \"203.0.113.1\"", "192.0.2.1:5060", false),
            ("bind = \"192.0.2.2\"", "192.0.2.1:5060", false),
            ("bind = \"192.0.2.2\"", "192.0.2.2:5060", true),
        ] {
            let listen = "[server]\nlisten = [\"udp:192.0.2.1:5060\", \"udp:192.0.2.2:5060\"]\n";
            let config = parse_alone(&format!("{listen}[media]\n{media}\n")).expect(media);
            let (local, seen) = (local.parse().unwrap(), "203.0.113.9:40000".parse().unwrap());
            assert_eq!(names_media(&config, None, local, seen), names, "{media} {local}");
        }
    }
}
