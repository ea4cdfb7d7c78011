//! Flags → the configuration of a role of the lab.
//!
//! - `load`: of a load; `scenario`: its SIPp scenario; `loads`: the loads of a plan

mod load;
mod loads;
mod scenario;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::config::files::{self, LoadError};
use crate::config::keys::{self, LabFlags, Together};
use crate::engine;
use crate::orchestrator::loads::Load;
#[cfg(all(feature = "phone", feature = "server"))]
use crate::orchestrator::scene::SceneConfig;
use crate::orchestrator::{OrchestratorConfig, RunConfig};
use crate::role::mixer::MixerConfig;
use crate::role::sink::{Output, SinkConfig};
use crate::role::source::SourceConfig;
use crate::role::{RecordDir, UaOptions};
use b2b_base::util::exit::{Exit, Failure};
use b2b_config::command_line::CommandLine;
use b2b_config::keys::SharedFlags;
use b2b_config::role_name::RoleName;
use b2b_ua::{Codec, UaConfig};
use loads::loads;

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// The flags of a role of the lab.
#[derive(Debug, Clone)]
pub struct Flags {
    line: CommandLine,
    /// Those of roles of several products.
    pub shared: SharedFlags,
    /// The lab's own.
    pub lab: LabFlags,
}

impl Flags {
    /// Reads a command line.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: a wrong value, and how to write it.
    pub fn read(line: &CommandLine) -> Result<Self, Failure> {
        let shared = SharedFlags::read(line).map_err(usage)?;
        Ok(Flags { line: line.clone(), shared, lab: LabFlags::read(line).map_err(usage)? })
    }

    /// The configuration of the source.
    pub fn source(&self) -> Result<SourceConfig, Failure> {
        self.check_engine()?;
        self.check_together(RoleName::Source)?;
        Ok(SourceConfig {
            ua: self.ua(RoleName::Source),
            target: self.required_target()?,
            audio_file: self.lab.audio_file.clone().unwrap_or_default(),
            prebuffer: Duration::from_millis(self.lab.prebuffer_ms.into()),
            resampler: self.lab.resampler,
            repeat: self.lab.r#loop,
            duration: self.lab.duration_s.map(Duration::from_secs_f64),
        })
    }

    /// The configuration of the mixer.
    pub fn mixer(&self) -> Result<MixerConfig, Failure> {
        self.check_engine()?;
        self.check_together(RoleName::Mixer)?;
        Ok(MixerConfig {
            ua: self.ua(RoleName::Mixer),
            target: self.required_target()?,
            dtmf_seq: self.lab.dtmf_seq.clone(),
            dtmf_period: Duration::from_millis(self.lab.dtmf_period_ms.into()),
            gain_in: self.lab.mix_gain_in as f32,
            gain_dtmf: self.lab.mix_gain_dtmf as f32,
        })
    }

    /// The configuration of the sink.
    pub fn sink(&self) -> Result<SinkConfig, Failure> {
        self.check_engine()?;
        self.check_together(RoleName::Sink)?;
        Ok(SinkConfig {
            ua: self.ua(RoleName::Sink),
            // who names a player wants to hear it
            output: match self.line.has("aplay_cmd") && !self.line.has("output") {
                true => Output::Aplay,
                false => self.lab.output,
            },
            player: self.lab.aplay_cmd.clone(),
            wav: self.lab.wav.clone(),
            calls: self.lab.calls.unwrap_or(1),
        })
    }

    /// The configuration of the orchestrator, with its plan loaded. Flags on the command line take precedence
    /// over the plan's `[orchestrator]`, and `--engine` over its `<role>.engine`.
    pub fn orchestrator(&self) -> Result<OrchestratorConfig, Failure> {
        self.check_engine()?;
        let path = self.lab.plan.as_deref();
        let path =
            path.ok_or_else(|| usage("--plan is missing; name a plan, like --plan plans/smk.plan.toml"))?;
        let mut loaded = files::load(path).map_err(|error: LoadError| usage(error.to_string()))?;
        if self.line.has("engine") {
            loaded.plan.roles.iter_mut().for_each(|role| role.set_engine(self.lab.engine));
        }
        loaded.plan.check_engines().map_err(|error| {
            let errors = error.into();
            usage(LoadError::Plan { path: path.to_path_buf(), errors }.to_string())
        })?;
        let mut line = self.line.clone();
        for setting in loaded.plan.orchestrator.iter().filter(|setting| !self.line.has(setting.name)) {
            line.add(setting.name, setting.value.clone());
        }
        let flags = Flags::read(&line)?;
        if flags.lab.kill_ms < flags.lab.grace_ms {
            let (kill, grace) = (flags.lab.kill_ms, flags.lab.grace_ms);
            return Err(usage(format!(
                "--kill-ms {kill} is below --grace-ms {grace}; make it the larger one"
            )));
        }
        let server = loaded.plan.role(RoleName::B2bua).is_some();
        let loads = loads(&loaded.plan.loads, path, server)?;
        Ok(OrchestratorConfig { plan: loaded, run: flags.run(loads) })
    }

