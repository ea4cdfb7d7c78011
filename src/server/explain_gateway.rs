//! `--explain-gateway`: shows the messages that would be sent to a gateway. The server's switch, endpoint and
//! admission control run as in operation, but without sockets ([`DryRun`]).
//!
//! - `sample`: the configuration reduced to the gateway and a calling user
//! - `shown`: messages as text

mod sample;
mod shown;

use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

use super::admission::{AdmissionParts, ServerAdmission};
use super::board::GatewayBoard;
use super::calls::Routes;
use super::counters::Counters;
use super::in_force::{Current, PartyTargets, Settings};
use super::notifier::state::NotifierState;
use super::{media, settings, signalling, transports};
use crate::config::ServerConfig;
use crate::config::questions::GatewayQuestion;
use crate::registrar::{MemoryStore, Registrar};
use b2b_call::CallId;
use b2b_call::bus::EventBus;
use b2b_call::controller::{EmbeddedConfig, EmbeddedController};
use b2b_call::switch::SwitchParts;
use b2b_call::switch::driver::unsent::{DryRun, Reaction, Unsent};
use b2b_sip::known::KnownSources;
use b2b_sip::msg::{Limits, Message, Method};
use b2b_sip::net::trace::TraceSlot;
use b2b_sip::net::{CertifiedPeers, Tls};
use sample::Sample;

/// Maximum wait for REGISTER and OPTIONS to be due, and for an INVITE: a gateway's pacing is two seconds at
/// most.
const LASTS: Duration = Duration::from_secs(10);

/// The messages seen, by kind.
#[derive(Default)]
struct Seen {
    register: Option<Unsent>,
    options: Option<Unsent>,
    invite: Option<Unsent>,
    /// The first line of the last response that the caller received.
    answer: Option<String>,
}

/// The answer, line by line. `tls` are the certificates that the configuration names.
///
/// # Errors
/// Says why and what to do if there is no gateway of that name or no message can be made.
pub fn explain(config: &ServerConfig, question: &GatewayQuestion, tls: Tls) -> Result<Vec<String>, String> {
    let gateway = config.gateway(&question.gateway).ok_or_else(|| {
        let names: Vec<_> = config.gateways.iter().map(|it| it.name.as_str()).collect();
        format!("no gateway {:?}; there are: {}", question.gateway, names.join(", "))
    })?;
    let sample = Sample::new(config, gateway, question)?;
    let seen = watch(&sample, tls)?;
    let mut lines = shown::head(config, gateway, &sample);
    let secret = shown::secret_fields(gateway, &sample.config.routes);
    let none = |is_off: bool, key: &str| match is_off {
        true => format!("none: {key}"),
        false => "none was due".to_owned(),
    };
    let why = none(gateway.register.is_none(), "register = false");
    lines.extend(shown::message(&secret, "REGISTER", seen.register.as_ref(), &why));
    let why = none(gateway.options.is_none(), "options_s = 0");
    lines.extend(shown::message(&secret, "OPTIONS", seen.options.as_ref(), &why));
    let why = match sample.goes_elsewhere() {
        Some(gateways) => Some(format!("none: an emergency call goes to {}", gateways.join(", then "))),
        None => seen.answer.map(|answer| format!("none: the caller gets {answer:?}")),
    };
    let why = why.unwrap_or_else(|| "none: the call went nowhere".to_owned());
    lines.extend(shown::message(&secret, "INVITE", seen.invite.as_ref(), &why));
    Ok(lines)
}

/// Lets b2b register and send OPTIONS, and the user call.
fn watch(sample: &Sample, tls: Tls) -> Result<Seen, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let config = &sample.config;
    // No media server is contacted: its SDP is made from the same configuration.
    let (media, _events) = EmbeddedController::start(at_hand(media::embedded(config)))
        .map_err(|error| format!("no media: {error}"))?;
    let (media, known) = (Arc::new(media), KnownSources::default());
    let sources = (known.clone(), CertifiedPeers::default());
    // No STUN server is queried.
    let (seen_as, _) = mpsc::channel();
    let net = transports::net(config, tls, sources.clone(), &TraceSlot::default(), seen_as);
    let mut dry_run = DryRun::new(
        &net,
        signalling::endpoint(config, &known),
        signalling::switch(config, CallId(0)),
        |now, wall| parts(config, media.clone(), sources, (now, wall)),
    )?;
    let seen = runtime.block_on(see(&mut dry_run, sample));
    media.shutdown();
    seen
}

