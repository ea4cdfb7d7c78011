//! The plan of a load: a TOML file; flags take precedence over it.
//!
//! ```toml
//! [load]
//! target = "sip:1000@127.0.0.1:5060"
//! at_once = 300
//! hold_s = "exponential 20"
//!
//! [[stage]]          # one after the other
//! rate = 50          # calls a second
//! ramp_s = 10        # reached after
//! hold_s = 60        # kept for; the last one without it: to the end
//!
//! [caller]           # or several of them, [[caller]], each with a name and a share
//! steps = ["dial 1000", "say mark", "hears 440 within 3 s", "30 %: press 1", "stay", "hang up"]
//!
//! [expect]
//! max_setup_p99_ms = 200
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::expect::Expect;
use super::hearing::Ears;
use super::holding::Holding;
use super::kinds::CalleeKind;
use super::pace::Stage;
use super::routes::Routes;
use super::users::{self, User, Users};
use b2b_base::impairment::{ImpairConfig, ImpairError};
use b2b_call::agent::{Roots, Signalling, SrtpPolicy, Transport, sip_uri};
use b2b_config::step::{self, Deed, Step};
use b2b_media::codec::{Codec, UnknownCodec};

/// An error in a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("{path}: {error}; choose an existing plan, like plans/load.plan.toml")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: std::io::Error,
    },
    /// The text is invalid.
    #[error("{path}: {error}")]
    Text {
        /// The file.
        path: PathBuf,
        /// The error, with the line.
        error: toml::de::Error,
    },
    /// A value is invalid.
    #[error("{path}: {key}: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, as written.
        key: String,
        /// The reason, and the remedy.
        reason: String,
    },
    /// A file of users is invalid.
    #[error(transparent)]
    Users(#[from] users::UsersError),
}

/// A parsed plan.
#[derive(Debug, Clone, Default)]
pub struct LoadPlan {
    /// `[load]`.
    pub load: Table,
    /// `[agent]`, for the sandbox.
    pub agent: Option<toml::Table>,
    /// `[[stage]]`; empty: the flags apply.
    pub stages: Vec<Stage>,
    /// `[caller]`, one or several; without steps, the flags' apply.
    pub callers: Vec<PlannedCaller>,
    /// `[callee]`, one or several.
    pub callees: Vec<CalleeKind>,
    /// `[expect]`.
    pub expect: Expect,
    /// Impairment of RTP.
    pub impair: Option<ImpairConfig>,
    /// The marks that legs with a mark expect.
    pub ears: Option<Ears>,
    /// Routes with figures of their own, by number prefix.
    pub routes: Routes,
    /// The durations of calls.
    pub holding: Option<Holding>,
    /// Codecs in order of preference.
    pub codecs: Option<Vec<Codec>>,
    /// The transport of requests.
    pub signalling: Signalling,
    /// Whether media are encrypted.
    pub srtp: SrtpPolicy,
    /// The users to register, to be called.
    pub registered: Option<Users>,
    /// The registrar; `None`: the target.
    pub registrar: Option<String>,
    /// Maximum registrations per second; `None`: 100.
    pub register_per_s: Option<f64>,
    /// The registration lifetime; `None`: ten minutes.
    pub expires_s: Option<u32>,
}

/// A `[caller]`.
#[derive(Debug, Clone)]
pub struct PlannedCaller {
    /// Its name; empty if it is the only one.
    pub name: String,
    /// See [`CallerKind::share`](super::kinds::CallerKind::share).
    pub share: f64,
    /// How many calls of this kind are made; `None`: the shares decide.
    pub calls: Option<u32>,
    /// `None`: the plan sets the users, the flags set the steps.
    pub steps: Option<Arc<[Step]>>,
    /// The calling users, in turn.
    pub users: Option<Users>,
}

/// `[load]`, as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// The target of calls, and the host of dialled numbers.
    pub target: Option<String>,
    /// The local SIP address.
    pub sip_bind: Option<SocketAddr>,
    /// Local addresses in place of that, with its port; calls and users use them in turn.
    pub addresses: Vec<IpAddr>,
    /// Maximum simultaneous callers.
    pub at_once: Option<u32>,
    /// Maximum number of calls.
    pub calls: Option<u32>,
    /// No call begins after this, s.
    pub duration_s: Option<f64>,
    /// A SIPp scenario in place of steps.
    pub scenario: Option<PathBuf>,
    /// Values of its custom keywords.
    pub scenario_keys: BTreeMap<String, String>,
    /// Files with values of its `[field0]`, `[field1]` …, a line for each call.
    pub scenario_fields: Paths,
    /// Whether RTP to `[media_port]` of a scenario is echoed.
    pub rtp_echo: bool,
    /// The address in session descriptions, in place of the one that RTP binds to.
    pub rtp_advertise: Option<IpAddr>,
    /// Whether calls have no audio.
    pub signalling_only: bool,
    /// The seed of random decisions.
    pub seed: Option<u64>,
    /// Confirms that the target may be loaded, wherever it is.
    pub target_is_mine: bool,
    /// The local process to watch.
    pub watch_pid: Option<u32>,
    impair: Option<String>,
    ears: Option<String>,
    routes: Vec<String>,
    hold_s: Option<Length>,
    codecs: Option<Vec<String>>,
    /// The audio in a packet, ms.
    pub ptime_ms: Option<u32>,
    /// The domain of users; `None`: the target's host.
    pub domain: Option<String>,
    transport: Option<Way>,
    ca_file: Option<PathBuf>,
    srtp: Option<Srtp>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Udp,
    Tcp,
    Tls,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Srtp {
    Off,
    Offered,
    Required,
}

