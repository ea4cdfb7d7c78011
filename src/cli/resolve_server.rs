//! Flags → the configuration of the server.

use std::path::Path;

use crate::cli::Flags;
use crate::cli::flags_server::ServerFlags;
use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::process;
use b2b_server::config::tokens::MainToken;
use b2b_server::config::{self, Http, Secret, ServerConfig};
use b2b_server::explain::RouteQuestion;
use b2b_server::explain_gateway;
use b2b_server::media_server::MediaServerConfig;
use b2b_server::{Reload, capabilities, certificates};

/// The configuration of the server, and the task.
pub struct ServerRun {
    /// The configuration, with the flags that override it.
    pub config: ServerConfig,
    /// The task.
    pub ask: Ask,
    /// Reads the configuration again.
    pub reload: Reload,
}

/// The task of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Serve.
    Serve,
    /// Summarise the configuration; `descriptors`: the process's limit.
    DryRun { descriptors: usize },
    /// Explain the route of a call.
    Explain(RouteQuestion),
    /// Print the messages for a gateway.
    ExplainGateway(explain_gateway::GatewayQuestion),
}

impl Flags {
    /// The configuration of the b2bua.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the error, its place, and the remedy.
    pub fn b2bua(&self) -> Result<ServerRun, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let path = self.server.config.clone().ok_or_else(|| {
            usage("--config is missing; name a configuration, like --config plans/b2bua.toml".to_string())
        })?;
        let ask = match (&self.server.explain, &self.server.explain_gateway) {
            (Some(_), Some(_)) => {
                let one = "--explain and --explain-gateway exclude each other; choose one";
                return Err(usage(one.to_string()));
            }
            (None, Some(_)) if self.dry_run => {
                return Err(usage(
                    "--dry-run and --explain-gateway exclude each other; choose one".to_string(),
                ));
            }
            (None, Some(_)) if self.server.source.is_some() => {
                return Err(usage("--source goes with --explain NUMBER".to_string()));
            }
            (None, Some(gateway)) => Ask::ExplainGateway(explain_gateway::GatewayQuestion {
                gateway: gateway.clone(),
                from: self.server.from.clone(),
                to: self.server.to.clone(),
            }),
            _ if self.server.to.is_some() => {
                return Err(usage("--to goes with --explain-gateway NAME".to_string()));
            }
            (Some(_), None) if self.dry_run => {
                return Err(usage("--dry-run and --explain exclude each other; choose one".to_string()));
            }
            (Some(called), None) => Ask::Explain(RouteQuestion {
                called: called.clone(),
                from: self.server.from.clone(),
                address: self.server.source,
            }),
            (None, None) if self.server.from.is_some() || self.server.source.is_some() => {
                return Err(usage("--from and --source go with --explain NUMBER".to_string()));
            }
            (None, None) if self.dry_run => Ask::DryRun { descriptors: process::descriptor_limit() },
            (None, None) => Ask::Serve,
        };
        let flags = self.clone();
        // Whoever asks is told of all that is wrong; whoever serves goes on with what is right.
        let load = if matches!(ask, Ask::Serve) { config::load } else { config::load_checked };
        let load = move || flags.server_config(&path, load);
        let config = load()?;
        let weak = config.weak_passwords();
        if matches!(ask, Ask::DryRun { .. }) && !weak.is_empty() {
            return Err(usage(weak.join("\n")));
        }
        Ok(ServerRun { config, ask, reload: Box::new(load) })
    }

    /// The configuration of a media server.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the error and the remedy.
    pub fn media_server(&self) -> Result<MediaServerConfig, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let ServerFlags { listen, token_file, rtp_bind, rtp_advertise, rtp_ports, max_endpoints, .. } =
            &self.server;
        let token = match token_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| usage(format!("--token-file {}: {error}", path.display())))?;
                let line = text.lines().next().unwrap_or_default().trim();
                if line.is_empty() {
                    return Err(usage(format!("--token-file {}: its first line is empty", path.display())));
                }
                Some(Secret::new(line))
            }
        };
        if token.is_none() && !listen.ip().is_loopback() {
            return Err(usage(format!(
                "--listen {listen}: other hosts can reach it; add --token-file, or listen on 127.0.0.1"
            )));
        }
        if rtp_bind.is_unspecified() {
            return Err(usage(format!(
                "--rtp-bind {rtp_bind}: SDP would have this address; use an address of this machine"
            )));
        }
        Ok(MediaServerConfig {
            listen: *listen,
            token,
            bind: *rtp_bind,
            advertise: *rtp_advertise,
            ports: (rtp_ports.0, rtp_ports.1),
            most: *max_endpoints,
        })
    }

    /// The configuration, with the flags that override it.
    fn server_config(
        &self,
        path: &Path,
        load: fn(&Path) -> Result<ServerConfig, config::LoadError>,
    ) -> Result<ServerConfig, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let mut config = load(path).map_err(|error| usage(error.to_string()))?;
        certificates::load(&config)
            .map_err(|error| usage(format!("{}:{}: {error}", path.display(), error.line)))?;
        let lacking = capabilities::lacking(&config);
        if !lacking.is_empty() {
            let line = |it: &capabilities::Lacking| format!("{}:{}: {it}", path.display(), it.line);
            return Err(usage(lacking.iter().map(line).collect::<Vec<_>>().join("\n")));
        }
        if self.given.contains(&"sip_bind") {
            config.listen_at(self.sip_bind);
        }
        if let Some(target) = &self.target {
            config.send_all_to(target).map_err(|reason| usage(format!("--target {target}: {reason}")))?;
        }
        for (number, uri) in self.server.route.iter().rev() {
            config
                .send_number_to(number, uri)
                .map_err(|reason| usage(format!("--route {number}={uri}: {reason}")))?;
        }
        if let Some(bind) = self.server.http_bind {
            let folder = path.parent().unwrap_or(Path::new(""));
            let off = || Http {
                bind,
                token: MainToken::made(&config.server.store, folder),
                tokens: Vec::new(),
                trusted_proxies: Vec::new(),
            };
            let http = Http { bind, ..config.http.take().unwrap_or_else(off) };
            if http.token == MainToken::Off && !bind.ip().is_loopback() {
                let message = format!(
                    "--http-bind {bind}: other hosts can reach it, and http.token is \"off\"; leave that out, or bind to \
                     127.0.0.1"
                );
                return Err(usage(message));
            }
            config.http = Some(http);
        }
        if self.given.contains(&"log_level") {
            config.log.level = self.log_level;
        }
        if self.given.contains(&"log_format") {
            config.log.format = self.log_format;
        }
        if let Some(trace) = &self.sip_trace {
            config.log.sip_trace = Some(trace.clone());
        }
        Ok(config)
    }
}
