//! The table of the flags of the server and of the media server.

use b2b_config::keys;
use b2b_config::role_name::RoleName::{B2bua, Media};

use crate::value;

keys! {
    /// The flags of `--role b2bua` and `--role media` beside the shared ones.
    SERVER:
    config &[B2bua], InputPath, path;
    http_bind &[B2bua], Text, sip_bind;
    route &[B2bua], Text, route;
    explain &[B2bua], Text, number;
    print_schema &[B2bua], Switch, switch;
    from &[B2bua], Text, number;
    source &[B2bua], Text, address;
    explain_gateway &[B2bua], Text, number;
    to &[B2bua], Text, number;

    listen &[Media], Text, listen;
    token_file &[Media], InputPath, path;
    rtp_bind &[Media], Text, address;
    rtp_advertise &[Media], Text, address;
    rtp_ports &[Media], Text, port_range;
    max_endpoints &[Media], Integer, endpoints;
}
