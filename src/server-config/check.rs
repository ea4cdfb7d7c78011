//! Consistency checks: tables that require each other, and settings that are probably unintended.

use std::net::IpAddr;

use super::parties::Gateway;
use super::recording::RECORDING;
use super::tokens::MainToken;
use super::{
    Action, Carrier, ConfigProblem, MediaPath, Route, ServerConfig, Store, Verstat, apps, listener, tls,
};
use b2b_app::conference::RoomConfig;
use b2b_app::voice_agent::{AgentPlace, AgentUrl, AgentWay, Protocol};
use b2b_app::voicemail::VOICEMAIL;
use b2b_config::table::Table;
use b2b_sip::msg::number;

/// Missing requirements between tables, with the table and key to point at.
pub fn together(config: &ServerConfig) -> Vec<(&'static Table, &'static str, ConfigProblem)> {
    let mut problems = tls::together(config);
    problems.extend(listener::together(config));
    problems.extend(audio_sockets(config));
    let incoming = config.apps.voice_agents.iter().find(|it| it.place == AgentPlace::Incoming);
    if let Some(agent) = incoming.filter(|_| config.http.is_none()) {
        let reason = format!("voice agent {:?} is incoming, but there is no HTTP interface", agent.name);
        let problem = ConfigProblem::Missing { key: "http.listen".to_owned(), reason };
        problems.push((&apps::voice_agent::VOICE_AGENT, "incoming", problem));
    }
    let records = |route: &&Route| match &route.action {
        Action::Dial { policy, .. } => policy.record,
        Action::App { record, .. } => *record,
        Action::Reject { .. } => false,
    };
    if config.recording.folder.is_none()
        && let Some(Route { name, line, .. }) = config.routes.iter().find(records)
    {
        let reason =
            format!("route {name:?} (line {line}) has record = true, but there is no folder for recordings");
        let problem = ConfigProblem::Missing { key: "recording.folder".to_string(), reason };
        problems.push((&RECORDING, "folder", problem));
    }
    problems
}

/// AudioSocket has no authentication: its agents are on this machine, or inside.
fn audio_sockets(config: &ServerConfig) -> Vec<(&'static Table, &'static str, ConfigProblem)> {
    let mut problems = Vec::new();
    for agent in config.apps.voice_agents.iter().filter(|it| it.protocol == Protocol::AudioSocket) {
        let AgentPlace::Url(AgentUrl { way: AgentWay::Tcp { host, .. }, .. }) = &agent.place else {
            continue;
        };
        let inside = |ip: IpAddr| {
            ip.is_loopback() || config.server.inside.iter().any(|net| net.contains(&ip.to_canonical()))
        };
        if !host.parse().is_ok_and(inside) {
            let reason = format!(
                "voice agent {:?} speaks AudioSocket, which has no authentication, with {host}: write an address of this \
                 machine, or one of server.inside",
                agent.name
            );
            problems.push((
                &apps::voice_agent::VOICE_AGENT,
                "url",
                ConfigProblem::Missing { key: "server.inside".to_owned(), reason },
            ));
        }
    }
    problems
}

impl ServerConfig {
    /// Whether the configuration in force after a reload is consistent, parts of it being old and parts new.
    ///
    /// # Errors
    /// The requirement of the new part that the old one does not meet.
    pub fn fits(&self) -> Result<(), String> {
        if let Some((.., problem)) = together(self).into_iter().next() {
            return Err(problem.to_string());
        }
        listener::are_there(self)?;
        let queues = self.apps.queues.queues.iter().map(|it| ("queue", &*it.plan.name, &it.sounds.music));
        let rooms = self.apps.conferences.iter().map(|it| ("conference", it.name.as_str(), &it.music));
        let lots = self.apps.lots.iter().map(|it| ("park", it.name.as_str(), &it.music));
        for (kind, name, music) in queues.chain(rooms).chain(lots) {
            let Some(music) = music.as_ref().filter(|music| *music != apps::USUAL_MUSIC) else { continue };
            if !self.apps.music.iter().any(|it| it.name == *music) {
                return Err(format!("{kind} {name:?} plays music {music:?}, which needs a restart"));
            }
        }
        Ok(())
    }

