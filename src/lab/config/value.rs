//! Values of the lab's flags and plan keys.

pub use b2b_config::value::*;

use std::sync::Arc;

use crate::load::hearing::Ears;
use crate::load::holding::Holding;
use crate::role::player::{PlayerCommand, PlayerCommandError};
use crate::role::sink::Output;
use b2b_config::step::{self, Step};
use b2b_media::dtmf::{Sequence, SequenceError};
use b2b_media::resample::Method;
use b2b_ua::{Codec, Engine, ImpairConfig};

/// `--prebuffer-ms`: the ring holds 4 s.
pub fn prebuffer_ms(text: &str) -> Read<u32> {
    whole(text, 1_000..=4_000, " ms")
}

/// `--ptime-ms`: 10 to 60 in steps of 10.
pub fn ptime_ms(text: &str) -> Read<u32> {
    match text.parse() {
        Ok(ms @ (10 | 20 | 30 | 40 | 50 | 60)) => Ok(ms),
        _ => Err("not a packet time; choose 10, 20, 30, 40, 50 or 60 ms".to_string()),
    }
}

/// `--codec`.
pub fn codec(text: &str) -> Read<Codec> {
    let known = text.parse().ok().filter(|codec: &Codec| codec.is_g711() && codec.key() == text);
    known.ok_or_else(|| "no such codec; choose pcmu or pcma".to_string())
}

/// `--resampler`.
pub fn resampler(text: &str) -> Read<Method> {
    match text {
        "sinc" => Ok(Method::Sinc),
        "linear" => Ok(Method::Linear),
        _ => Err("no such resampler; choose sinc or linear".to_string()),
    }
}

/// `--output`.
pub fn output(text: &str) -> Read<Output> {
    match text {
        "aplay" => Ok(Output::Aplay),
        "auto" => Ok(Output::Auto),
        "null" => Ok(Output::Null),
        _ => Err("no such output; choose aplay, auto or null".to_string()),
    }
}

/// `--aplay-cmd`: split as by a shell, but run without one.
pub fn command(text: &str) -> Read<PlayerCommand> {
    text.parse().map_err(|error: PlayerCommandError| error.to_string())
}

/// `--dtmf-period-ms`.
pub fn dtmf_period_ms(text: &str) -> Read<u32> {
    whole(text, 0..=3_600_000, " ms")
}

/// `--dtmf-seq`: digits; number punctuation is skipped.
pub fn dtmf_seq(text: &str) -> Read<Sequence> {
    text.parse().map_err(|error: SequenceError| error.to_string())
}

/// `--mix-gain-in`, `--mix-gain-dtmf`: a linear factor.
pub fn gain(text: &str) -> Read<f64> {
    number_in(text, 0.0..=4.0, " (a factor: 1 leaves the level as it is)")
}

/// `--jitter-ms`: below 60 only with `--force`, which is checked elsewhere.
pub fn jitter_ms(text: &str) -> Read<u32> {
    whole(text, 0..=1_000, " ms")
}

/// `--impair`.
pub fn impair(text: &str) -> Read<ImpairConfig> {
    text.parse().map_err(|error: b2b_base::impairment::ImpairError| error.to_string())
}

/// `--grace-ms`, `--kill-ms`, `--ready-ms`.
pub fn wait_ms(text: &str) -> Read<u64> {
    whole(text, 1..=3_600_000, " ms")
}

/// `--rate`: calls per second.
pub fn rate(text: &str) -> Read<f64> {
    number_in(text, 0.001..=100_000.0, " (calls a second)")
}

/// `--ears`: the marks that legs with a mark expect.
pub fn ears(text: &str) -> Read<Ears> {
    text.parse()
}

/// `--hold-s`: a distribution.
pub fn holding(text: &str) -> Read<Holding> {
    text.parse()
}

/// Steps as one flag value.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario(pub Arc<[Step]>);

/// `--scenario-key NAME=VALUE`.
pub fn scenario_key(text: &str) -> Read<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("no name; write NAME=VALUE, like mport=6000".to_string()),
    }
}

/// `--caller`: the steps of each caller.
pub fn caller(text: &str) -> Read<Scenario> {
    step::caller(text).map(|steps| Scenario(steps.into()))
}

/// `--callee`: the steps of each callee.
pub fn callee(text: &str) -> Read<Scenario> {
    step::callee(text).map(|steps| Scenario(steps.into()))
}

/// `--seed`.
pub fn seed(text: &str) -> Read<u64> {
    whole(text, 0..=u64::MAX, "")
}

/// `--watch-pid`.
pub fn pid(text: &str) -> Read<u32> {
    whole(text, 1..=u32::MAX, "")
}

/// `--engine`: the engine of `ua`.
pub fn engine(text: &str) -> Read<Engine> {
    text.parse().map_err(|_| "no such engine; choose native or baresip".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dtmf_sequences_take_punctuation_and_refuse_the_rest() {
        assert!(dtmf_seq("+442083661177").is_ok());
        assert!(dtmf_seq("(0) 1-2.3*#ABCD").is_ok());
        assert!(dtmf_seq("12E").unwrap_err().contains("'E'"));
    }

    #[test]
    fn numbers_keep_to_their_range() {
        assert_eq!(prebuffer_ms("1000"), Ok(1_000));
        assert!(prebuffer_ms("999").is_err());
        assert!(ptime_ms("25").is_err());
        assert!(gain("-0.1").is_err());
        assert!(gain("NaN").is_err());
    }

    #[test]
    fn player_commands_are_split_like_a_shell_would() {
        assert!(command("aplay -D 'my card'").is_ok());
        assert!(command("aplay 'open").is_err());
        assert!(command("  ").is_err());
    }
}
