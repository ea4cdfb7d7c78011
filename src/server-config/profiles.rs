//! Profiles of gateways: providers' requirements, as keys that apply where the configuration has none. The
//! data with its sources is `profiles.toml`.

use std::ops::Range;
use std::sync::LazyLock;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use b2b_config::section::Section;

use super::party_keys::GATEWAY;
use super::profile::{PROFILE, Profiled};
use super::{ConfigError, Gateway};

/// The data, as TOML: profiles with their keys, sources and notes.
pub const TEXT: &str = include_str!("profiles.toml");

/// A key of a profile, and its value.
type Given = (&'static str, Spanned<DeValue<'static>>);

/// Each profile's keys.
static PROFILES: LazyLock<Vec<(&'static str, Vec<Given>)>> = LazyLock::new(|| {
    let text = DeTable::parse(TEXT).map(Spanned::into_inner).unwrap_or_default();
    let profiles = tables(&text, "profile").filter_map(|profile| {
        let keys = tables(profile, "key").filter_map(|key| {
            let name = GATEWAY.row(string(key, "key")?)?.name;
            Some((name, key.get("value")?.clone()))
        });
        let name = string(profile, "name")?;
        let (name, _) = PROFILE.values.iter().find(|(known, _)| *known == name)?;
        Some((*name, keys.collect()))
    });
    profiles.collect()
});

pub(super) fn tables<'t, 'a>(of: &'t DeTable<'a>, key: &str) -> impl Iterator<Item = &'t DeTable<'a>> {
    let items = match of.get(key).map(Spanned::get_ref) {
        Some(DeValue::Array(items)) => Some(items.iter()),
        _ => None,
    };
    items.into_iter().flatten().filter_map(|item| match item.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    })
}

pub(super) fn string<'t>(of: &'t DeTable<'_>, key: &str) -> Option<&'t str> {
    of.get(key)?.get_ref().as_str()
}

/// Adds the keys of profiles to the gateways of a file where they are missing. Their position is that of the
/// `profile` key, so their errors point there.
pub(super) fn apply(root: &mut DeTable<'_>) {
    let Some(DeValue::Array(gateways)) = root.get_mut("gateway").map(Spanned::get_mut) else { return };
    for gateway in gateways.iter_mut() {
        let DeValue::Table(gateway) = gateway.get_mut() else { continue };
        let Some(name) = string(gateway, "profile").map(str::to_owned) else { continue };
        let named = gateway.iter().find(|(key, _)| key.get_ref() == "profile");
        let Some(at) = named.map(|(key, _)| key.span()) else { continue };
        let username = string(gateway, "username").map(str::to_owned);
        let Some((_, keys)) = PROFILES.iter().find(|(known, _)| *known == name) else { continue };
        for (key, value) in keys {
            if gateway.contains_key(*key) {
                continue;
            }
            let mut value = value.clone();
            if value.get_ref().as_str() == Some("$username") {
                let Some(username) = &username else { continue };
                value = Spanned::new(at.clone(), DeValue::String(username.clone().into()));
            }
            gateway.insert(Spanned::new(at.clone(), (*key).into()), moved(value, &at));
        }
    }
}

/// A value with this position.
fn moved<'a>(value: Spanned<DeValue<'a>>, at: &Range<usize>) -> Spanned<DeValue<'a>> {
    let value = match value.into_inner() {
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| moved(item, at)).collect()),
        DeValue::Table(table) => {
            let moved = |(key, value): (Spanned<_>, _)| {
                (Spanned::new(at.clone(), key.into_inner()), moved(value, at))
            };
            DeValue::Table(table.into_iter().map(moved).collect())
        }
        other => other,
    };
    Spanned::new(at.clone(), value)
}

/// Reads a gateway's profile.
pub(super) fn of_gateway(section: &Section<'_>) -> Result<Option<Profiled>, ConfigError> {
    let Some(profile) = section.choice_if_set("profile", &PROFILE)? else { return Ok(None) };
    let keys = PROFILES.iter().find(|(name, _)| *name == profile.name()).map(|(_, keys)| keys);
    let keys = keys.into_iter().flatten().map(|(key, _)| *key);
    let keys =
        keys.filter(|key| section.has(key) && section.place(key) == section.place("profile")).collect();
    Ok(Some(Profiled { profile, keys }))
}

