//! Flags → the configuration of a lab role.

use std::time::Duration;

use super::resolve_loads::loads;
use crate::cli::Flags;
use b2b_base::util::exit::{Exit, Failure};
use b2b_config::role_name::RoleName;
use b2b_lab::config::files::{self, LoadError};
use b2b_lab::config::keys::{self, Together};
use b2b_lab::config::value;
use b2b_lab::engine;
use b2b_lab::orchestrator::OrchestratorConfig;
#[cfg(all(feature = "phone", feature = "server"))]
use b2b_lab::orchestrator::scene::SceneConfig;
use b2b_lab::role::mixer::MixerConfig;
use b2b_lab::role::sink::{Output, SinkConfig};
use b2b_lab::role::source::SourceConfig;
use b2b_lab::role::{RecordDir, UaOptions};
use b2b_ua::{Codec, UaConfig};

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

impl Flags {
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
            repeat: self.lab.repeat,
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
            output: match self.given.contains(&"aplay_cmd") && !self.given.contains(&"output") {
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
        if self.given.contains(&"engine") {
            loaded.plan.roles.iter_mut().for_each(|role| role.set_engine(self.lab.engine));
        }
        loaded.plan.check_engines().map_err(|error| {
            let errors = error.into();
            usage(LoadError::Plan { path: path.to_path_buf(), errors }.to_string())
        })?;
        let mut flags = self.clone();
        for setting in &loaded.plan.orchestrator {
            if !self.given.contains(&setting.name) {
                flags.set(setting.name, &setting.value).map_err(|reason| {
                    usage(format!("{}:{}: {}: {reason}", path.display(), setting.line, setting.name))
                })?;
            }
        }
        if flags.lab.kill_ms < flags.lab.grace_ms {
            let (kill, grace) = (flags.lab.kill_ms, flags.lab.grace_ms);
            return Err(usage(format!(
                "--kill-ms {kill} is below --grace-ms {grace}; make it the larger one"
            )));
        }
        let server = loaded.plan.role(RoleName::B2bua).is_some();
        let loads = loads(&loaded.plan.loads, path, server)?;
        Ok(OrchestratorConfig {
            plan: loaded,
            loads,
            grace: Duration::from_millis(flags.lab.grace_ms),
            kill: Duration::from_millis(flags.lab.kill_ms),
            ready: Duration::from_millis(flags.lab.ready_ms),
            dry_run: flags.dry_run,
            report: flags.lab.report,
            format: flags.log_format,
            color: flags.color,
            level: flags.log_level,
        })
    }

    /// The configuration of a scene's orchestrator; `None` if the plan is of another kind.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the error and its line.
    #[cfg(all(feature = "phone", feature = "server"))]
    pub fn scene(&self) -> Result<Option<SceneConfig>, Failure> {
        let Some(path) = self.lab.plan.as_deref() else { return Ok(None) };
        let loaded = b2b_lab::config::scene::load(path).map_err(|error| usage(error.to_string()))?;
        let Some(scene) = loaded else { return Ok(None) };
        if self.given.contains(&"engine") {
            return Err(usage("--engine does not apply to a scene; remove it"));
        }
        let loads = loads(&scene.loads, path, true)?;
        Ok(Some(SceneConfig {
            scene,
            loads,
            report: self.lab.report.clone(),
            grace: Duration::from_millis(self.lab.grace_ms),
            kill: Duration::from_millis(self.lab.kill_ms.max(self.lab.grace_ms)),
            ready: Duration::from_millis(self.lab.ready_ms),
            dry_run: self.dry_run,
            format: self.log_format,
            color: self.color,
            level: self.log_level,
        }))
    }

    /// Applies one setting of a plan's `[orchestrator]`.
    fn set(&mut self, key: &str, text: &str) -> value::Read<()> {
        match key {
            "grace_ms" => self.lab.grace_ms = value::wait_ms(text)?,
            "kill_ms" => self.lab.kill_ms = value::wait_ms(text)?,
            "ready_ms" => self.lab.ready_ms = value::wait_ms(text)?,
            "report" => self.lab.report = Some(value::path(text)?),
            "log_format" => self.log_format = value::log_format(text)?,
            "log_level" => self.log_level = value::log_level(text)?,
            "color" => self.color = value::color(text)?,
            _ => return Err("not a setting of the orchestrator".to_string()),
        }
        Ok(())
    }

    fn required_target(&self) -> Result<String, Failure> {
        self.target.clone().ok_or_else(|| {
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
            Codec::Pcmu => Codec::Pcma,
            Codec::Pcma => Codec::Pcmu,
        };
        let record = self.record.clone().map(RecordDir);
        let recorded = |extension| record.as_ref().map(|dir| dir.file(&format!("{role}.{extension}")));
        let config = UaConfig {
            user: role.to_string(),
            bind: self.sip_bind,
            codecs: vec![self.lab.codec, second],
            ptime_ms: self.lab.ptime_ms,
            jitter_ms: self.lab.jitter_ms,
            impairment: self.lab.impair,
            rtp_timeout: Duration::from_secs_f64(self.lab.rtp_timeout_s),
            sip_trace: self.sip_trace.clone().or_else(|| recorded("sip")),
            packet_log: recorded("packets.csv"),
        };
        UaOptions { engine: self.lab.engine, config, record }
    }

    /// The warning for a bind address that other machines can reach; `None` on loopback.
    pub fn exposure(&self) -> Option<String> {
        files::is_exposed(self.sip_bind).then(|| {
            let whom = match self.sip_bind.ip() {
                ip if ip.is_unspecified() => "any address of this host".to_string(),
                ip => ip.to_string(),
            };
            format!(
                "--sip-bind {bind}: SIP (UDP and TCP) and RTP are now open to every machine that reaches {whom}, \
                 without authentication and without encryption",
                bind = self.sip_bind,
            )
        })
    }
}
