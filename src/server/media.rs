//! The media carrier: the embedded engine, or another program.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use tokio::sync::mpsc;

use super::descriptors::capacity;
use super::queues;
use crate::config::{Advertise, Carrier, Listener, ListenerConfig, MediaServer, ServerConfig};
use crate::controller::remote::{RemoteConfig, RemoteController, RemoteServer, ServerHealth, Transport};
use crate::controller::rtpengine::{Interfaces, RtpengineConfig, RtpengineController};
use b2b_call::controller::{
    Capabilities, EmbeddedConfig, EmbeddedController, MediaController, MediaEvent, Ports, Totals,
};
use b2b_sip::net::local_addr;

/// The capabilities of the configured carrier, known before it is started.
pub fn capabilities(config: &ServerConfig) -> Capabilities {
    match config.media.controller {
        Carrier::Embedded => EmbeddedController::CAPABILITIES,
        Carrier::Rtpengine { .. } => RtpengineController::CAPABILITIES,
        Carrier::Remote { .. } => RemoteController::CAPABILITIES,
    }
}

/// How long a start waits for the first media server.
const SETTLE: Duration = Duration::from_secs(3);

/// Another program that carries media, as alarms report it.
pub struct CarrierLook {
    /// Host and port.
    pub name: String,
    /// Why it is down; `None`: it is up.
    pub down: Option<String>,
    /// Whether it accepts new calls.
    pub takes_calls: bool,
}

/// The rtpengine controller, and its address.
#[derive(Clone)]
pub struct Rtpengine {
    server: SocketAddr,
    pub(super) controller: Arc<RtpengineController>,
}

/// The carrier that `media.controller` names.
#[derive(Clone)]
pub enum Media {
    Embedded(Arc<EmbeddedController>),
    Rtpengine(Rtpengine),
    Remote(Arc<RemoteController>),
}

impl Media {
    /// Starts the carrier.
    ///
    /// # Errors
    /// If it cannot start, in words.
    pub fn start(config: &ServerConfig) -> Result<(Media, mpsc::UnboundedReceiver<MediaEvent>), String> {
        match &config.media.controller {
            Carrier::Embedded => {
                let (controller, events) =
                    EmbeddedController::start(embedded(config)).map_err(|error| error.to_string())?;
                Ok((Media::Embedded(Arc::new(controller)), events))
            }
            Carrier::Rtpengine { server, outer, inner } => {
                let interfaces = Interfaces { outer: outer.clone(), inner: inner.clone() };
                let (lasts, seed) = (config.survive.is_some(), rand::random());
                let config = RtpengineConfig { server: *server, interfaces, lasts, seed };
                let (controller, events) = RtpengineController::start(config)
                    .map_err(|error| format!("no socket for rtpengine at {server}: {error}"))?;
                Ok((
                    Media::Rtpengine(Rtpengine { server: *server, controller: Arc::new(controller) }),
                    events,
                ))
            }
            Carrier::Remote { servers } => {
                let remote = |server: &MediaServer| RemoteServer {
                    transport: if server.grpc { Transport::Grpc } else { Transport::Rest },
                    authority: server.authority.clone(),
                    token: config.media.token.clone(),
                };
                let servers = servers.iter().map(remote).collect();
                let lasts = config.survive.as_ref().map(|it| it.max_age);
                let config = RemoteConfig { servers, music: queues::music(config), lasts };
                let (controller, events) = RemoteController::start(config)
                    .map_err(|error| format!("no thread for media servers: {error}"))?;
                Ok((Media::Remote(Arc::new(controller)), events))
            }
        }
    }

    /// The media controller, for the switch.
    pub fn controller(&self) -> Arc<dyn MediaController> {
        match self {
            Media::Embedded(it) => it.clone(),
            Media::Rtpengine(it) => it.controller.clone(),
            Media::Remote(it) => it.clone(),
        }
    }

    /// Receives a message when a thread panics without which no media is carried.
    pub fn panicked(&self) -> Receiver<String> {
        match self {
            Media::Embedded(it) => it.panicked(),
            Media::Rtpengine(it) => it.controller.panicked(),
            Media::Remote(it) => it.panicked(),
        }
    }

    /// Number of endpoints that are not released.
    pub fn endpoints(&self) -> usize {
        match self {
            Media::Embedded(it) => it.endpoints(),
            Media::Rtpengine(it) => it.controller.endpoints(),
            Media::Remote(it) => it.endpoints(),
        }
    }

    /// Number of requests to media servers that await a response.
    pub fn waiting(&self) -> usize {
        match self {
            Media::Remote(it) => it.waiting(),
            Media::Embedded(_) | Media::Rtpengine(_) => 0,
        }
    }

    /// The media servers in the order of their list.
    pub fn servers(&self) -> Vec<ServerHealth> {
        match self {
            Media::Remote(it) => it.servers(),
            Media::Embedded(_) | Media::Rtpengine(_) => Vec::new(),
        }
    }

