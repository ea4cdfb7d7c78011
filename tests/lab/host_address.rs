//! Plans on the host's own address and on every address, in network namespaces with one interface of a documentation
//! network (RFC 5737).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A network namespace, deleted on drop.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Self {
        let it = Namespace(format!("b2b-{}-{name}", std::process::id()));
        ip(&["netns", "add", &it.0]);
        it.ip("link set lo up");
        it
    }

    /// With an interface that has this address.
    fn with_interface(name: &str, address: &str) -> Self {
        let it = Namespace::new(name);
        it.ip("link add host0 type veth peer name far0");
        it.ip("link set far0 up");
        it.ip(&format!("addr add {address} dev host0"));
        it.ip("link set host0 up");
        it
    }

    fn ip(&self, words: &str) {
        ip(&[&["-n", &self.0], &words.split(' ').collect::<Vec<_>>()[..]].concat());
    }

    /// Runs a plan in the namespace.
    fn run(&self, plan: &Path, report: &Path) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, env!("CARGO_BIN_EXE_b2b"), "orchestrator", "--plan"]);
        command.arg(plan).arg("--report").arg(report).output().expect("iproute2")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).status().expect("iproute2");
    assert!(done.success(), "ip {}: {done}; this test needs root", words.join(" "));
}

/// The example plan of the designs folder, shortened to four seconds, with changes.
fn plan(folder: &Path, changes: &[(&str, &str)]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(root.join("designs/example.plan.toml")).expect("the plan");
    let audio = format!("source.audio_file = {:?}\nsource.duration_s = 4", root.join("assets/sample.mp3"));
    text = text.replace("source.audio_file = \"../assets/sample.mp3\"", &audio);
    text = text.replace("../target/example.wav", "example.wav");
    // Audio is late on a busy machine.
    text = text.replace("max_latency_ms = 250", "max_latency_ms = 10000");
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let path = folder.join("host.plan.toml");
    std::fs::write(&path, text).expect("written");
    path
}

/// Every role binds to the host's address, offers it for audio, and warns about its reachability. `ready`:
/// the roles that warn when they are READY.
fn assert_on_host(namespace: &Namespace, address: &str, ready: &[&str], changes: &[(&str, &str)]) {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let output = namespace.run(&plan(folder.path(), changes), &report);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}");
    for role in ready {
        assert!(text.contains(&format!("READY role={role} sip={address}:")), "{role}: {text}");
    }
    assert!(text.matches("without authentication and without encryption").count() >= 3, "{text}");
    for role in ["source", "sink"] {
        let trace = std::fs::read(report.join(format!("recordings/{role}.sip"))).expect("a trace");
        let trace = String::from_utf8_lossy(&trace);
        let media: Vec<&str> = trace.lines().filter(|line| line.starts_with("c=")).collect();
        let ours = format!("c=IN IP4 {address}");
        assert!(!media.is_empty() && media.iter().all(|line| line.trim() == ours), "{media:?}");
    }
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_plan_on_the_host_s_address_runs_on_that_of_the_default_route() {
    let namespace = Namespace::with_interface("route", "198.51.100.7/24");
    namespace.ip("addr add 203.0.113.9/24 dev host0");
    namespace.ip("route add default via 203.0.113.1");
    assert_on_host(&namespace, "203.0.113.9", &["source", "mixer", "sink"], &[]);
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_plan_on_the_host_s_address_runs_on_its_interface_s_where_there_is_no_route() {
    let namespace = Namespace::with_interface("interface", "198.51.100.7/24");
    assert_on_host(&namespace, "198.51.100.7", &["source", "mixer", "sink"], &[]);
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_plan_on_every_address_offers_the_one_that_it_is_called_at() {
    let namespace = Namespace::with_interface("wildcard", "198.51.100.7/24");
    let changes = [
        ("sip_bind = \"YOUR_HOST_IP:5070\"", "sip_bind = \"0.0.0.0:5070\""),
        ("sip_bind = \"YOUR_HOST_IP:5080\"", "sip_bind = \"0.0.0.0:5080\""),
    ];
    assert_on_host(&namespace, "198.51.100.7", &["source"], &changes);
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_host_with_loopback_alone_has_no_address_and_says_so() {
    let namespace = Namespace::new("alone");
    let folder = tempfile::tempdir().expect("a folder");
    let output = namespace.run(&plan(folder.path(), &[]), &folder.path().join("report"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("YOUR_HOST_IP") && text.contains("none besides loopback"), "{text}");
}
