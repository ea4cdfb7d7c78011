//! One line with the status of a run: every five seconds, and as the status line.

use std::time::Duration;

use super::tag;
use b2b_base::metrics::MetricsLine;
use b2b_config::RoleName;

/// The status of one role.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Its role.
    pub role: RoleName,
    /// The name of a load.
    pub name: Option<&'a str>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether it is stalled.
    pub stalled: bool,
    /// Its latest metrics line.
    pub metrics: Option<&'a MetricsLine>,
}

/// `12 s | SRC tx 600 | MIX rx 598 tx 597 lost 0 jitter 0.1/0.4 ms | SINK …`;
/// `roles` in call order.
pub fn line(elapsed: Duration, roles: &[Standing<'_>]) -> String {
    format!("{} s{}", elapsed.as_secs(), parts(roles))
}

/// The same without the elapsed time: ` | SRC tx 600 | crowd ready`.
pub fn parts(roles: &[Standing<'_>]) -> String {
    let mut text = String::new();
    for standing in roles {
        let name = standing.name.unwrap_or_else(|| tag::plain(standing.role).trim_matches(['[', ']', ' ']));
        text.push_str(&format!(" | {name} {}", part(standing)));
    }
    text
}

fn part(standing: &Standing<'_>) -> String {
    let mut words = Vec::new();
    if standing.stalled {
        words.push("STALLED".to_string());
    }
    match standing.metrics {
        _ if standing.ended => words.push("ended".to_string()),
        None if standing.ready => words.push("ready".to_string()),
        None => words.push("starting".to_string()),
        Some(line) => figures(standing.role, line, &mut words),
    }
    words.join(" ")
}

fn figures(role: RoleName, line: &MetricsLine, words: &mut Vec<String>) {
    let receives = role != RoleName::Source;
    if receives {
        words.push(format!("rx {}", line.packets_rx));
    }
    if role != RoleName::Sink {
        words.push(format!("tx {}", line.packets_tx));
    }
    if line.underruns > 0 {
        words.push(format!("underruns {}", line.underruns));
    }
    if receives {
        words.push(format!("lost {}", line.rtp_loss));
        words.push(format!("jitter {:.1}/{:.1} ms", line.jitter_ms_p50, line.jitter_ms_p95));
    }
    if let Some((p50, p95)) = line.latency_ms_p50.zip(line.latency_ms_p95) {
        words.push(format!("latency {p50:.0}/{p95:.0} ms"));
    }
    if let Some(mos) = line.mos.filter(|_| role == RoleName::Sink) {
        words.push(format!("mos {mos:.2}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_each_role_does() {
        let source = MetricsLine { packets_tx: 600, ..MetricsLine::default() };
        let sink = MetricsLine {
            packets_rx: 595,
            rtp_loss: 1,
            latency_ms_p50: Some(151.2),
            latency_ms_p95: Some(160.9),
            ..MetricsLine::default()
        };
        let standing =
            |role, metrics| Standing { role, name: None, ready: true, ended: false, stalled: false, metrics };
        let roles = [
            standing(RoleName::Source, Some(&source)),
            Standing { stalled: true, ..standing(RoleName::Mixer, None) },
            standing(RoleName::Sink, Some(&sink)),
            Standing { name: Some("crowd"), ..standing(RoleName::Load, None) },
        ];
        assert_eq!(
            line(Duration::from_millis(12_900), &roles),
            "12 s | SRC tx 600 | MIX STALLED ready | SINK rx 595 lost 1 jitter 0.0/0.0 ms latency 151/161 ms \
             | crowd ready"
        );
    }
}
