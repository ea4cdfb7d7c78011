//! tshark's own analysis of the main job, 60 seconds and more: nothing lost, no discontinuity, packets on
//! time. Run it on a quiet machine, with a release build: `cargo test -- --ignored interop_tshark`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::interop::support::{Running, file, print_version};
use nix::sys::signal::Signal;

/// One RTP packet as captured by tshark.
struct Packet {
    time: f64,
    seq: u16,
    timestamp: u32,
}

/// The RTP streams of a capture with a minute or more, by SSRC: other traffic on loopback is ignored.
fn streams(capture: &Path) -> Vec<Vec<Packet>> {
    let output = Command::new("tshark")
        .args(["-r"])
        .arg(capture)
        .args(["-o", "rtp.heuristic_rtp:TRUE", "-Y", "rtp", "-T", "fields", "-E", "separator=,"])
        .args(["-e", "rtp.ssrc", "-e", "frame.time_epoch", "-e", "rtp.seq", "-e", "rtp.timestamp"])
        .output()
        .expect("tshark");
    let mut streams: Vec<(String, Vec<Packet>)> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let [ssrc, time, seq, timestamp] = fields[..] else { panic!("{line}") };
        let packet = Packet {
            time: time.parse().expect("time"),
            seq: seq.parse().expect("seq"),
            timestamp: timestamp.parse().expect("timestamp"),
        };
        match streams.iter_mut().find(|(known, _)| known == ssrc) {
            Some((_, packets)) => packets.push(packet),
            None => streams.push((ssrc.to_string(), vec![packet])),
        }
    }
    streams.into_iter().map(|(_, packets)| packets).filter(|packets| packets.len() > 3_000).collect()
}

#[test]
#[ignore = "takes more than a minute and needs tshark; run by .ci/run"]
fn interop_tshark_finds_no_gap_in_the_main_job() {
    print_version("tshark", "-v", "TShark");
    let folder = tempfile::tempdir().expect("dir");
    let capture = folder.path().join("rtp.pcapng");
    let mut command = Command::new("tshark");
    command.args(["-i", "lo", "-f", "udp", "-a", "duration:120", "-w"]).arg(&capture);
    let mut tshark = Running::start("tshark", &mut command);
    tshark.log_line("Capturing on");
    std::thread::sleep(Duration::from_secs(1));

    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "orchestrator", "--plan"]).arg(file("plans/smk.plan.toml"));
    let orchestrator = Running::start("orchestrator", &mut command).wait_long(Duration::from_secs(150));
    assert_eq!(orchestrator.code, Some(0), "{}\n{}", orchestrator.output.join("\n"), orchestrator.log);
    tshark.signal(Signal::SIGINT);
    let captured = tshark.wait();
    assert!(
        !captured.log.contains("dropped"),
        "the capture lost packets and proves nothing: {}",
        captured.log
    );

    let mut streams_seen = 0;
    for packets in streams(&capture) {
        let (first, last) = (&packets[0], &packets[packets.len() - 1]);
        let mean = (last.time - first.time) * 1e3 / (packets.len() - 1) as f64;
        let gaps = packets.windows(2).map(|two| (two[1].time - two[0].time) * 1e3);
        let longest = gaps.fold(0.0, f64::max);
        println!("stream of {} packets: mean {mean:.3} ms, longest gap {longest:.2} ms", packets.len());
        let lost = packets.windows(2).filter(|two| two[1].seq != two[0].seq.wrapping_add(1)).count();
        assert_eq!(lost, 0, "sequence numbers that do not follow each other");
        let jumps = packets.windows(2).filter(|two| two[1].timestamp.wrapping_sub(two[0].timestamp) != 160);
        assert_eq!(jumps.count(), 0, "timestamps that do not follow each other");
        assert!((mean - 20.0).abs() <= 0.05, "mean {mean} ms");
        streams_seen += 1;
        // Send delays depend on the machine: the figure is printed, and limited only on a machine known to be
        // quiet.
        if std::env::var_os("B2B_QUIET_MACHINE").is_some() {
            assert!(longest <= 40.0, "longest gap {longest} ms");
        }
    }
    assert!(streams_seen >= 2, "source to mixer and mixer to sink: only {streams_seen} streams of a minute");
}