/// Assembles the parts as at a start of the server.
fn parts(
    config: &ServerConfig,
    controller: Arc<EmbeddedController>,
    (known, certified): (KnownSources, CertifiedPeers),
    (now, wall): (Instant, SystemTime),
) -> Result<SwitchParts, String> {
    let store = Box::new(MemoryStore::new());
    let registrar = Arc::new(Mutex::new(Registrar::new(settings::registrar(config), store, now)));
    let board = GatewayBoard::default();
    let in_force = Settings::new(config.clone(), registrar.clone(), board.clone());
    let current = Current::new(in_force.map_err(|error| error.to_string())?);
    let admission = AdmissionParts {
        current: current.clone(),
        registrar,
        bus: EventBus::new(1, 0),
        board,
        counters: Counters::default(),
        notifier: NotifierState::default(),
        known,
        certified,
    };
    Ok(SwitchParts {
        controller,
        resolver: Arc::new(PartyTargets(current.clone())),
        handlers: vec![Arc::new(Routes(current))],
        admission: Box::new(ServerAdmission::new(admission, rand::random(), now, wall)),
        bus: None,
        records: None,
    })
}

/// The media addresses where this machine has them; where it has not, loopback addresses take their place,
/// and the configured ones are still advertised.
fn at_hand(mut media: EmbeddedConfig) -> EmbeddedConfig {
    let mut last = 0;
    let interfaces = media.interfaces.iter_mut().flat_map(|(_, addresses)| addresses);
    for (bind, told) in media.addresses.iter_mut().chain(interfaces) {
        if UdpSocket::bind((*bind, 0)).is_err() {
            told.get_or_insert(*bind);
            last += 1;
            *bind = match bind {
                IpAddr::V4(_) => IpAddr::from([127, 0, 0, last]),
                IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            };
        }
    }
    media.threads = Some(1);
    media
}

async fn see(dry_run: &mut DryRun, sample: &Sample) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let wanted = (sample.gateway().register.is_some(), sample.gateway().options.is_some());
    if wanted != (false, false) {
        let sees = &mut |message: &Unsent| {
            let reply = take(&mut seen, message);
            let is_enough = (seen.register.is_some(), seen.options.is_some()) == wanted;
            // Answered in any case: calls need the registration.
            Reaction { replies: reply.into_iter().collect(), is_enough: is_enough && seen.register.is_none() }
        };
        dry_run.run(LASTS, Vec::new(), sees).await;
    }
    let mut phone = sample::Phone::new(sample);
    let flow = dry_run.flow_to(sample.transport(), sample::PHONE);
    let flow = flow.ok_or("no listener for phones; add an IPv4 listener to server.listen")?;
    let invite = phone.invite(&flow);
    let sees = &mut |message: &Unsent| {
        if message.flow.remote == sample::PHONE {
            let (replies, answer) = phone.answered(&flow, &message.data);
            let is_over = answer.is_some() && replies.is_empty();
            seen.answer = answer.or(seen.answer.take());
            return Reaction { replies, is_enough: is_over };
        }
        let reply = take(&mut seen, message);
        Reaction { replies: reply.into_iter().collect(), is_enough: seen.invite.is_some() }
    };
    dry_run.run(LASTS, vec![(flow, invite)], sees).await;
    Ok(seen)
}

/// Keeps the first message of each kind, and answers those that get an immediate answer.
fn take(seen: &mut Seen, message: &Unsent) -> Option<bytes::Bytes> {
    let Ok(Message::Request(request)) = Message::parse(message.data.clone(), &Limits::default()) else {
        return None;
    };
    let place = match request.method() {
        Method::Register => &mut seen.register,
        Method::Options => &mut seen.options,
        Method::Invite => &mut seen.invite,
        _ => return None,
    };
    place.get_or_insert_with(|| message.clone());
    (*request.method() != Method::Invite).then(|| sample::ok(&message.data))
}
