//! The table of the lab's settings, and the constraints between them.

use b2b_config::keys;
use b2b_config::keys::{Keys, SHARED};
use b2b_config::role_name::RoleName::{self, B2bua, Load, Mixer, Orchestrator, Sink, Source};

use super::value;

const LAB_ROLES: &[RoleName] = &[Orchestrator, Source, Mixer, Sink];
const CALLS: &[RoleName] = &[Source, Mixer, Sink];

keys! {
    /// Settings of the lab's roles besides [`SHARED`].
    LAB:
    engine LAB_ROLES, Text, engine;

    rtp_timeout_s CALLS, Number, seconds;

    audio_file &[Source], InputPath, path;
    prebuffer_ms &[Source], Integer, prebuffer_ms;
    ptime_ms &[Source], Integer, ptime_ms;
    codec &[Source, Load], Text, codec;
    resampler &[Source], Text, resampler;
    loop &[Source], Switch, switch;
    duration_s &[Source, Load], Number, seconds;

    aplay_cmd &[Sink], Text, command;
    output &[Sink], Text, output;
    wav &[Sink], OutputPath, path;
    calls &[Sink, Load], Integer, calls;

    dtmf_seq &[Mixer], Text, dtmf_seq;
    dtmf_period_ms &[Mixer], Integer, dtmf_period_ms;
    mix_gain_in &[Mixer], Number, gain;
    mix_gain_dtmf &[Mixer], Number, gain;

    jitter_ms &[Sink, Mixer], Integer, jitter_ms;
    force &[Sink, Mixer], Switch, switch;
    impair &[Sink, Mixer], Text, impair;

    plan &[Orchestrator, Load], InputPath, path;
    grace_ms &[Orchestrator], Integer, wait_ms;
    kill_ms &[Orchestrator], Integer, wait_ms;
    ready_ms &[Orchestrator], Integer, wait_ms;
    report &[Orchestrator, Load], OutputPath, path;

    rate &[Load], Number, rate;
    ramp_s &[Load], Number, seconds;
    hold_s &[Load], Text, holding;
    at_once &[Load], Integer, calls;
    caller &[Load], Text, caller;
    callee &[Load], Text, callee;
    scenario &[Load], InputPath, path;
    scenario_key &[Load], Text, scenario_key;
    rtp_echo &[Load], Switch, switch;
    signalling_only &[Load], Switch, switch;
    ears &[Load], Text, ears;
    watch_pid &[Load], Integer, pid;
    seed &[Load], Integer, seed;
    target_is_mine &[Load], Switch, switch;
}

/// All settings: those that a plan may contain, and those of other roles.
pub const ALL: Keys = Keys(&[
    SHARED,
    LAB,
    #[cfg(feature = "server")]
    b2b_server::flags::SERVER,
    #[cfg(feature = "phone")]
    b2b_phone::flags::PHONE,
]);

/// Settings with constraints between them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Together {
    /// Whether a file to play is set.
    pub audio_file: bool,
    /// Whether a configuration is set.
    pub config: bool,
    /// The requested playout delay.
    pub jitter_ms: Option<u32>,
    /// Whether `force` is set.
    pub forced: bool,
}

/// Checks the constraints between the settings of a role.
///
/// # Errors
/// The missing or invalid key, and the remedy.
pub fn check_together(role: RoleName, settings: Together) -> Result<(), (&'static str, String)> {
    if role == Source && !settings.audio_file {
        return Err((
            "audio_file",
            "a source needs a file to play: WAV, MP3, FLAC, Ogg, AU, .ulaw, .alaw, .sln, .g722 or .gsm"
                .to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_jitter_needs_force() {
        let low = Together { jitter_ms: Some(20), ..Together::default() };
        assert_eq!(check_together(Sink, low).unwrap_err().0, "jitter_ms");
        assert_eq!(check_together(Sink, Together { forced: true, ..low }), Ok(()));
    }
}
