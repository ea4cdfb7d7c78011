//! Flags → the configuration of the load role.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Flags;
use crate::config::value;
use crate::load::config::{Enrolment, LoadConfig, host_of, place};
use crate::load::kinds::{CalleeKind, CallerKind, Callers};
use crate::load::pace::{Pace, Stage};
use crate::load::plan::{LoadPlan, PlannedCaller};
use crate::load::speech::sounds;
use crate::load::users;
use b2b_base::util::exit::{Exit, Failure};
use b2b_config::{step, target};
use b2b_media::codec::Codec;

impl Flags {
    /// The configuration of the load.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: a missing or excluded flag, and the remedy.
    pub fn load(&self) -> Result<LoadConfig, Failure> {
        let plan = match &self.lab.plan {
            Some(path) => {
                LoadPlan::read(path).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?
            }
            None => LoadPlan::default(),
        };
        if plan.agent.is_some() {
            let message = "the plan has an [agent]; run it with b2b sandbox".to_owned();
            return Err(Failure::new(Exit::Usage, message));
        }
        if plan.callees.iter().any(|it| it.calls > 0) {
            let message = "callee.calls is for b2b sandbox, which asks for them; remove it".to_owned();
            return Err(Failure::new(Exit::Usage, message));
        }
        self.load_of(plan)
    }