/// A path, or several in a list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "OneOrMore")]
pub struct Paths(pub Vec<PathBuf>);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(PathBuf),
    More(Vec<PathBuf>),
}

impl From<OneOrMore> for Paths {
    fn from(written: OneOrMore) -> Self {
        match written {
            OneOrMore::One(path) => Paths(vec![path]),
            OneOrMore::More(paths) => Paths(paths),
        }
    }
}

/// Seconds, or a distribution as text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Length {
    Seconds(f64),
    Words(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageTable {
    rate: f64,
    #[serde(default)]
    ramp_s: f64,
    hold_s: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CallerTable {
    name: Option<String>,
    share: Option<f64>,
    calls: Option<u32>,
    steps: Option<Vec<String>>,
    users: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CalleeTable {
    name: Option<String>,
    calls: u32,
    called: Vec<String>,
    steps: Option<Vec<String>>,
    users: Option<PathBuf>,
    registrar: Option<String>,
    register_per_s: Option<f64>,
    expires_s: Option<u32>,
}

/// One table, or several of one name.
#[derive(Debug, Default)]
struct Tables<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tables<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Several<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Several<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or several with [[ ]]")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> Result<Vec<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(tables))
            }
        }
        deserializer.deserialize_any(Several(PhantomData)).map(Tables)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    load: Table,
    agent: Option<toml::Table>,
    stage: Vec<StageTable>,
    caller: Tables<CallerTable>,
    callee: Tables<CalleeTable>,
    expect: Expect,
}

impl LoadPlan {
    /// Whether requests go over UDP.
    pub fn goes_over_udp(&self) -> bool {
        self.signalling.transport.is_none_or(|transport| transport == Transport::Udp)
    }