    /// A missing folder for files that b2b writes, in words. Only a warning of the dry run: the configuration
    /// may be meant for another machine.
    pub fn missing_folder(&self) -> Option<String> {
        let store = match &self.server.store {
            Store::Sqlite(path) => Some(("server.store", path)),
            Store::Memory => None,
        };
        let cdr = self.server.cdr.as_ref().map(|path| ("server.cdr", path));
        let trace = self.log.sip_trace.as_ref().map(|path| ("log.sip_trace", path));
        store.into_iter().chain(cdr).chain(trace).find_map(|(key, path)| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())?;
            let (path, folder) = (path.display(), folder.display());
            Some(format!("{key} = {path}: there is no folder {folder}; create it, or choose another one"))
        })
    }

    /// What strangers may do in an application.
    fn open_to_strangers(&self, app: &str) -> Option<&'static str> {
        match app.split_once('/') {
            Some(("park", _)) => Some("strangers could take parked calls"),
            Some(("conference", room)) => {
                let open = |it: &&RoomConfig| it.name == room && it.pin.is_none();
                let open = self.apps.conferences.iter().find(open);
                open.map(|_| "the room has no pin, and strangers could join it")
            }
            None if app == VOICEMAIL => Some("strangers could guess the PINs of mailboxes"),
            _ => None,
        }
    }

    /// The warning that RTP of all calls has one of several addresses of `server.listen`, by no rule.
    fn media_of_one_address(&self) -> Option<String> {
        let ips = self.server.listen.iter().map(|it| it.bind.ip()).filter(|ip| !ip.is_unspecified());
        let ips: Vec<IpAddr> = ips.collect();
        let told = self.server.advertise.iter().any(|it| it.host.parse::<IpAddr>().is_ok());
        if told
            || self.media.bind.or(self.media.advertise).is_some()
            || self.media.controller != Carrier::Embedded
        {
            return None;
        }
        let other = |first: &&IpAddr| ips.iter().find(|ip| ip.is_ipv4() == first.is_ipv4() && ip != first);
        let (first, other) = ips.iter().find_map(|first| Some((first, other(&first)?)))?;
        Some(format!(
            "server.listen has {first} and {other}, and RTP of every call has {first}: a party that reaches only \
             {other} hears nothing; give the second network a [[listener]] and name it at its gateways, or set \
             media.bind to the address that all reach"
        ))
    }

    /// Settings that are allowed but probably unintended, one line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.gateways.iter().filter_map(super::profiles::warning).collect();
        for route in &self.routes {
            for (key, pattern) in [("called", &route.called), ("caller", &route.caller)] {
                let spelt = pattern.as_ref().map(ToString::to_string).unwrap_or_default();
                let is_name = self.user(&spelt).is_some() || self.group(&spelt).is_some();
                if let Some(digits) = number::digits(&spelt).filter(|_| spelt.contains('-') && !is_name) {
                    warnings.push(format!(
                        "route {} (line {}) has {key} = '{spelt}', which matches nothing: numbers are compared \
                         without visual separators; write '{digits}'",
                        route.name, route.line
                    ));
                }
                let Some(like) = pattern.as_ref().and_then(|it| it.of_a_dialplan()) else { continue };
                warnings.push(format!(
                    "route {} (line {}) has {key} = '{spelt}', which looks like a pattern of Asterisk: patterns \
                     here are regular expressions, and this one matches a number that begins with _; \
                     write '{like}'",
                    route.name, route.line
                ));
            }
            let none = Verstat::None;
            if route.verstat.iter().any(|it| *it != none) && !self.gateways.iter().any(|it| it.identity.trust)
            {
                warnings.push(format!(
                    "route {} (line {}) has verstat: it applies to gateways with trust_identity = true, and \
                     there is none",
                    route.name, route.line
                ));
            }
            let for_all = route.classes.is_empty()
                && route.sources.is_empty()
                && self.gateways.iter().any(Gateway::calls_in);
            if let (Action::App { name, .. }, true) = (&route.action, for_all) {
                warnings.extend(self.open_to_strangers(&name.to_string()).map(|harm| {
                    format!(
                        "route {} (line {}) gives calls from any source to {name}, inbound calls from gateways \
                         too: {harm}; add class = \"internal\"",
                        route.name, route.line
                    )
                }));
            }
            let Action::Dial { targets, policy } = &route.action else { continue };
            if policy.record && policy.media == MediaPath::Direct {
                warnings.push(format!(
                    "route {} (line {}) has record = true: media = \"direct\" has no effect, what goes past \
                     b2b cannot be recorded",
                    route.name, route.line
                ));
            }
            let out = targets.iter().find(|target| matches!(target, super::Target::Gateway { .. }));
            if let Some(out) = out.filter(|_| for_all) {
                warnings.push(format!(
                    "route {} (line {}) sends calls from any source to {out}, inbound calls from gateways too: \
                     strangers could call through at your cost; add class = \"internal\"",
                    route.name, route.line
                ));
            }
        }
        if self.recording.by_old_key {
            warnings.push(
                "recording.stereo = false records the caller alone; write channels = \"caller\", or \"mixed\" for both \
                 parties in one channel"
                    .to_string(),
            );
        }
        if self.recording.folder.is_some() && matches!(self.media.controller, Carrier::Rtpengine { .. }) {
            warnings.push(
                "recording.folder has no effect: rtpengine records for nobody, by code or over HTTP; take [recording] \
                 out, or choose another media.controller"
                    .to_string(),
            );
        }
        if !self.listeners.is_empty() && self.server.domains.is_empty() {
            warnings.push(
                "there is a [[listener]] and no server.domains: From of calls to phones has an address of one \
                 network, and phones of another see it; name a domain"
                    .to_string(),
            );
        }
        if self.server.trusted.iter().any(|net| net.prefix_len() == 0) {
            warnings.push(
                "server.trusted contains the whole Internet: everyone may call without a password"
                    .to_string(),
            );
        }
        if self.http.as_ref().is_some_and(|http| http.token == MainToken::Off) {
            warnings.push(
                "http.token is \"off\": every program on this machine, and what a proxy on it lets through, may \
                 hear, command and end calls; leave it out, and b2b makes a token"
                    .to_string(),
            );
        }
        if let Some(gateway) = self.gateways.iter().find(|it| it.channels.is_some())
            && let Some(user) = self.users.iter().find(|it| it.max_calls.is_none())
        {
            warnings.push(format!(
                "gateway {} has channels = {}, and user {} no max_calls: without it one user gets half of the \
                 channels while others call, and all but an eighth while nobody does; set max_calls",
                gateway.name,
                gateway.channels.unwrap_or_default(),
                user.name
            ));
        }
        warnings.extend(self.media_of_one_address());
        warnings.extend(self.emergency_warnings());
        if self.routes.is_empty() {
            warnings.push("there is no [[route]]: every call gets 404".to_string());
        }
        warnings
    }
}
