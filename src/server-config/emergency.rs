//! `[emergency]`: the numbers of emergency services, and the gateways for calls to them.

use super::names::{Names, What};
use super::parties::Gateway;
use super::{ConfigError, ServerConfig};
use b2b_config::lines::Text;
use b2b_config::section::Section;
use b2b_config::table::Takes::{Pairs, Texts, Whole};
use b2b_config::table::{Table, any};
use b2b_config::value::Read;
use b2b_config::{rows, texts};
use b2b_sip::msg::number::{bare, digits};

/// `[emergency]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// The dialled numbers; at least one.
    pub numbers: Vec<String>,
    /// Names of the gateways for the calls, in this order; at least one.
    pub gateways: Vec<String>,
    /// Sub-services of `urn:service:sos` in lower case, each with the number to call at the gateways.
    pub services: Vec<(String, String)>,
    /// Maximum simultaneous calls that are exempt from the other limits.
    pub calls: usize,
    /// The same of one user, or of one number of a trunk.
    pub user_calls: usize,
    /// How many of these may come at once; after that one a second.
    pub user_burst: u32,
    /// The same as `calls` of one trunk or one trusted address.
    pub trunk_calls: usize,
}

/// The service of emergency calls (RFC 5031 §4.2); sub-services follow after a dot.
const SOS: &str = "urn:service:sos";

pub const EMERGENCY: Table = Table {
    name: "emergency",
    written: "[emergency]",
    about: "Emergency calls. See `docs/emergency.md`.",
    keys: rows! {
        numbers: texts!("text or list of texts", number) => [],
            "The emergency numbers as they are dialled, like `[\"112\", \"911\"]`; with at least one, `urn:service:sos` is an emergency call, too. Users, trusted addresses and gateways with `trust_identity` may call them regardless of routes and limits. Empty: no number is an emergency number.";
        gateways: Texts("gateway or list of gateways", any) => [],
            "The gateways for emergency calls, tried in this order, those that are down after all others. One of their `channels` is reserved for these calls, and one of `limits.calls`.";
        services: Pairs("table of services and numbers"),
            "The numbers that gateways get for `urn:service:sos.police` and others, like `{ police = \"110\", fire = \"112\" }`. Without it, and for `urn:service:sos` itself: the first of `numbers`.";
        calls: Whole(1, 10_000) => 100,
            "Concurrent emergency calls that bypass every limit; further ones are routed in the same way, within the usual limits. The last quarter is for callers without such a call.";
        user_calls: Whole(1, 100) => 2,
            "The same of one user, or of one calling number of a trusted gateway or address.";
        user_burst: Whole(1, 100) => 3,
            "How many of these may come at once; after that, one a second.";
        trunk_calls: Whole(1, 10_000) => 50,
            "The same as `calls` of one trusted gateway or address.";
    },
};

/// Reads the table; `None`: there are no emergency numbers. Every gateway is known by now.
pub(super) fn emergency(section: &Section<'_>, names: &Names) -> Result<Option<Emergency>, ConfigError> {
    let numbers = section.parsed_list("numbers", number)?;
    let mut gateways = Vec::new();
    for Text { text, at } in section.texts("gateways")? {
        section.refer(at, names.no_such(What::Gateway, section.full("gateways"), &text));
        gateways.push(text);
    }
    let services = section.pairs("services")?.into_iter().map(|(name, value)| {
        let bad = |why: String| section.bad("services", value.at, &value.text, why);
        Ok((service(&name).map_err(bad)?, number(&value.text).map_err(bad)?))
    });
    let services: Vec<(String, String)> = services.collect::<Result<_, ConfigError>>()?;
    let (calls, user_calls) = (section.whole("calls")?, section.whole("user_calls")?);
    let (user_burst, trunk_calls) = (section.whole("user_burst")?, section.whole("trunk_calls")?);
    section.finish();
    match (numbers.is_empty(), gateways.is_empty()) {
        (true, true) if services.is_empty() => Ok(None),
        (false, false) => {
            Ok(Some(Emergency { numbers, gateways, services, calls, user_calls, user_burst, trunk_calls }))
        }
        (false, true) => {
            Err(section
                .missing("gateways", "add the gateways for these calls, like gateways = [\"carrier\"]"))
        }
        (true, _) => Err(section.missing("numbers", "add the emergency numbers, like numbers = [\"112\"]")),
    }
}

/// An emergency number as dialled.
fn number(text: &str) -> Read<String> {
    let good = |c: char| c.is_ascii_digit() || "*#+".contains(c);
    match (2..=15).contains(&text.len()) && text.chars().all(good) {
        true => Ok(text.to_string()),
        false => Err("not a number; write 2 to 15 digits, like \"112\"".to_string()),
    }
}

/// A sub-service (RFC 5031 §3: letters, digits and hyphens, with dots between).
fn service(text: &str) -> Read<String> {
    let label = |it: &str| !it.is_empty() && it.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match text.split('.').all(label) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("{text:?} is not a service; write it like police, for {SOS}.police")),
    }
}