    /// Whether media may be encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.srtp != SrtpPolicy::Off
    }

    /// Reads a file.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn read(path: &Path) -> Result<LoadPlan, PlanError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| PlanError::Read { path: path.to_owned(), error })?;
        LoadPlan::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<LoadPlan, PlanError> {
        let written: Written =
            toml::from_str(text).map_err(|error| PlanError::Text { path: path.to_owned(), error })?;
        let bad = |key: &str, reason: String| PlanError::Value {
            path: path.to_owned(),
            key: key.to_owned(),
            reason,
        };
        let seconds = |key: &str, value: f64| match Duration::try_from_secs_f64(value) {
            Ok(duration) => Ok(duration),
            Err(_) => Err(bad(key, format!("{value} is no length; write seconds, 0 or more"))),
        };
        let stage = |stage: &StageTable| {
            if !(0.0..=100_000.0).contains(&stage.rate) {
                return Err(bad(
                    "stage.rate",
                    format!("{} is no rate; write calls a second, 0 to 100000", stage.rate),
                ));
            }
            let hold = stage.hold_s.map(|hold| seconds("stage.hold_s", hold)).transpose()?;
            Ok(Stage { rate: stage.rate, ramp: seconds("stage.ramp_s", stage.ramp_s)?, hold })
        };
        // relative to the plan, whatever the working directory
        let beside = |file: &Path| path.parent().unwrap_or(Path::new("")).join(file);
        let steps = |key: &str, steps: Option<Vec<String>>, read: fn(&str) -> Result<Vec<Step>, String>| {
            let read = steps.map(|steps| read(&steps.join(";"))).transpose();
            let mut steps = read.map_err(|reason| bad(key, reason))?;
            for step in steps.iter_mut().flatten() {
                if let Deed::Play(file) = &mut step.deed {
                    *file = beside(Path::new(file)).to_string_lossy().into_owned();
                }
            }
            Ok::<Option<Arc<[Step]>>, PlanError>(steps.map(Arc::from))
        };
        let holding = match &written.load.hold_s {
            None => None,
            Some(Length::Seconds(seconds)) => Some(seconds.to_string().parse()),
            Some(Length::Words(words)) => Some(words.parse()),
        };
        let codec =
            |name: &String| name.parse().map_err(|error: UnknownCodec| bad("load.codecs", error.to_string()));
        let signalling = Signalling {
            transport: written.load.transport.map(|it| match it {
                Way::Udp => Transport::Udp,
                Way::Tcp => Transport::Tcp,
                Way::Tls => Transport::Tls,
            }),
            tls: match (&written.load.ca_file, written.load.transport) {
                (Some(file), _) => Some(Roots::File(beside(file))),
                (None, Some(Way::Tls)) => Some(Roots::System),
                (None, _) => None,
            },
            ..Signalling::default()
        };
        let (callers, callees) = (written.caller.0, written.callee.0);
        for callee in &callees {
            if let Some(rate) = callee.register_per_s.filter(|rate| !(0.1..=100_000.0).contains(rate)) {
                return Err(bad("callee.register_per_s", format!("{rate} is no rate; write 0.1 to 100000")));
            }
            if let Some(uri) = callee.registrar.as_deref()
                && let Err(error) = sip_uri(uri)
            {
                return Err(bad("callee.registrar", error.to_string()));
            }
        }
        check_names("caller", callers.iter().map(|it| it.name.as_deref()))
            .and_then(|()| check_names("callee", callees.iter().map(|it| it.name.as_deref())))
            .map_err(|(key, reason)| bad(key, reason))?;
        let names = callers.iter().filter_map(|it| it.name.as_ref());
        if let Some(name) =
            callees.iter().filter_map(|it| it.name.as_ref()).find(|it| names.clone().any(|name| name == *it))
        {
            return Err(bad(
                "callee.name",
                format!("{name:?} is a caller's name, too; give each kind its own"),
            ));
        }
        if let Some(share) = callers.iter().filter_map(|it| it.share).find(|it| !(0.0..=1e6).contains(it)) {
            return Err(bad("caller.share", format!("{share} is no share; write 0 or more")));
        }
        if !callers.is_empty() && callers.iter().all(|it| it.share == Some(0.0)) {
            return Err(bad("caller.share", "no calls are made; set a share above 0".to_owned()));
        }
        let mut registered: Vec<User> = Vec::new();
        for file in callees.iter().filter_map(|it| it.users.as_deref()) {
            registered.extend(users::read(&beside(file))?.iter().cloned());
        }
        if let Some(duration) = written.load.duration_s {
            seconds("load.duration_s", duration)?;
        }
        Ok(LoadPlan {
            stages: written.stage.iter().map(stage).collect::<Result<_, _>>()?,
            registrar: callees.iter().find_map(|it| it.registrar.clone()),
            register_per_s: callees.iter().find_map(|it| it.register_per_s),
            expires_s: callees.iter().find_map(|it| it.expires_s),
            registered: (!registered.is_empty()).then(|| registered.into()),
            callers: callers
                .into_iter()
                .map(|it| {
                    Ok(PlannedCaller {
                        name: it.name.unwrap_or_default(),
                        share: it.calls.map_or(it.share.unwrap_or(1.0), f64::from),
                        calls: it.calls,
                        steps: steps("caller.steps", it.steps, step::caller)?,
                        users: it.users.as_deref().map(|file| users::read(&beside(file))).transpose()?,
                    })
                })
                .collect::<Result<_, PlanError>>()?,
            callees: callees
                .into_iter()
                .map(|it| {
                    Ok(CalleeKind {
                        name: it.name.unwrap_or_default(),
                        called: it.called,
                        calls: it.calls,
                        steps: steps("callee.steps", it.steps, step::callee)?.ok_or_else(|| {
                            bad("callee.steps", "there are none; write what it does".to_owned())
                        })?,
                    })
                })
                .collect::<Result<_, PlanError>>()?,
            agent: written.agent,
            expect: written.expect,
            impair: read(&written.load.impair)
                .map_err(|why: ImpairError| bad("load.impair", why.to_string()))?,
            ears: read(&written.load.ears).map_err(|reason| bad("load.ears", reason))?,
            routes: Routes::new(written.load.routes.clone()).map_err(|reason| bad("load.routes", reason))?,
            holding: holding.transpose().map_err(|reason| bad("load.hold_s", reason))?,
            codecs: written
                .load
                .codecs
                .as_ref()
                .map(|names| names.iter().map(codec).collect())
                .transpose()?,
            signalling,
            srtp: match written.load.srtp {
                None | Some(Srtp::Off) => SrtpPolicy::Off,
                Some(Srtp::Offered) => SrtpPolicy::Offered,
                Some(Srtp::Required) => SrtpPolicy::Required,
            },
            load: Table {
                scenario: written.load.scenario.as_deref().map(beside),
                scenario_fields: Paths(written.load.scenario_fields.0.iter().map(|it| beside(it)).collect()),
                ..written.load
            },
        })
    }
}

fn read<T: FromStr>(text: &Option<String>) -> Result<Option<T>, T::Err> {
    text.as_deref().map(str::parse).transpose()
}

/// Several tables of one kind must each have a name.
fn check_names<'a>(
    table: &str,
    names: impl ExactSizeIterator<Item = Option<&'a str>> + Clone,
) -> Result<(), (&'static str, String)> {
    let key = if table == "caller" { "caller.name" } else { "callee.name" };
    if names.len() > 1 && names.clone().any(|name| name.is_none_or(str::is_empty)) {
        return Err((key, format!("one of several [[{table}]] has none; name each, for its figures")));
    }
    let mut seen = BTreeSet::new();
    match names.flatten().find(|name| !seen.insert(*name)) {
        Some(name) => Err((key, format!("there are two {name:?}; give each its own"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
