//! Endpoints that were written, in another controller.

use super::*;
use crate::controller::{EndpointNotRestored, EndpointNotWritten};

fn written(lab: &Lab, party: &Party) -> Vec<u8> {
    pollster::block_on(lab.controller.write_endpoint(party.id)).unwrap()
}

fn restored(lab: &Lab, octets: &[u8]) -> Result<EndpointId, EndpointNotRestored> {
    pollster::block_on(lab.controller.restore_endpoint(octets))
}

#[test]
fn a_joined_pair_goes_on_in_another_controller_at_its_ports() {
    let lab = Lab::new(46_600..=46_699);
    let (mut a, mut b) = (lab.party(), lab.party());
    lab.pair_offer(&a, &b, a.session("0 8", "sendrecv")).unwrap();
    let answer = lab.pair_answer(&b, &a, b.session("8", "sendrecv")).unwrap();
    lab.bridge(&a, &b).unwrap();
    lab.settle(&a);
    a.send(8, 1, b"before");
    assert_eq!(b.receive().2, b"before");
    b.send(8, 1, b"before");
    let (_, ssrc, _) = a.receive();
    let all = [&a, &b].map(|party| written(&lab, party));
    lab.controller.release_endpoint(b.id);
    let gone = pollster::block_on(lab.controller.write_endpoint(b.id));
    assert!(matches!(gone, Err(EndpointNotWritten::Gone(id)) if id == b.id));
    lab.controller.shutdown();
    drop(lab);

    let lab = Lab::new(46_600..=46_699);
    let before = [a.id, b.id];
    (a.id, b.id) = (restored(&lab, &all[0]).unwrap(), restored(&lab, &all[1]).unwrap());
    lab.controller.renumber_restored(&before.into_iter().zip([a.id, b.id]).collect()).unwrap();
    lab.controller.start_restored(&[a.id, b.id]).unwrap();
    let other = lab.party();
    assert!(![a.local, b.local].contains(&other.local));
    lab.settle(&a);
    lab.settle(&b);
    a.send(8, 2, b"after");
    assert_eq!(b.receive().2, b"after");
    b.send(8, 2, b"after");
    let (payload_type, same, payload) = a.receive();
    assert_eq!((payload_type, same, payload), (8, ssrc, b"after".to_vec()));
    // What was said is known: a repeated offer gets the next version of the same session.
    lab.pair_offer(&a, &b, a.session("0 8", "sendonly")).unwrap();
    let again = lab.pair_answer(&b, &a, b.session("8", "recvonly")).unwrap();
    let origin = |session: &Bytes| {
        let text = String::from_utf8_lossy(session).into_owned();
        let line = text.lines().find(|line| line.starts_with("o=")).map(str::to_owned).unwrap();
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        (words[1].clone(), words[2].parse::<u64>().unwrap())
    };
    let (before, after) = (origin(&answer), origin(&again));
    assert!(before.0 == after.0 && before.1 < after.1, "{before:?}, {after:?}");

    let again = all.map(|octets| restored(&lab, &octets));
    assert!(matches!(again, [Err(EndpointNotRestored::Port(_)), Err(EndpointNotRestored::Port(_))]));
    let unread = restored(&lab, b"\x93\x01\x02\x03");
    assert!(matches!(unread, Err(EndpointNotRestored::Unread(_))));
    assert_eq!(lab.controller.endpoints(), 3);
}

#[test]
fn a_party_with_srtp_is_heard_under_its_keys_in_another_controller() {
    let lab = Lab::new(46_700..=46_799);
    let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    let srtp = crate::controller::SrtpPolicy::Offered.into();
    let spec = EndpointSpec { srtp, ..EndpointSpec::new(AddressFamily::V4) };
    let (id, LocalDescription { rtp }) = lab.controller.allocate_endpoint(spec).wait().unwrap();
    let mut party = Party { socket, id, local: rtp };
    let key = "BwcH".repeat(10);
    let line = format!("sendrecv\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}");
    let offer = party.session("0", &line);
    lab.local_answer(&party, offer).unwrap();
    let keys = |lab: &Lab, party: &Party| lab.controller.state().get(party.id).unwrap().side.keys();
    let before = keys(&lab, &party);
    assert!(before.is_some());
    let octets = written(&lab, &party);
    assert!(!format!("{:?}", lab.controller.state().get(party.id).unwrap().side).contains("7, 7, 7"));
    lab.controller.shutdown();
    drop(lab);
    let lab = Lab::new(46_700..=46_799);
    let before_id = std::mem::replace(&mut party.id, restored(&lab, &octets).unwrap());
    lab.controller.renumber_restored(&[(before_id, party.id)].into()).unwrap();
    lab.controller.start_restored(&[party.id]).unwrap();
    assert_eq!(keys(&lab, &party), before);
}