    /// The settings of an orchestrator beside what it runs.
    fn run(self, loads: Vec<Load>) -> RunConfig {
        RunConfig {
            loads,
            grace: Duration::from_millis(self.lab.grace_ms),
            kill: Duration::from_millis(self.lab.kill_ms.max(self.lab.grace_ms)),
            ready: Duration::from_millis(self.lab.ready_ms),
            dry_run: self.shared.dry_run,
            report: self.lab.report,
            format: self.shared.log_format,
            color: self.shared.color,
            level: self.shared.log_level,
        }
    }

    /// The configuration of a scene's orchestrator; `None` if the plan is of another kind.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the error and its line.
    #[cfg(all(feature = "phone", feature = "server"))]
    pub fn scene(&self) -> Result<Option<SceneConfig>, Failure> {
        let Some(path) = self.lab.plan.as_deref() else { return Ok(None) };
        let loaded = crate::config::scene::load(path).map_err(|error| usage(error.to_string()))?;
        let Some(scene) = loaded else { return Ok(None) };
        if self.line.has("engine") {
            return Err(usage("--engine does not apply to a scene; remove it"));
        }
        let loads = loads(&scene.loads, path, true)?;
        Ok(Some(SceneConfig { scene, run: self.clone().run(loads) }))
    }

    fn required_target(&self) -> Result<String, Failure> {
        self.shared.target.clone().ok_or_else(|| {
            usage("--target is missing; add the URI to call, like --target sip:sink@127.0.0.1:5070")
        })
    }

    /// Checks the engine before anything is opened or written.
    fn check_engine(&self) -> Result<(), Failure> {
        engine::in_this_build(self.lab.engine).map_err(|error| usage(error.to_string()))
    }

    fn check_together(&self, role: RoleName) -> Result<(), Failure> {
        let together = Together {
            audio_file: self.lab.audio_file.is_some(),
            config: false,
            jitter_ms: Some(self.lab.jitter_ms),
            forced: self.lab.force,
        };
        keys::check_together(role, together)
            .map_err(|(key, reason)| usage(format!("--{}: {reason}", key.replace('_', "-"))))
    }

    fn ua(&self, role: RoleName) -> UaOptions {
        let second = match self.lab.codec {
            Codec::Pcma => Codec::Pcmu,
            _ => Codec::Pcma,
        };
        let record = self.shared.record.clone().map(RecordDir);
        let recorded = |extension| record.as_ref().map(|dir| dir.file(&format!("{role}.{extension}")));
        let config = UaConfig {
            user: role.to_string(),
            bind: self.shared.sip_bind,
            codecs: vec![self.lab.codec, second],
            ptime_ms: self.lab.ptime_ms,
            jitter_ms: self.lab.jitter_ms,
            impairment: self.lab.impair,
            rtp_timeout: Duration::from_secs_f64(self.lab.rtp_timeout_s),
            sip_trace: self.shared.sip_trace.clone().or_else(|| recorded("sip")),
            packet_log: recorded("packets.csv"),
        };
        UaOptions { engine: self.lab.engine, config, record }
    }

    /// The warning for a bind address that other machines can reach; `None` on loopback.
    pub fn exposure(&self) -> Option<String> {
        files::is_exposed(self.shared.sip_bind).then(|| {
            let whom = match self.shared.sip_bind.ip() {
                ip if ip.is_unspecified() => "any address of this host".to_string(),
                ip => ip.to_string(),
            };
            format!(
                "--sip-bind {bind}: SIP (UDP and TCP) and RTP are now open to every machine that reaches {whom}, \
                 without authentication and without encryption",
                bind = self.shared.sip_bind,
            )
        })
    }
}
