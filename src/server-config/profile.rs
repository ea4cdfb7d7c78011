//! The names of profiles of gateways.

use b2b_config::table::Named;

/// The names for `profile`.
pub(super) const PROFILE: Named<Profile> = Named {
    refusal: "no such profile; choose",
    values: &[
        ("twilio", Profile("twilio")),
        ("telnyx", Profile("telnyx")),
        ("sipgate", Profile("sipgate")),
        ("telekom", Profile("telekom")),
        ("vonage", Profile("vonage")),
        ("teams", Profile("teams")),
        ("openai", Profile("openai")),
        ("whatsapp", Profile("whatsapp")),
        ("asterisk", Profile("asterisk")),
        ("freeswitch", Profile("freeswitch")),
    ],
};

/// A profile, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile(&'static str);

impl Profile {
    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }
}

/// A gateway's use of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profiled {
    /// The profile.
    pub profile: Profile,
    /// The keys it supplied, which the configuration does not have.
    pub keys: Vec<&'static str>,
}
