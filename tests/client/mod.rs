//! The client library with the server, and its examples. Tests of the library alone are in
//! `src/client/tests`.

mod codecs;
mod example_agent;
mod example_audio;
mod example_bridge;
mod example_call;
mod example_softphone;
mod guide;
mod server;
mod server_transfers;
