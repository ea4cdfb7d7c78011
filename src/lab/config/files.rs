//! A plan's file: reads it, and resolves its paths and the host's address.
//!
//! A relative path in a plan is relative to the plan's folder or, failing that, to the working directory: an
//! input file must exist there, for an output file its folder must. If neither matches, the plan's folder
//! applies.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use super::plan::{self, HOST_PLACEHOLDER, Plan, Setting};
use b2b_config::keys::Kind;
use b2b_config::problem::ConfigErrors;

/// Maximum size of a plan, octets.
const LARGEST: u64 = 1 << 20;

/// Why a plan could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the plan {path}: {error}", path = path.display())]
    Read { path: PathBuf, error: std::io::Error },
    /// The plan is invalid; one line per error.
    #[error("{}", errors.in_file(path))]
    Plan { path: PathBuf, errors: ConfigErrors },
    /// The plan needs the host's address, and there is none.
    #[error(
        "{path}: YOUR_HOST_IP stands for this host's address, but it has none besides loopback; \
         write an address instead",
        path = path.display()
    )]
    NoHostAddress { path: PathBuf },
}

/// A loaded plan: the resolved plan and its text.
#[derive(Debug, Clone)]
pub struct LoadedPlan {
    /// Its file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Its content, with paths and addresses resolved.
    pub plan: Plan,
}

/// Reads a plan and resolves its relative paths and addresses.
pub fn load(path: &Path) -> Result<LoadedPlan, LoadError> {
    let text = read(path).map_err(|error| LoadError::Read { path: path.to_path_buf(), error })?;
    let mut plan =
        plan::parse(&text).map_err(|errors| LoadError::Plan { path: path.to_path_buf(), errors })?;
    resolve_all(path, plan.settings_mut())?;
    Ok(LoadedPlan { path: path.to_path_buf(), text, plan })
}

/// Resolves settings of the plan at `path`: relative paths, and the host's address.
pub(super) fn resolve_all<'a>(
    path: &Path,
    settings: impl Iterator<Item = &'a mut Setting>,
) -> Result<(), LoadError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut host = None;
    for setting in settings {
        if setting.value.contains(HOST_PLACEHOLDER) {
            let address = match host {
                Some(address) => address,
                None => {
                    primary_address().ok_or_else(|| LoadError::NoHostAddress { path: path.to_path_buf() })?
                }
            };
            host = Some(address);
            setting.value = with_host(&setting.value, address);
        }
        if matches!(setting.kind, Kind::InputPath | Kind::OutputPath) {
            let resolved = resolve(Path::new(&setting.value), setting.kind, folder);
            setting.value = resolved.to_string_lossy().into_owned();
        }
    }
    Ok(())
}

/// Reads the text of a plan, up to the maximum size of one.
pub(super) fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST {
        return Err(std::io::Error::other("it is larger than 1 MiB; that is no plan"));
    }
    Ok(text)
}

fn with_host(value: &str, address: IpAddr) -> String {
    let address = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    value.replace(HOST_PLACEHOLDER, &address)
}

fn resolve(path: &Path, kind: Kind, folder: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_path_buf();
    }
    let there = |candidate: &Path| match (kind, candidate.parent()) {
        (Kind::OutputPath, Some(parent)) if parent.as_os_str().is_empty() => true,
        (Kind::OutputPath, Some(parent)) => parent.is_dir(),
        _ => candidate.is_file(),
    };
    let beside_plan = folder.join(path);
    if !there(&beside_plan) && there(path) { path.to_path_buf() } else { beside_plan }
}

/// The source address of the default route; else the first non-loopback interface address. Nothing is sent:
/// connecting a UDP socket only consults the routing table.
pub fn primary_address() -> Option<IpAddr> {
    route_source().or_else(interface_address).filter(|address| !address.is_loopback())
}

fn route_source() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // a documentation address (RFC 5737), outside every local network
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

fn interface_address() -> Option<IpAddr> {
    let mut addresses: Vec<IpAddr> = nix::ifaddrs::getifaddrs()
        .ok()?
        .filter_map(|interface| {
            let storage = interface.address?;
            match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
                (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
                // a link-local address needs a scope, which a SIP URI cannot carry
                (_, Some(v6)) => Some(IpAddr::V6(v6.ip())).filter(|ip| !is_link_local(ip)),
                _ => None,
            }
        })
        .filter(|address| !address.is_loopback())
        .collect();
    addresses.sort_by_key(|address| address.is_ipv6());
    addresses.first().copied()
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if (v6.segments()[0] & 0xffc0) == 0xfe80)
}

/// Whether other machines can reach the lab at this address.
pub fn is_exposed(bind: SocketAddr) -> bool {
    !bind.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
[topology]
source.audio_file = "a.wav"
source.sip_target = "sip:sink@YOUR_HOST_IP:5060"
sink.wav = "out/x.wav"
"#;

    #[test]
    fn a_plan_without_end_is_refused() {
        let error = load(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("larger than 1 MiB"), "{error}");
    }

    #[test]
    fn files_are_looked_for_beside_the_plan() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wav"), b"x").unwrap();
        std::fs::create_dir(folder.path().join("out")).unwrap();
        let file = folder.path().join("p.toml");
        std::fs::write(&file, PLAN.replace("YOUR_HOST_IP", "127.0.0.1")).unwrap();
        let loaded = load(&file).unwrap();
        let path = |role, key| loaded.plan.role(role).unwrap().get(key).map(PathBuf::from);
        assert_eq!(path(b2b_config::RoleName::Source, "audio_file"), Some(folder.path().join("a.wav")));
        assert_eq!(path(b2b_config::RoleName::Sink, "wav"), Some(folder.path().join("out/x.wav")));
    }

    #[test]
    fn what_is_not_beside_the_plan_is_taken_from_the_working_directory() {
        let folder = tempfile::tempdir().unwrap();
        let here = Path::new("config/mod.rs");
        assert_eq!(resolve(here, Kind::InputPath, folder.path()), here);
        assert_eq!(
            resolve(Path::new("config/x.wav"), Kind::OutputPath, folder.path()),
            Path::new("config/x.wav")
        );
        assert_eq!(
            resolve(Path::new("no/x.wav"), Kind::OutputPath, folder.path()),
            folder.path().join("no/x.wav")
        );
    }

    #[test]
    fn an_ipv6_host_stands_in_brackets() {
        assert_eq!(
            with_host("sip:a@YOUR_HOST_IP:5060", "2001:db8::1".parse().unwrap()),
            "sip:a@[2001:db8::1]:5060"
        );
    }

    #[test]
    fn errors_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.toml");
        std::fs::write(&file, "[topology]\nsink.sip_bnd = \"127.0.0.1:0\"\n").unwrap();
        let error = load(&file).unwrap_err().to_string();
        assert!(error.contains("p.toml:2: "), "{error}");
        assert!(error.contains("`sink.sip_bind`"), "{error}");
    }
}