    /// Other programs that carry the media, in the order of their list.
    pub fn carriers(&self) -> Vec<CarrierLook> {
        let remote = |it: ServerHealth| CarrierLook {
            takes_calls: it.up && it.load.accepting,
            down: (!it.up).then_some(it.trouble),
            name: it.authority,
        };
        match self {
            Media::Embedded(_) => Vec::new(),
            Media::Rtpengine(it) => {
                let down = (!it.controller.is_alive()).then(|| "rtpengine does not respond".to_owned());
                vec![CarrierLook { name: it.server.to_string(), takes_calls: down.is_none(), down }]
            }
            Media::Remote(it) => it.servers().into_iter().map(remote).collect(),
        }
    }

    /// Waits briefly until there is a media server, so that the first calls are not refused because
    /// connections take a moment. Endpoints of the process before have been restored.
    pub fn settle(&self) {
        let Media::Remote(it) = self else { return };
        it.begin();
        if !it.wait_for_one(SETTLE) {
            tracing::warn!("no media server responds: calls get 503 until one does");
        }
    }

    /// Number of joins across media threads.
    pub fn trunks(&self) -> usize {
        match self {
            Media::Embedded(it) => it.trunks(),
            Media::Rtpengine(_) | Media::Remote(_) => 0,
        }
    }

    /// Streams to and from parties: how many are open, how many have been opened, and the number of dropped
    /// samples.
    pub fn streams(&self) -> (usize, u64, u64) {
        match self {
            Media::Embedded(embedded) => {
                let counters = embedded.streams();
                (counters.open(), counters.opened(), counters.missed())
            }
            Media::Rtpengine(_) | Media::Remote(_) => (0, 0, 0),
        }
    }

    /// Statistics of the embedded engine, and its ports.
    pub async fn totals(&self) -> (Totals, Ports) {
        match self {
            Media::Embedded(it) => it.totals().await,
            Media::Rtpengine(_) | Media::Remote(_) => (Totals::default(), Ports::default()),
        }
    }

    /// Number of descriptor tables of the media threads.
    pub fn tables(&self) -> usize {
        match self {
            Media::Embedded(it) => it.tables(),
            Media::Rtpengine(_) | Media::Remote(_) => 1,
        }
    }

    /// Sets our public address for a network: SDP for this network names it from now on; `None`: for the
    /// default network. Other programs advertise what their own configuration says.
    pub fn seen_as(&self, network: Option<&str>, ip: IpAddr) {
        if let Media::Embedded(it) = self {
            it.set_told(network, ip);
        }
    }

    /// Ends every endpoint.
    pub fn shutdown(&self) {
        match self {
            Media::Embedded(it) => it.shutdown(),
            Media::Rtpengine(it) => it.controller.shutdown(),
            Media::Remote(it) => it.shutdown(),
        }
    }
}

/// The configuration of the embedded engine.
pub(super) fn embedded(config: &ServerConfig) -> EmbeddedConfig {
    let media = &config.media;
    let ips = |advertise: &[Advertise]| -> Vec<IpAddr> {
        advertise.iter().filter_map(|it| it.host.parse().ok()).collect()
    };
    let bound = |listen: &[Listener]| -> Vec<IpAddr> {
        listen.iter().map(|it| local_addr::concrete(it.bind).ip()).collect()
    };
    let usual = match config.usual_listener() {
        Some(first) => own(first, bound, ips),
        None => {
            let listen = config.server.listen.as_slice();
            let bind = media.bind.map_or_else(|| bound(listen), |ip| vec![ip]);
            let told = media.advertise.into_iter().chain(ips(&config.server.advertise)).collect();
            (bind, told)
        }
    };
    let interfaces = config.listeners.iter().map(|it| {
        let (bind, told) = own(it, bound, ips);
        (it.name.clone(), one_of_each_family(bind, &told))
    });
    EmbeddedConfig {
        interfaces: interfaces.collect(),
        threads: Some(capacity(config).threads),
        recording_free_bytes: config.recording.free_bytes,
        music: queues::music(config),
        ..EmbeddedConfig::new(
            one_of_each_family(usual.0, &usual.1),
            media.ports.0..=media.ports.1,
            rand::random(),
        )
    }
}

/// The addresses to which a listener's RTP is bound, and those advertised instead.
fn own(
    it: &ListenerConfig,
    bound: impl Fn(&[Listener]) -> Vec<IpAddr>,
    ips: impl Fn(&[Advertise]) -> Vec<IpAddr>,
) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let bind = if it.media.is_empty() { bound(&it.listen) } else { it.media.clone() };
    (bind, it.media_advertise.iter().copied().chain(ips(&it.advertise)).collect())
}

/// The first address of each family, and the one advertised instead of it.
fn one_of_each_family(bind: Vec<IpAddr>, told: &[IpAddr]) -> Vec<(IpAddr, Option<IpAddr>)> {
    let mut addresses: Vec<(IpAddr, Option<IpAddr>)> = Vec::new();
    for ip in bind {
        if !addresses.iter().any(|(known, _)| known.is_ipv4() == ip.is_ipv4()) {
            addresses.push((ip, told.iter().find(|it| it.is_ipv4() == ip.is_ipv4()).copied()));
        }
    }
    addresses
}
