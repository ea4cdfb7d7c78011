//! The one table of settings: each row is a command-line flag and, for roles, a
//! plan key. A flag's name is its key with dashes for underscores.

#[cfg(feature = "server")]
use super::role_name::RoleName::Media;
use super::role_name::RoleName::{self, B2bua, Mixer, Orchestrator, Phone, Sink, Source};
use super::value::{self, Read};

/// How a value is written in TOML, and what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string that names a file to read.
    InputPath,
    /// A string that names a file or folder to write.
    OutputPath,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`; a flag without a value.
    Switch,
}

impl Kind {
    /// For error messages.
    pub fn wanted(self) -> &'static str {
        match self {
            Kind::Text => "a string in quotes",
            Kind::InputPath | Kind::OutputPath => "a path in quotes",
            Kind::Integer => "a whole number without quotes",
            Kind::Number => "a number without quotes",
            Kind::Switch => "true or false",
        }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// snake_case, as in a plan.
    pub name: &'static str,
    /// The roles that have it.
    pub roles: &'static [RoleName],
    /// How it is written.
    pub kind: Kind,
    /// Whether a value is good.
    pub check: fn(&str) -> Read<()>,
}

impl Key {
    /// The command-line flag: `--sip-bind`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// The roles that have it, for people: `source and mixer`.
    pub fn role_list(&self) -> String {
        let names: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_string(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}

const ALL: &[RoleName] = &RoleName::ALL;
const RECORDING: &[RoleName] = &[Source, Mixer, Sink, Phone];
const SIP: &[RoleName] = &[Source, Mixer, Sink, B2bua, Phone];

macro_rules! keys {
    ($(#[$about:meta])* $table:ident: $($name:ident $roles:expr, $kind:ident, $check:ident;)*) => {
        $(#[$about])*
        const $table: &[Key] = &[$(Key {
            name: stringify!($name),
            roles: $roles,
            kind: Kind::$kind,
            check: |text| value::$check(text).map(drop),
        }),*];
    };
}

keys! { SHARED:
    log_format ALL, Text, log_format;
    color ALL, Text, color;
    log_level ALL, Text, log_level;

    sip_bind SIP, Text, sip_bind;
    sip_trace SIP, OutputPath, path;
    target &[Source, Mixer, B2bua], Text, target;
    dry_run &[Orchestrator, B2bua], Switch, switch;
    record RECORDING, OutputPath, path;
}

#[cfg(feature = "lab")]
const LAB_ROLES: &[RoleName] = &[Orchestrator, Source, Mixer, Sink];
#[cfg(feature = "lab")]
const CALLS: &[RoleName] = &[Source, Mixer, Sink];

keys! {
    #[cfg(feature = "lab")]
    LAB:
    engine LAB_ROLES, Text, engine;

    rtp_timeout_s CALLS, Number, seconds;

    audio_file &[Source], InputPath, path;
    prebuffer_ms &[Source], Integer, prebuffer_ms;
    ptime_ms &[Source], Integer, ptime_ms;
    codec &[Source], Text, codec;
    resampler &[Source], Text, resampler;
    loop &[Source], Switch, switch;
    duration_s &[Source], Number, seconds;

    aplay_cmd &[Sink], Text, command;
    output &[Sink], Text, output;
    wav &[Sink], OutputPath, path;
    calls &[Sink], Integer, calls;

    dtmf_seq &[Mixer], Text, dtmf_seq;
    dtmf_period_ms &[Mixer], Integer, dtmf_period_ms;
    mix_gain_in &[Mixer], Number, gain;
    mix_gain_dtmf &[Mixer], Number, gain;

    jitter_ms &[Sink, Mixer], Integer, jitter_ms;
    force &[Sink, Mixer], Switch, switch;
    impair &[Sink, Mixer], Text, impair;

    plan &[Orchestrator], InputPath, path;
    grace_ms &[Orchestrator], Integer, wait_ms;
    kill_ms &[Orchestrator], Integer, wait_ms;
    ready_ms &[Orchestrator], Integer, wait_ms;
    report &[Orchestrator], OutputPath, path;
}

keys! {
    #[cfg(feature = "server")]
    SERVER:
    config &[B2bua], InputPath, path;
    http_bind &[B2bua], Text, sip_bind;
    explain &[B2bua], Text, number;
    from &[B2bua], Text, number;
    source &[B2bua], Text, address;

    listen &[Media], Text, listen;
    token_file &[Media], InputPath, path;
    rtp_bind &[Media], Text, address;
    rtp_advertise &[Media], Text, address;
    rtp_ports &[Media], Text, port_range;
    max_endpoints &[Media], Integer, endpoints;
}

keys! {
    #[cfg(feature = "phone")]
    PHONE:
    identity &[Phone], Text, sip_uri;
    display_name &[Phone], Text, text;
    password_file &[Phone], InputPath, path;
    registrar &[Phone], Text, sip_uri;
    no_register &[Phone], Switch, switch;
    proxy &[Phone], Text, sip_uri;
    ca_file &[Phone], InputPath, path;
    codecs &[Phone], Text, codecs;
    srtp &[Phone], Text, srtp;

    call &[Phone], Text, text;
    answer &[Phone], Integer, calls;
    steps &[Phone], Text, steps;
    wait &[Phone], Number, seconds;
    play &[Phone], InputPath, path;
    dtmf &[Phone], Text, digits;
    hangup_after &[Phone], Number, seconds;
    json &[Phone], Switch, switch;
}

#[cfg(not(feature = "phone"))]
const PHONE: &[Key] = &[];
#[cfg(not(feature = "lab"))]
const LAB: &[Key] = &[];
#[cfg(not(feature = "server"))]
const SERVER: &[Key] = &[];

/// Every setting of every role in this build.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SHARED.iter().chain(LAB).chain(SERVER).chain(PHONE)
}

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// The settings of a role.
pub fn of(role: RoleName) -> impl Iterator<Item = &'static Key> {
    all().filter(move |key| key.roles.contains(&role))
}

/// Settings that have to fit together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Together {
    /// A file to play is named.
    pub audio_file: bool,
    /// A configuration is named.
    pub config: bool,
    /// The playout delay that was asked for.
    pub jitter_ms: Option<u32>,
    /// `force` is on.
    pub forced: bool,
}

/// What holds between settings of one role.
///
/// # Errors
/// The key that is missing or wrong, and what to do.
pub fn check_together(role: RoleName, settings: Together) -> Result<(), (&'static str, String)> {
    if role == Source && !settings.audio_file {
        return Err((
            "audio_file",
            "a source needs a file to play: MP3, WAV, FLAC or OGG Vorbis".to_string(),
        ));
    }
    if role == B2bua && !settings.config {
        return Err(("config", "a b2bua needs its configuration, like b2bua.toml".to_string()));
    }
    if settings.jitter_ms.is_some_and(|ms| ms < 60) && !settings.forced {
        let why = "a playout delay below 60 ms breaks up on ordinary networks; use at least 60, or force it: --force, in a plan force = true";
        return Err(("jitter_ms", why.to_string()));
    }
    Ok(())
}

/// The name among `valid` that is most like `name`.
pub fn nearest<'a>(name: &str, valid: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    valid
        .map(|key| (strsim::normalized_damerau_levenshtein(name, key), key))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for key in all() {
            assert_eq!(all().filter(|other| other.name == key.name).count(), 1, "{}", key.name);
        }
    }

    #[test]
    fn low_jitter_needs_force() {
        let low = Together { jitter_ms: Some(20), ..Together::default() };
        assert_eq!(check_together(Sink, low).unwrap_err().0, "jitter_ms");
        assert_eq!(check_together(Sink, Together { forced: true, ..low }), Ok(()));
    }

    #[test]
    fn nearest_finds_the_misspelt_key() {
        assert_eq!(nearest("sip_bnd", of(Sink).map(|key| key.name)), Some("sip_bind"));
        assert_eq!(nearest("max_rtp_gap", ["max_rtp_gap_ms", "min_mos"].into_iter()), Some("max_rtp_gap_ms"));
    }
}
