//! One suite for all media controllers: the embedded engine, and a media server by REST and by gRPC.
//! (rtpengine: `tests/interop`.)

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use b2b::call::controller::{EmbeddedConfig, EmbeddedController, MediaBackend, MusicClass, MusicSource};
use b2b::server::controller::remote::{RemoteConfig, RemoteController, RemoteServer, Transport};

use crate::media_support::Carried;
use crate::server::media_servers::MediaServer;
use crate::server_support::until;

fn music() -> Vec<MusicClass> {
    let (on, off) = (Duration::from_millis(500), Duration::from_millis(100));
    let source = MusicSource::Tone { hz: [440, 0], on, off };
    vec![MusicClass { name: "default".to_owned(), source, shared: false }]
}

#[tokio::test]
async fn the_engine_inside_does_what_every_media_controller_must() {
    let folder = tempfile::tempdir().expect("a folder");
    let loopback = vec![(IpAddr::V4(Ipv4Addr::LOCALHOST), None)];
    let config = EmbeddedConfig { music: music(), ..EmbeddedConfig::new(loopback, 20_000..=59_999, 7) };
    let (media, mut inside) = EmbeddedController::start(config).expect("it starts");
    // Media threads have separate descriptors: they must not wake a runtime.
    let (told, events) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Some(event) = inside.blocking_recv() {
            if told.send(event).is_err() {
                return;
            }
        }
    });
    Carried::new(&media, events, folder.path()).suite().await;
    media.shutdown();
}

async fn by(transport: Transport) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = MediaServer::start(&[]);
    let authority = server.at.to_string();
    let servers = vec![RemoteServer { transport, authority, token: None }];
    let (media, events) =
        RemoteController::start(RemoteConfig { servers, music: music(), lasts: None }).expect("it starts");
    Carried::new(&media, events, folder.path()).suite().await;
    until("nothing held there", || {
        let load = server.load();
        (load["endpoints"] == 0 && load["conferences"] == 0 && load["recordings"] == 0).then_some(())
    });
    // The server releases resources before it reports it.
    until("nothing held here", || ((media.endpoints(), media.waiting()) == (0, 0)).then_some(()));
    // A shutdown ends the session as well.
    assert_eq!(server.load()["sessions"], 1);
    media.shutdown();
    assert_eq!(server.load()["sessions"], 0);
    assert!(media.capabilities().has(b2b::call::controller::Capability::Prompts));
}

#[tokio::test]
async fn a_media_server_does_the_same_over_rest() {
    by(Transport::Rest).await;
}

#[tokio::test]
async fn a_media_server_does_the_same_over_grpc() {
    by(Transport::Grpc).await;
}
