//! Media in `/metrics`: sums over the media threads.

use super::text::{Kind, Page};
use b2b_call::controller::{Ports, Totals};

/// Writes the metrics.
pub fn media(page: &mut Page, (totals, ports): &(Totals, Ports)) {
    let ways = |(received, sent): (u64, u64)| [("received", received), ("sent", sent)];
    for (name, help, values) in [
        (
            "b2b_media_packets_total",
            "RTP packets received from accepted sources, and sent.",
            (totals.received.0, totals.sent.0),
        ),
        ("b2b_media_octets_total", "Their octets, RTP headers included.", (totals.received.1, totals.sent.1)),
        ("b2b_media_rtcp_total", "RTCP packets received and sent.", totals.rtcp),
    ] {
        page.each(name, "direction", Kind::Counter, help, ways(values));
    }
    let help = "Datagrams dropped at RTP ports, by reason.";
    page.each("b2b_media_dropped_total", "reason", Kind::Counter, help, totals.dropped.each());
    let lost = [("here", totals.lost), ("far_end", totals.far_lost)];
    let help = "Lost RTP packets: here by sequence numbers, at far ends by their reports.";
    page.each("b2b_media_lost_total", "where", Kind::Counter, help, lost);
    let ticks = [("in_time", totals.ticks.0 - totals.ticks.1.min(totals.ticks.0)), ("late", totals.ticks.1)];
    let help = "Ticks of 20 ms in which b2b generated audio, and those more than 5 ms late.";
    page.each("b2b_media_ticks_total", "when", Kind::Counter, help, ticks);
    let states =
        [("used", ports.used), ("ready", ports.ready), ("free", ports.free), ("resting", ports.resting)];
    page.each("b2b_media_ports", "state", Kind::Gauge, "RTP ports.", states);
}