    /// The configuration of the load by this plan.
    ///
    /// # Errors
    /// As [`Flags::load`].
    pub fn load_of(&self, plan: LoadPlan) -> Result<LoadConfig, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let lab = &self.lab;
        let given = |key: &str| self.line.has(key);
        let scenario = self.scenario(&plan)?;
        let target = self.shared.target.clone().or(plan.load.target);
        let callees = match &lab.callee {
            None => plan.callees,
            Some(steps) => {
                let (name, steps) = (String::new(), steps.0.clone());
                vec![CalleeKind { name, called: Vec::new(), steps, calls: 0 }]
            }
        };
        if target.is_none() && callees.is_empty() && scenario.is_none() {
            return Err(usage(
                "--target or --callee is missing; add the URI to call, like --target sip:1000@127.0.0.1:5060, \
                 or what to do with calls, like --callee \"answer; say mark; hung up\""
                    .to_owned(),
            ));
        }
        // pauses of an answering scenario use the holding time too
        let of_callers =
            |key: &&'static str| OF_CALLERS.contains(key) && !(scenario.is_some() && *key == "hold_s");
        if let (None, Some(flag)) = (&target, self.line.keys().find(of_callers)) {
            let flag = flag.replace('_', "-");
            return Err(usage(format!(
                "--{flag} is for callers; add --target, like sip:1000@127.0.0.1:5060"
            )));
        }
        let mine = lab.target_is_mine || plan.load.target_is_mine;
        let registrar = self.shared.registrar.clone().or(plan.registrar);
        if self.shared.registrar.is_some() && plan.registered.is_none() {
            return Err(usage("--registrar is for users of [callee]; add a --plan that has them".to_owned()));
        }
        let places = [("--target", &target), ("registrar =", &registrar)];
        if let Some((key, place)) = places
            .into_iter()
            .filter_map(|(key, place)| Some((key, place.as_ref()?)))
            .find(|(_, place)| !mine && !is_ours(place))
        {
            return Err(usage(format!(
                "{key} {place} is neither this machine's loopback nor in a network namespace of its own; a \
                 load can take a telephone system down. If you may load it, add --target-is-mine"
            )));
        }
        let registrar = registrar.or_else(|| target.as_deref().map(|uri| format!("sip:{}", place(uri))));
        let enrolment = match (plan.registered, &registrar) {
            (None, _) => None,
            (_, None) => {
                return Err(usage("[callee] has users; add registrar = \"sip:127.0.0.1:5060\"".to_owned()));
            }
            (Some(users), Some(registrar)) => Some(Enrolment {
                users,
                registrar: registrar.clone(),
                per_second: plan.register_per_s.unwrap_or(100.0),
                expires_s: plan.expires_s.unwrap_or(600),
            }),
        };
        for kind in &callees {
            // which user is called is not known in advance
            users::check(&kind.steps, None).map_err(usage)?;
        }
        let duration = lab.duration_s.or(plan.load.duration_s).map(Duration::from_secs_f64);
        let counted: Option<u64> = plan.callers.iter().map(|it| it.calls.map(u64::from)).sum();
        if counted.is_none() && plan.callers.iter().any(|it| it.calls.is_some()) {
            return Err(usage(
                "caller.calls: one of several [[caller]] has none; give each its number".to_owned(),
            ));
        }
        let counted = counted.map(|calls| calls + callees.iter().map(|it| u64::from(it.calls)).sum::<u64>());
        let counted = counted.filter(|calls| *calls > 0);
        let calls = lab.calls.map(u64::from).or(counted).or(plan.load.calls.map(u64::from));
        let answers = scenario.as_ref().is_some_and(|it| !it.scenario.calls());
        let callers = match &target {
            None => None,
            Some(_) if answers => None,
            Some(target) => {
                let usual: Arc<[step::Step]> = match &lab.caller {
                    Some(steps) => steps.0.clone(),
                    None if scenario.is_some() => Arc::from([]),
                    None => step::caller(&format!("dial {target}; say mark; stay; hang up"))
                        .map_err(usage)?
                        .into(),
                };
                let mut kinds: Vec<CallerKind> = Vec::new();
                for planned in plan.callers {
                    let steps =
                        planned.steps.filter(|_| lab.caller.is_none()).unwrap_or_else(|| usual.clone());
                    users::check(&steps, planned.users.as_ref()).map_err(usage)?;
                    let PlannedCaller { name, share, users, calls, .. } = planned;
                    kinds.push(CallerKind { name, share, counted: calls.is_some(), steps, users });
                }
                if kinds.is_empty() {
                    users::check(&usual, None).map_err(usage)?;
                    let (name, users) = (String::new(), None);
                    kinds.push(CallerKind { name, share: 1.0, counted: false, steps: usual, users });
                }
                let by_flags = plan.stages.is_empty() || given("rate") || given("ramp_s");
                let ramp = lab.ramp_s.map_or(Duration::ZERO, Duration::from_secs_f64);
                let one = vec![Stage { rate: lab.rate, ramp, hold: None }];
                let ends = duration.is_some()
                    || calls.is_some()
                    || !by_flags && plan.stages.iter().all(|it| it.hold.is_some());
                // without a number of calls, flags make one call; the stages of a plan go on until stopped
                let calls = if ends || !by_flags { calls } else { Some(1) };
                let stages = if by_flags { one } else { plan.stages };
                Some(Callers { kinds, pace: Pace::new(stages, calls, duration) })
            }
        };
        let codecs = match (lab.codec, plan.codecs) {
            (_, Some(codecs)) if !given("codec") => codecs,
            (Codec::Pcma, _) => vec![Codec::Pcma, Codec::Pcmu],
            _ => vec![Codec::Pcmu, Codec::Pcma],
        };
        let ptime_ms = match plan.load.ptime_ms.filter(|_| !given("ptime_ms")) {
            Some(ms) => {
                value::ptime_ms(&ms.to_string()).map_err(|why| usage(format!("load.ptime_ms: {why}")))?
            }
            None => lab.ptime_ms,
        };
        let bind = plan.load.sip_bind.filter(|_| !given("sip_bind")).unwrap_or(self.shared.sip_bind);
        let binds = match plan.load.addresses.as_slice() {
            [] => vec![bind],
            _ if given("sip_bind") => vec![bind],
            addresses => addresses.iter().map(|ip| SocketAddr::new(*ip, bind.port())).collect(),
        };
        let domain = plan.load.domain.unwrap_or_else(|| {
            let place = registrar.as_deref().or(target.as_deref());
            host_of(place.unwrap_or_default()).to_owned()
        });
        let of_callers = callers.iter().flat_map(|it| &it.kinds).flat_map(|kind| kind.steps.iter());
        let steps = of_callers.chain(callees.iter().flat_map(|kind| kind.steps.iter()));
        let sounds = sounds(steps).map_err(|error| usage(error.to_string()))?;
        Ok(LoadConfig {
            sounds,
            binds,
            enrolment,
            target,
            domain,
            signalling: plan.signalling,
            srtp: plan.srtp,
            callers,
            callees,
            scenario,
            rtp_advertise: plan.load.rtp_advertise,
            signalling_only: lab.signalling_only || plan.load.signalling_only,
            impair: lab.impair.or(plan.impair),
            ears: lab.ears.or(plan.ears).unwrap_or_default(),
            routes: plan.routes,
            holding: plan.holding.filter(|_| !given("hold_s")).unwrap_or(lab.hold_s),
            at_once: lab.at_once.or(plan.load.at_once).map(|most| most as usize),
            codecs,
            ptime_ms,
            duration,
            seed: plan.load.seed.filter(|_| !given("seed")).unwrap_or(lab.seed),
            expect: plan.expect,
            watch_pid: lab.watch_pid.or(plan.load.watch_pid),
            report: lab.report.clone(),
            sip_trace: self.shared.sip_trace.clone(),
            log: (self.shared.log_level, self.shared.log_format),
            color: self.shared.color,
            asks: None,
            each: false,
        })
    }
}

