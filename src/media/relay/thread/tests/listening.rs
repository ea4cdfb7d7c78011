//! Reading what endpoints with a local source and sink have received.

use std::net::Ipv4Addr;

use super::super::*;
use crate::local::{Local, LocalConfig, Published};
use crate::relay::EndpointConfig;
use crate::relay::shared::Turns;

/// A driver whose thread is not started.
fn driver() -> Driver<RelayEvent> {
    let turns = Arc::<Turns>::default();
    Driver {
        index: 0,
        seed: 1,
        shared: Arc::new(Shared::new(turns).unwrap()),
        commands: crossbeam_channel::unbounded().1,
        wanted: crossbeam_channel::unbounded().1,
        events: mpsc::unbounded_channel().0,
        addresses: Vec::new(),
        rtcp_sockets: false,
        allowances: Arc::default(),
        has_locals: true,
        ahead: 0,
        log: None,
        batch: Batch::default(),
        listeners: Vec::new(),
        own_table: crossbeam_channel::unbounded().0,
    }
}

#[test]
fn a_flooded_endpoint_is_to_be_read_again_soon_until_the_flood_is_over() {
    let mut driver = driver();
    let now = now();
    let mut machine = Machine::new(now.at, 1);
    machine.keep_records();
    let rtp = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let local = rtp.local_addr().unwrap();
    let id = RelayId { thread: 0, slot: 0, generation: 1 };
    let places = vec![Some(Place::new(id, rtp, 0, local))];
    let room = Box::new([0; SIZE + RTCP_OVERHEAD]);
    let mut sockets =
        Sockets { places, free: Vec::new(), room, withheld: Vec::new(), generations: Vec::new() };
    let party = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let begun = Box::new(Local::new(&LocalConfig::default(), now.at, Arc::<Published>::default()));
    for command in [
        Command::Open { id, config: EndpointConfig::default() },
        Command::Local { id, act: LocalAct::Begin(begun) },
        Command::Describe { id, remote: Remote::at(party.local_addr().unwrap()) },
    ] {
        machine.command(now, command, &mut sockets);
    }

    let mut listen_after = |datagrams: u32| {
        for _ in 0..datagrams {
            party.send_to(&[0x80; 172], local).unwrap();
        }
        let flooded = driver.listen(&mut machine, &mut sockets, now);
        (flooded, std::iter::from_fn(|| machine.poll_record()).count() as u32)
    };
    assert_eq!(listen_after(FLOOD), (false, FLOOD));
    assert_eq!(listen_after(FLOOD + 1), (true, FLOOD + 1));
    assert_eq!(listen_after(0), (false, 0));
}
