//! Which alarms there are: how bad each is, how long what happened once stays, and what to do.

use std::time::Duration;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Calls are lost, something that has to be kept is, or somebody needs help.
    Critical,
    /// Somebody has to look at it.
    Warning,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    PortsShort,
    CallsRefused,
    LateTicks,
    QueueOverGoal,
    MediaRefused,
    Banned,
    RealmRefused,
    ProxyNotNamed,
    NotFollowed,
    WrongPin,
    ReloadRefused,
    HandlerFailed,
    Bug,
}

/// When an alarm is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// It is no longer so when the server is looked at.
    NotSo,
    /// So long after it happened for the last time.
    After(Duration),
    /// Somebody says that it is.
    Said,
}

/// What is to be known of a kind.
struct Row {
    name: &'static str,
    severity: Severity,
    ends: Ends,
    fix: &'static str,
}

const MINUTE: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);

impl Kind {
    /// Every kind, the worst first.
    pub const ALL: [Kind; 22] = [
        Kind::EmergencyCall,
        Kind::NoMedia,
        Kind::MediaServerDown,
        Kind::GatewayDown,
        Kind::Draining,
        Kind::DiskLow,
        Kind::RecordingFailed,
        Kind::RecordsLost,
        Kind::CertificateExpires,
        Kind::PortsShort,
        Kind::CallsRefused,
        Kind::LateTicks,
        Kind::QueueOverGoal,
        Kind::MediaRefused,
        Kind::Banned,
        Kind::RealmRefused,
        Kind::ProxyNotNamed,
        Kind::NotFollowed,
        Kind::WrongPin,
        Kind::ReloadRefused,
        Kind::HandlerFailed,
        Kind::Bug,
    ];

    const fn row(self) -> Row {
        use Severity::{Critical, Warning};
        match self {
            Kind::EmergencyCall => Row {
                name: "emergency_call",
                severity: Critical,
                ends: Ends::After(HOUR),
                fix: "somebody has called for help: see who it is and where, and let the emergency services in",
            },
            Kind::NoMedia => Row {
                name: "no_media",
                severity: Critical,
                ends: Ends::NotSo,
                fix: "start the media servers of media.controller or rtpengine, or give one more room \
                      (--max-endpoints, --rtp-ports): new calls get 503 until one takes them",
            },
            Kind::MediaServerDown => Row {
                name: "media_server_down",
                severity: Critical,
                ends: Ends::NotSo,
                fix: "start it again, or mend what the text says: its calls have ended; new ones go to the next of \
                      media.controller",
            },
            Kind::GatewayDown => Row {
                name: "gateway_down",
                severity: Critical,
                ends: Ends::NotSo,
                fix: "look whether the provider answers: see `GET /gateways` and the log for the reason; calls go by \
                      the next gateway of their route until it is back",
            },
            Kind::Draining => Row {
                name: "draining",
                severity: Warning,
                ends: Ends::NotSo,
                fix: "nothing, if it is meant: it takes no new calls and ends when the last one has; a second \
                      SIGTERM ends it at once",
            },
            Kind::DiskLow => Row {
                name: "disk_low",
                severity: Critical,
                ends: Ends::NotSo,
                fix: "make room where recordings are, or set recording.keep_days or recording.keep_gb: no recording \
                      begins until there is",
            },
            Kind::RecordingFailed => Row {
                name: "recording_failed",
                severity: Critical,
                ends: Ends::After(HOUR),
                fix: "look at the disk and the rights of recording.folder; what was said until then is in the file",
            },
            Kind::RecordsLost => Row {
                name: "records_lost",
                severity: Critical,
                ends: Ends::After(HOUR),
                fix: "look at the disk of server.cdr: it is full, gone or too slow",
            },
            Kind::CertificateExpires => Row {
                name: "certificate_expires",
                severity: Critical,
                ends: Ends::NotSo,
                fix: "put a new certificate in the place of the file and send SIGHUP; calls that are up stay",
            },
            Kind::PortsShort => Row {
                name: "ports_short",
                severity: Critical,
                ends: Ends::NotSo,
                fix: "widen media.ports: a leg needs two, and they rest for a while after a call",
            },
            Kind::CallsRefused => Row {
                name: "calls_refused",
                severity: Critical,
                ends: Ends::After(TEN_MINUTES),
                fix: "raise limits.calls if the machine has CPU to spare, else put a second server beside it",
            },
            Kind::LateTicks => Row {
                name: "late_ticks",
                severity: Warning,
                ends: Ends::After(MINUTE),
                fix: "the machine has too little CPU for its media: look for other programs, or take fewer calls \
                      (limits.calls)",
            },
            Kind::QueueOverGoal => Row {
                name: "queue_over_goal",
                severity: Warning,
                ends: Ends::NotSo,
                fix: "more agents have to log in, or paused ones come back: see `GET /agents`",
            },
            Kind::MediaRefused => Row {
                name: "media_refused",
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "if the address is the party's, add the line to its [[gateway]] or [[user]], or to [media] for \
                      all, and send SIGHUP; if you do not know it, somebody tried to speak in its place",
            },
            Kind::Banned => Row {
                name: "banned",
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "somebody guesses passwords; if it is a phone of yours, mend its password: its ban ends by itself",
            },
            Kind::RealmRefused => Row {
                name: "realm_refused",
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "if the realm is the provider's own, add the line to its [[gateway]] and send SIGHUP; if not, \
                      somebody whom it was called for asked for your password, and did not get it",
            },
            Kind::ProxyNotNamed => Row {
                name: "proxy_not_named",
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "if it is a proxy of yours, add the line that the text has and send SIGHUP: until then its phones \
                      are called at the proxy's port, without Path, and share its limits; if not, somebody lies",
            },
            Kind::NotFollowed => Row {
                name: "not_followed",
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "nobody was called there; if it is meant, write the line that the text ends with",
            },
            Kind::WrongPin => Row {
                name: "wrong_pin",
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "somebody guesses a PIN: each try waits longer, on however many lines; give it more digits, and see \
                      `GET /events` for the calls",
            },
            Kind::ReloadRefused => Row {
                name: "reload_refused",
                severity: Warning,
                ends: Ends::Said,
                fix: "mend the file and send SIGHUP again: the old configuration is still in force",
            },
            Kind::HandlerFailed => Row {
                name: "handler_failed",
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "look into the log for the application's error: the caller was hung up",
            },
            Kind::Bug => Row {
                name: "bug",
                severity: Warning,
                ends: Ends::After(HOUR),
                fix: "please report it with the log around it",
            },
        }
    }

    pub const fn name(self) -> &'static str {
        self.row().name
    }

    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// When it is over.
    pub const fn ends(self) -> Ends {
        self.row().ends
    }

    /// What to do.
    pub const fn fix(self) -> &'static str {
        self.row().fix
    }
}
