//! The flags of the server and of the media server.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use b2b_config::keys;
use b2b_config::role_name::RoleName::{B2bua, Media};

use crate::value;

keys! {
    /// The flags of `--role b2bua` and `--role media` beside the shared ones.
    SERVER, ServerFlags, "":
    maybe config: PathBuf, &[B2bua], InputPath "FILE" path,
        "The configuration, TOML (required); docs/server.md lists the keys";
    switch keep, &[B2bua], Switch,
        "Start the server as a child, and again whenever it dies; docs/high-availability.md has more";
    maybe http_bind: SocketAddr, &[B2bua], Text "IP:PORT" sip_bind,
        "Address of the HTTP interface; overrides the configuration";
    many route: (String, String), &[B2bua], Text "NUMBER=SIP-URI" route,
        "Send calls to this number to this URI, before --target and the configuration's routes: for the lab. May be repeated";
    maybe explain: String, &[B2bua], Text "NUMBER" number,
        "Start nothing; print the route of a call to this number, and why";
    switch print_schema, &[B2bua], Switch,
        "Start nothing; print a JSON Schema of the configuration, for editors";
    maybe explain_gateway: String, &[B2bua], Text "NAME" number,
        "Start nothing; print the REGISTER, OPTIONS and INVITE for this gateway without sending them";
    maybe to: String, &[B2bua], Text "NUMBER" number,
        "With --explain-gateway: the called number. Without it: +442079460000";
    maybe from: String, &[B2bua], Text "NUMBER" number,
        "With --explain: the caller, a user or a number. With --explain-gateway: the calling user; without it the first user";
    maybe source: IpAddr, &[B2bua], Text "IP" address,
        "With --explain: the source address of the call";
    one listen: SocketAddr = "127.0.0.1:8090", &[Media], Text "IP:PORT" listen,
        "Address of the media server's REST and gRPC interface for b2buas; any address except 127.0.0.1 requires --token-file";
    maybe token_file: PathBuf, &[Media], InputPath "FILE" path,
        "A file with the token for b2buas in its first line";
    one rtp_bind: IpAddr = "127.0.0.1", &[Media], Text "IP" address,
        "Local address of RTP";
    maybe rtp_advertise: IpAddr, &[Media], Text "IP" address,
        "Address of RTP in SDP, if it differs from --rtp-bind";
    one rtp_ports: (u16, u16) = "16384-65535", &[Media], Text "FIRST-LAST" port_range,
        "First and last port of RTP and RTCP";
    maybe max_endpoints: usize, &[Media], Integer "NUMBER" endpoints,
        "Limit of legs, above which new calls go to the next media server. Without it: the ports are the limit";
}
