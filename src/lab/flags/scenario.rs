//! Flags → the SIPp scenario of a load.

use std::sync::Arc;

use super::Flags;
use crate::load::config::ScenarioRun;
use crate::load::plan::LoadPlan;
use crate::load::sipp;
use b2b_base::util::exit::{Exit, Failure};

impl Flags {
    /// The scenario, if one is named.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: it is invalid, or conflicts with another flag.
    pub(super) fn scenario(&self, plan: &LoadPlan) -> Result<Option<ScenarioRun>, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let lab = &self.lab;
        let mut keys = plan.load.scenario_keys.clone();
        keys.extend(lab.scenario_key.iter().cloned());
        let rtp_echo = lab.rtp_echo || plan.load.rtp_echo;
        let own = !lab.scenario_fields.is_empty();
        let fields = if own { &lab.scenario_fields } else { &plan.load.scenario_fields.0 };
        let Some(path) = lab.scenario.as_ref().or(plan.load.scenario.as_ref()) else {
            if !keys.is_empty() || rtp_echo || !fields.is_empty() {
                let message = "--scenario-key, --scenario-fields and --rtp-echo are for scenarios; add --scenario FILE.xml";
                return Err(usage(message.to_owned()));
            }
            return Ok(None);
        };
        let planned = plan.callers.iter().any(|it| it.steps.is_some()) || !plan.callees.is_empty();
        if planned || lab.caller.is_some() || lab.callee.is_some() {
            let message =
                "--scenario replaces the steps; remove --caller and --callee, in a plan also steps =";
            return Err(usage(message.to_owned()));
        }
        if plan.callers.len() > 1 {
            return Err(usage("a scenario is one kind of call; keep one [[caller]]".to_owned()));
        }
        let target = self
            .shared
            .target
            .as_deref()
            .or(plan.load.target.as_deref())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let others = ["sips:", ";transport=tcp", ";transport=tls"];
        if !plan.goes_over_udp() || others.iter().any(|word| target.contains(word)) {
            let message =
                "scenarios use UDP; remove transport = and ;transport=, or use steps: --caller, --callee";
            return Err(usage(message.to_owned()));
        }
        if plan.is_encrypted() {
            return Err(usage(
                "scenarios have no SRTP; remove srtp =, or use steps: --caller, --callee".to_owned(),
            ));
        }
        let wrong = |error: sipp::ScenarioError| usage(error.to_string());
        let fields = sipp::fields::read(fields, &keys).map_err(wrong)?;
        let scenario = Arc::new(sipp::read(path, &keys, fields).map_err(wrong)?);
        if scenario.calls() && target.is_empty() {
            return Err(usage(format!(
                "{}: it calls, as its first message is a <send>; add --target, like sip:1000@127.0.0.1:5060",
                path.display()
            )));
        }
        Ok(Some(ScenarioRun { scenario, rtp_echo }))
    }
}
