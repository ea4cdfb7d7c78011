//! Flags → the configuration of the server, or of a media server.

use std::path::Path;

use super::flags::ServerFlags;
use super::questions::{GatewayQuestion, MediaServerConfig, RouteQuestion};
use super::tokens::MainToken;
use super::{Check, Http, LoadError, Reload, Secret, ServerConfig, load, load_checked, load_text};
use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::process;
use b2b_config::command_line::CommandLine;
use b2b_config::keys::SharedFlags;

/// The configuration of the server, and the task.
pub struct ServerRun {
    /// The configuration, with the flags that override it.
    pub config: ServerConfig,
    /// The task.
    pub ask: Ask,
    /// Reads the configuration again.
    pub reload: Reload,
    /// The file differs from the configuration in force, in words.
    pub differs: Option<String>,
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
    ExplainGateway(GatewayQuestion),
}

/// The flags of the server, or of a media server.
#[derive(Debug, Clone)]
pub struct Flags {
    line: CommandLine,
    shared: SharedFlags,
    /// The server's own.
    pub server: ServerFlags,
}

impl Flags {
    /// Reads a command line.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: a wrong value, and how to write it.
    pub fn read(line: &CommandLine) -> Result<Self, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let shared = SharedFlags::read(line).map_err(usage)?;
        Ok(Flags { line: line.clone(), shared, server: ServerFlags::read(line).map_err(usage)? })
    }

    /// The configuration of the b2bua; `check` is what the server checks of it. `in_force`: what a server before had;
    /// who serves begins with that, and only a reload reads the file.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the error, its place, and the remedy.
    pub fn b2bua(&self, check: Check, in_force: Option<String>) -> Result<ServerRun, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let path = self.server.config.clone().ok_or_else(|| {
            usage("--config is missing; name a configuration, like --config plans/b2bua.toml".to_string())
        })?;
        let ask = match (&self.server.explain, &self.server.explain_gateway) {
            (Some(_), Some(_)) => {
                let one = "--explain and --explain-gateway exclude each other; choose one";
                return Err(usage(one.to_string()));
            }
            (None, Some(_)) if self.shared.dry_run => {
                return Err(usage(
                    "--dry-run and --explain-gateway exclude each other; choose one".to_string(),
                ));
            }
            (None, Some(_)) if self.server.source.is_some() => {
                return Err(usage("--source goes with --explain NUMBER".to_string()));
            }
            (None, Some(gateway)) => Ask::ExplainGateway(GatewayQuestion {
                gateway: gateway.clone(),
                from: self.server.from.clone(),
                to: self.server.to.clone(),
            }),
            _ if self.server.to.is_some() => {
                return Err(usage("--to goes with --explain-gateway NAME".to_string()));
            }
            (Some(_), None) if self.shared.dry_run => {
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
            (None, None) if self.shared.dry_run => Ask::DryRun { descriptors: process::descriptor_limit() },
            (None, None) => Ask::Serve,
        };
        let flags = self.clone();
        // Whoever asks is told of all that is wrong; whoever serves goes on with what is right.
        let load = if matches!(ask, Ask::Serve) { load } else { load_checked };
        let (config, differs) = match in_force.filter(|_| ask == Ask::Serve) {
            Some(text) => {
                let differs = std::fs::read(&path).map_or(true, |now| now != text.as_bytes());
                let differs = differs.then(|| {
                    let path = path.display();
                    format!(
                        "restarted with the configuration that was in force; {path} differs since; reload to take it"
                    )
                });
                (self.server_config(&path, |path| load_text(path, &text), check)?, differs)
            }
            None => (self.server_config(&path, load, check)?, None),
        };
        let load = move || flags.server_config(&path, load, check);
        let weak = config.weak_passwords();
        if matches!(ask, Ask::DryRun { .. }) && !weak.is_empty() {
            return Err(usage(weak.join("\n")));
        }
        Ok(ServerRun { config, ask, reload: Box::new(load), differs })
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
            ports: *rtp_ports,
            most: *max_endpoints,
        })
    }

    /// The configuration, with the flags that override it.
    fn server_config(
        &self,
        path: &Path,
        load: impl Fn(&Path) -> Result<ServerConfig, LoadError>,
        check: Check,
    ) -> Result<ServerConfig, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let mut config = load(path).map_err(|error| usage(error.to_string()))?;
        let lacking = check(&config);
        if !lacking.is_empty() {
            let line = |(number, text): &(usize, String)| format!("{}:{number}: {text}", path.display());
            return Err(usage(lacking.iter().map(line).collect::<Vec<_>>().join("\n")));
        }
        if self.line.has("sip_bind") {
            config.listen_at(self.shared.sip_bind);
        }
        if let Some(target) = &self.shared.target {
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
        if self.line.has("log_level") {
            config.log.level = self.shared.log_level;
        }
        if self.line.has("log_format") {
            config.log.format = self.shared.log_format;
        }
        if let Some(trace) = &self.shared.sip_trace {
            config.log.sip_trace = Some(trace.clone());
        }
        Ok(config)
    }
}
