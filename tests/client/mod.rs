//! The client library through the server, and its examples. By itself it is tested in `src/client/tests`.

mod codecs;
mod example_agent;
mod example_audio;
mod example_bridge;
mod example_call;
mod example_softphone;
mod guide;
mod server;
mod server_transfers;