impl Emergency {
    /// The number to call at the gateways for a dialled number or service URI. `None`: it is no emergency
    /// number. Separators and parameters of a number never count, nor does the network it is local to.
    pub fn number_of(&self, dialled: &str) -> Option<&str> {
        let digits = digits(bare(dialled));
        if let Some(number) = self.numbers.iter().find(|number| Some(*number) == digits.as_ref()) {
            return Some(number);
        }
        let dialled = dialled.to_ascii_lowercase();
        let mut rest = match dialled.strip_prefix(SOS)? {
            "" => "",
            sub => sub.strip_prefix('.').filter(|sub| !sub.is_empty())?,
        };
        // A service that is not listed uses the one above it.
        while !rest.is_empty() {
            if let Some((_, number)) = self.services.iter().find(|(name, _)| name == rest) {
                return Some(number);
            }
            rest = rest.rsplit_once('.').map_or("", |(above, _)| above);
        }
        self.numbers.first().map(String::as_str)
    }

    /// Whether a gateway takes emergency calls.
    pub fn has(&self, gateway: &str) -> bool {
        self.gateways.iter().any(|name| name == gateway)
    }
}

impl ServerConfig {
    /// The channels of a gateway for ordinary calls: one channel is reserved on a gateway for emergency
    /// calls, unless it has only one.
    pub fn channels_of(&self, gateway: &Gateway) -> Option<usize> {
        let kept = self.emergency.as_ref().is_some_and(|it| it.has(&gateway.name));
        gateway.channels.map(|channels| if kept && channels > 1 { channels - 1 } else { channels })
    }

    /// Settings of `[emergency]` that are allowed but probably unintended, one line each.
    pub(super) fn emergency_warnings(&self) -> Vec<String> {
        let Some(emergency) = &self.emergency else { return Vec::new() };
        let gateways = self.gateways.iter().filter(|it| emergency.has(&it.name));
        let warnings = gateways.flat_map(|gateway| {
            let name = &gateway.name;
            let single = (gateway.channels == Some(1)).then(|| {
                format!(
                    "gateway {name} has one channel: none is reserved for emergency calls, which still use it"
                )
            });
            let unknown = (gateway.from_user.is_some() && gateway.identity.sends.is_empty()).then(|| {
                format!(
                    "gateway {name} takes emergency calls without the caller's number: From has its \
                     from_user; write identity = [\"pai\"], or the field that the provider evaluates"
                )
            });
            single.into_iter().chain(unknown)
        });
        warnings.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_made;

    const CARRIER: &str = "[[gateway]]\nname = \"carrier\"\nhosts = [\"a\"]\nchannels = 3\n\
                           [[gateway]]\nname = \"other\"\nhosts = [\"b\"]\nchannels = 3\n";

    #[test]
    fn a_number_counts_as_it_is_dialled_and_a_service_by_the_nearest_above_it() {
        let text = "[emergency]\nnumbers = [\"112\", \"911\"]\ngateways = \"carrier\"\n\
                    services = { police = \"110\", \"physician.dentist\" = \"116\" }\n";
        let config = parse_made(&format!("{text}{CARRIER}")).unwrap();
        let emergency = config.emergency.as_ref().unwrap();
        for (dialled, number) in [
            ("112", Some("112")),
            ("911", Some("911")),
            ("9-1-1", Some("911")),
            ("(1)12;phone-context=+1", Some("112")),
            ("1120", None),
            ("112a", None),
            ("+112", None),
            ("", None),
            ("urn:service:sos", Some("112")),
            ("URN:service:SOS.Police", Some("110")),
            ("urn:service:sos.police.municipal", Some("110")),
            ("urn:service:sos.fire", Some("112")),
            ("urn:service:sos.physician", Some("112")),
            ("urn:service:sos.physician.dentist", Some("116")),
            ("urn:service:sosx", None),
            ("urn:service:sos.", None),
            ("urn:service:counseling", None),
        ] {
            assert_eq!(emergency.number_of(dialled), number, "{dialled}");
        }
        let left: Vec<_> = config.gateways.iter().map(|it| config.channels_of(it)).collect();
        assert_eq!(left, [Some(2), Some(3)], "one is kept where these calls go");
    }

    #[test]
    fn numbers_and_gateways_need_each_other_and_the_gateways_are_there() {
        assert_eq!(parse_made("[emergency]\ncalls = 3\n").unwrap().emergency, None);
        for (bad, told) in [
            ("numbers = [\"112\"]", "add the gateways for these calls"),
            ("gateways = [\"carrier\"]", "add the emergency numbers"),
            ("services = { police = \"110\" }", "add the emergency numbers"),
            ("numbers = [\"112\"]\ngateways = [\"carier\"]", "did you mean \"carrier\"?"),
            ("numbers = [\"one\"]\ngateways = [\"carrier\"]", "not a number; write 2 to 15"),
            (
                "numbers = [\"112\"]\ngateways = [\"carrier\"]\nservices = { \"a b\" = \"1\" }",
                "is not a service",
            ),
        ] {
            let error = parse_made(&format!("[emergency]\n{bad}\n{CARRIER}")).unwrap_err().to_string();
            assert!(error.contains(told), "{bad}: {error}");
        }
    }
}