/// A conflict of a gateway with its profile: it is to register at a provider without a registrar.
pub(super) fn warning(gateway: &Gateway) -> Option<String> {
    let profile = gateway.profile.as_ref()?.profile.name();
    let (_, keys) = PROFILES.iter().find(|(name, _)| *name == profile)?;
    let (_, value) = keys.iter().find(|(key, _)| *key == "register")?;
    let has_none = matches!(value.get_ref(), DeValue::Boolean(false)) && gateway.register.is_some();
    has_none.then(|| {
        format!(
            "gateway {} (line {}) has register = true: there is no registrar, as far as profile = {profile:?} \
             knows; take it out",
            gateway.name, gateway.line
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_made;

    fn gateway(lines: &str) -> Gateway {
        let text = format!("[[gateway]]\nname = \"a\"\n{lines}\n");
        let config = parse_made(&text).unwrap_or_else(|errors| panic!("{lines}: {errors}"));
        config.gateways.into_iter().next().unwrap()
    }

    #[test]
    fn each_name_has_its_data_and_each_key_a_source() {
        let text = DeTable::parse(TEXT).unwrap();
        let named: Vec<_> =
            tables(text.get_ref(), "profile").map(|it| string(it, "name").unwrap().to_owned()).collect();
        assert_eq!(named, PROFILE.values.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for profile in tables(text.get_ref(), "profile") {
            for key in tables(profile, "key") {
                let of = |name: &str| string(key, name).unwrap_or_else(|| panic!("no {name} in {key:?}"));
                let source = of("source");
                let marks = ["review", "not verified", "choice"];
                assert!(source.starts_with("https://") || marks.contains(&source), "{source}");
                assert!(!of("why").is_empty() && GATEWAY.row(of("key")).is_some(), "{key:?}");
            }
        }
    }

    #[test]
    fn each_example_is_a_configuration() {
        let text = DeTable::parse(TEXT).unwrap();
        for profile in tables(text.get_ref(), "profile") {
            let (name, example) = (string(profile, "name").unwrap(), string(profile, "example").unwrap());
            let user = "[[user]]\nname = \"1001\"\npassword = \"correct horse\"\n\
                        [[route]]\nclass = \"internal\"\nto = \"user/1001\"\n";
            let config = parse_made(&format!("{example}{user}"));
            let config = config.unwrap_or_else(|errors| panic!("{name}: {errors}"));
            let profiled = config.gateways[0].profile.clone().unwrap();
            assert_eq!(profiled.profile.name(), name);
            assert!(!profiled.keys.is_empty());
            assert_eq!(config.warnings(), [""; 0], "{name}");
        }
    }

    #[test]
    fn what_is_written_wins_and_what_comes_from_the_profile_is_known() {
        let given = gateway(
            "profile = \"sipgate\"\nusername = \"1t0\"\npassword = \"p\"\ncalled_from = \"request-uri\"",
        );
        assert_eq!(given.hosts[0].host, "sipconnect.sipgate.de");
        assert_eq!(given.from_user.as_deref(), Some("1t0"));
        assert_eq!(given.identity.called_from, crate::CalledFrom::RequestUri);
        let keys = given.profile.unwrap().keys;
        assert_eq!(keys, ["hosts", "register", "from_user", "identity", "number_format"]);
        let plain = gateway("profile = \"twilio\"\nhosts = [\"h\"]\nsrtp = \"off\"");
        assert_eq!(plain.srtp, Some(crate::Srtp::default()), "a table is replaced as a whole");
    }

    #[test]
    fn what_goes_wrong_with_a_profile_is_told_at_its_line() {
        let errors = |lines: &str| {
            parse_made(&format!("[[gateway]]\nname = \"a\"\n{lines}\n")).unwrap_err().to_string()
        };
        let unknown = errors("profile = \"twillio\"\nhosts = [\"h\"]");
        assert!(unknown.contains("line 3") && unknown.contains("choose twilio, telnyx"), "{unknown}");
        let no_account = errors("profile = \"sipgate\"");
        assert!(no_account.contains("needs username and password"), "{no_account}");
        let in_clear = errors("hosts = [\"h\"]\ntransport = \"udp\"\nprofile = \"twilio\"");
        assert!(in_clear.contains("line 5") && in_clear.contains("transport = \"tls\""), "{in_clear}");
        assert!(errors("profile = 7\nhosts = [\"h\"]").contains("but takes"));
    }

    #[test]
    fn a_provider_without_a_registrar_is_not_registered_at_without_a_warning() {
        let registers = |profile: &str| {
            let lines = "hosts = [\"h\"]\nusername = \"u\"\npassword = \"p\"\nregister = true\noptions_s = 0";
            warning(&gateway(&format!("profile = \"{profile}\"\n{lines}")))
        };
        for profile in ["twilio", "vonage", "openai", "whatsapp"] {
            assert!(registers(profile).unwrap().contains("no registrar"), "{profile}");
        }
        assert_eq!(registers("telnyx"), None);
    }
}
