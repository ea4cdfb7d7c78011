//! The kinds of alarms: their severity, the lifetime of alarms for events, and the remedy.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

/// Severity of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Calls or records are lost, or an emergency call was made.
    Critical,
    /// An operator has to look at it.
    Warning,
}

/// The cause of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Kind {
    EmergencyCall,
    NoMedia,
    MediaServerDown,
    GatewayDown,
    Draining,
    DiskLow,
    RecordingFailed,
    RecordsLost,
    CertificateExpires,
    CertificateRefused,
    PortsShort,
    CallsRefused,
    LateTicks,
    QueueOverGoal,
    MediaRefused,
    BadAudio,
    Banned,
    RealmRefused,
    ProxyNotNamed,
    NotFollowed,
    WrongPin,
    ReloadRefused,
    HandlerFailed,
    SoundUnplayable,
    Bug,
}

/// When an alarm ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// When a check of the server finds the cause gone.
    NotSo,
    /// This long after the last occurrence.
    After(Duration),
    /// Once an event reports its end.
    Said,
}

/// The properties of a kind.
struct Row {
    severity: Severity,
    ends: Ends,
    fix: &'static str,
}

const MINUTE: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);

impl Kind {
    /// Every kind, the worst first.
    pub const ALL: &[Kind] = Kind::VARIANTS;

    const fn row(self) -> Row {
        use Severity::{Critical, Warning};
        match self {
            Kind::EmergencyCall => Row {
                severity: Critical,
                ends: Ends::After(HOUR),
                fix: "check who called and from where, and let the emergency services in",
            },
            Kind::NoMedia => Row {
                severity: Critical,
                ends: Ends::NotSo,
                fix: "start the media servers of media.controller or rtpengine, or raise the limits of one \
                      (--max-endpoints, --rtp-ports): new calls get 503 until one accepts them",
            },
            Kind::MediaServerDown => Row {
                severity: Critical,
                ends: Ends::NotSo,
                fix: "start it again, or correct the problem in the text: its calls have ended; new calls \
                      use the next one of media.controller",
            },
            Kind::GatewayDown => Row {
                severity: Critical,
                ends: Ends::NotSo,
                fix: "check whether the provider responds; `GET /gateways` and the log have the reason. \
                      Until it is back, calls use the next gateway of their route",
            },
            Kind::Draining => Row {
                severity: Warning,
                ends: Ends::NotSo,
                fix: "nothing, if intended: the server takes no new calls and exits after the last one; a \
                      second SIGTERM stops it at once",
            },
            Kind::DiskLow => Row {
                severity: Critical,
                ends: Ends::NotSo,
                fix: "free disk space in recording.folder, or set recording.keep_days or recording.keep_gb: \
                      no recording starts until then",
            },
            Kind::RecordingFailed => Row {
                severity: Critical,
                ends: Ends::After(HOUR),
                fix: "check the disk and the permissions of recording.folder; the file has the audio until the failure",
            },
            Kind::RecordsLost => Row {
                severity: Critical,
                ends: Ends::After(HOUR),
                fix: "check the disk of server.cdr: it is full, unavailable or too slow",
            },
            Kind::CertificateExpires => Row {
                severity: Critical,
                ends: Ends::NotSo,
                fix: "replace the file with a new certificate and send SIGHUP; existing calls are not affected",
            },
            Kind::CertificateRefused => Row {
                severity: Critical,
                ends: Ends::NotSo,
                fix: "correct the file; the old certificate stays in use until it expires",
            },
            Kind::PortsShort => Row {
                severity: Critical,
                ends: Ends::NotSo,
                fix: "widen media.ports: a leg needs two ports, and they are not reused immediately after a call",
            },
            Kind::CallsRefused => Row {
                severity: Critical,
                ends: Ends::After(TEN_MINUTES),
                fix: "raise limits.calls if the machine has spare CPU, otherwise add a second server",
            },
            Kind::LateTicks => Row {
                severity: Warning,
                ends: Ends::After(MINUTE),
                fix: "the machine has too little CPU for its media: stop other programs, or lower \
                      limits.calls",
            },
            Kind::QueueOverGoal => Row {
                severity: Warning,
                ends: Ends::NotSo,
                fix: "log in more agents, or end their pauses: see `GET /agents`",
            },
            Kind::MediaRefused => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "if the address belongs to the party, add the line to its [[gateway]] or [[user]], or \
                      to [media] for all, and send SIGHUP; if it is unknown, a third party tried to inject \
                      audio",
            },
            Kind::BadAudio => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "see the call in the text: its verdict names the leg and the remedy; `audio=fault` in the \
                      list of ended calls finds all such calls",
            },
            Kind::Banned => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "a source is guessing passwords; if it is your phone, correct its password: its ban expires by itself",
            },
            Kind::RealmRefused => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "if the realm belongs to the provider, add the line to its [[gateway]] and send SIGHUP; \
                      if not, a third party requested your password and did not get it",
            },
            Kind::ProxyNotNamed => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "if it is your proxy, add the line in the text and send SIGHUP: until then its phones \
                      are called at the proxy's port, without Path, and share its limits; if not, its \
                      headers are forged",
            },
            Kind::NotFollowed => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "no call was made to that destination; to allow it, add the line at the end of the text",
            },
            Kind::WrongPin => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "a caller is guessing a PIN: each attempt waits longer, across all calls; use a longer \
                      PIN, and see `GET /events` for the calls",
            },
            Kind::ReloadRefused => Row {
                severity: Warning,
                ends: Ends::Said,
                fix: "correct the file and send SIGHUP again: the old configuration is still in force",
            },
            Kind::HandlerFailed => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "check the log for the application's error: the caller was hung up, or sent to its fallback",
            },
            Kind::SoundUnplayable => Row {
                severity: Warning,
                ends: Ends::NotSo,
                fix: "replace the file, or correct the key that names it, and send SIGHUP; callers hear a tone for \
                      music, and an application goes on as if a prompt had failed",
            },
            Kind::Bug => Row {
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "please report it with the surrounding log lines",
            },
        }
    }

    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// When it ends.
    pub const fn ends(self) -> Ends {
        self.row().ends
    }

    /// The remedy.
    pub const fn fix(self) -> &'static str {
        self.row().fix
    }
}