/// Flags without meaning if there are no callers.
const OF_CALLERS: [&str; 6] = ["rate", "ramp_s", "hold_s", "at_once", "caller", "calls"];

/// Whether a target is on this machine's loopback, or this process runs in its own network namespace.
fn is_ours(uri: &str) -> bool {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let host = target::host(target::host_port(rest)).trim_matches(['[', ']']);
    let loopback = host.parse::<std::net::IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    loopback || namespace("self").zip(namespace("1")).is_some_and(|(own, first)| own != first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::tests::flags;

    fn load(line: &str) -> Result<LoadConfig, Failure> {
        flags(line).load()
    }

    #[test]
    fn a_target_alone_is_one_call() {
        let config = load("--target sip:1000@127.0.0.1:5060").unwrap();
        let mut pace = config.callers.unwrap().pace;
        assert_eq!(pace.next_due(), Some(Duration::ZERO));
        pace.begin();
        assert_eq!(pace.next_due(), None);
    }

    #[test]
    fn the_shipped_plan_is_a_load_and_flags_win_over_it() {
        let plan = concat!("--plan ", env!("CARGO_MANIFEST_DIR"), "/../../plans/load.plan.toml");
        let config = load(plan).unwrap();
        assert_eq!((config.at_once, config.expect.max_setup_p99_ms), (Some(300), Some(500.0)));
        let config = load(&format!("{plan} --at-once 5 --hold-s 3 --target sip:1@127.0.0.9")).unwrap();
        assert_eq!((config.at_once, config.holding), (Some(5), "3".parse().unwrap()));
        assert_eq!(config.target.as_deref(), Some("sip:1@127.0.0.9"));
    }

    #[test]
    fn a_target_that_may_be_somebody_elses_needs_a_word() {
        for target in ["sip:1000@192.0.2.1", "sip:1000@example.com:5060"] {
            assert!(load(&format!("--target {target}")).unwrap_err().message.contains("--target-is-mine"));
            assert!(load(&format!("--target {target} --target-is-mine")).is_ok());
        }
        assert!(load("--target sip:1000@[::1]:5060").is_ok());
    }

    #[test]
    fn what_is_missing_or_means_nothing_is_exit_64() {
        for (line, text) in [
            ("", "--target or --callee is missing"),
            ("--callee answer --rate 5", "--rate is for callers"),
            ("--callee answer --registrar sip:127.0.0.1", "--registrar is for users of [callee]"),
        ] {
            let failure = load(line).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(text), "{}", failure.message);
        }
        assert!(load("--callee \"answer; hung up\"").unwrap().callers.is_none());
    }
}
