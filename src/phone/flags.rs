//! The table of the phone's flags.

use b2b_config::keys;
use b2b_config::role_name::RoleName::Phone;

use crate::value;

keys! {
    /// Flags of `--role phone` besides the shared ones.
    PHONE:
    identity &[Phone], Text, sip_uri;
    display_name &[Phone], Text, text;
    password_file &[Phone], InputPath, path;
    no_register &[Phone], Switch, switch;
    proxy &[Phone], Text, sip_uri;
    ca_file &[Phone], InputPath, path;
    codecs &[Phone], Text, codecs;
    srtp &[Phone], Text, srtp;

    call &[Phone], Text, text;
    answer &[Phone], Integer, calls;
    steps &[Phone], Text, steps;
    wait &[Phone], Number, seconds;
    play &[Phone], InputPath, path;
    dtmf &[Phone], Text, digits;
    hangup_after &[Phone], Number, seconds;
    json &[Phone], Switch, switch;
    junit &[Phone], OutputPath, path;
}
