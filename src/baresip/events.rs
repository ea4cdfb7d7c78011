//! Events of the library, and the SIP messages that it sends and receives.

use std::ffi::{CString, c_int, c_void};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime};

use super::audio::on_datagram;
use super::border::{address, guard, text};
use super::commands;
use super::engine::{Engine, with};
use super::ffi::{self, Bevent, Call, SocketAddress};
use super::outcome::{Intent, State};
use super::wire::{Record, Seen, What};
use b2b_ua::{CallId, Codec, EndCause, UaEvent};

/// The library's event handler.
pub(super) unsafe extern "C" fn on_event(event: c_int, data: *mut Bevent, _arg: *mut c_void) {
    guard(|| {
        // SAFETY: the library's own event, alive during this call. The numbers of events differ between
        // releases, but not their names.
        let (name, call, said) = unsafe {
            (text(ffi::bevent_str(event)), ffi::bevent_get_call(data), text(ffi::bevent_get_text(data)))
        };
        if !call.is_null() {
            happened(&name, call, &said);
        }
    });
}

fn happened(name: &str, call: *mut Call, said: &str) {
    match name {
        "CALL_INCOMING" => incoming(call),
        "CALL_OUTGOING" => outgoing(call),
        "CALL_LOCAL_SDP" => prepare(call),
        "CALL_REMOTE_SDP" => codecs_first(call),
        "CALL_ESTABLISHED" => established(call),
        "CALL_CLOSED" => drop(with(|engine| engine.closed(call, said))),
        "CALL_RTPESTAB" => tell(call, |call| UaEvent::MediaStarted { call }),
        "CALL_HOLD" => held(call, true),
        "CALL_RESUME" => held(call, false),
        "CALL_DTMF_START" => drop(with(|engine| digit(engine, call, said.chars().next()))),
        "CALL_DTMF_END" => drop(with(|engine| digit(engine, call, None))),
        _ => {}
    }
}

fn tell(call: *mut Call, event: impl FnOnce(CallId) -> UaEvent) {
    with(|engine| {
        if let Some(id) = engine.by_call(call).map(|entry| entry.id) {
            engine.tell(event(id));
        }
    });
}

fn incoming(call: *mut Call) {
    // SAFETY: the call is alive; its texts are copied.
    let (from, to, sip_call_id) =
        unsafe { (text(ffi::call_peeruri(call)), text(ffi::call_localuri(call)), text(ffi::call_id(call))) };
    let id = with(|engine| engine.add(call, sip_call_id.clone(), false));
    prepare(call);
    if let Some(id) = id {
        with(|engine| engine.tell(UaEvent::Incoming { call: id, from, to, sip_call_id }));
    }
}

/// The library has created the call that we dial.
fn outgoing(call: *mut Call) {
    // SAFETY: the call is alive.
    let sip_call_id = unsafe { text(ffi::call_id(call)) };
    with(|engine| {
        let id = engine.dialling.take()?;
        let entry = engine.by_id(id)?;
        (entry.call, entry.sip_call_id) = (call, sip_call_id);
        Some(())
    });
}

/// Connects our devices and our listener to the streams of a call, once they exist. Done once.
fn prepare(call: *mut Call) {
    // SAFETY: the call is alive.
    let stream = unsafe { ffi::audio_strm(ffi::call_audio(call)) };
    if stream.is_null() {
        return;
    }
    let id = with(|engine| {
        let entry = engine.by_call(call).filter(|entry| !entry.prepared)?;
        entry.prepared = true;
        let id = entry.id;
        Some((id, engine.codecs.first()))
    });
    let Some((id, codec)) = id.flatten() else { return };
    let device = CString::new(id.0.to_string()).unwrap_or_default();
    // SAFETY: the call and its stream are alive; the library copies the name. Without an encoder it creates
    // no filter, and a far end that only sends would not be heard; the negotiation sets the right one. The
    // helper is freed with the socket, and its argument is a number, not a pointer.
    let errno = unsafe {
        let audio = ffi::call_audio(call);
        ffi::audio_set_devicename(audio, device.as_ptr(), device.as_ptr())
            | ffi::audio_encoder_set(audio, codec, -1, std::ptr::null())
            | ffi::udp_register_helper(
                std::ptr::null_mut(),
                ffi::rtp_sock(ffi::stream_rtp_sock(stream)),
                0,
                std::ptr::null(),
                Some(on_datagram),
                id.0 as usize as *mut c_void,
            )
    };
    if errno != 0 {
        tracing::error!("libbaresip refused our audio for a call (error {errno})");
    }
}

/// Moves the telephone event behind the codecs: the library takes the far end's first format as the codec,
/// and stops the audio if that is the event.
fn codecs_first(call: *mut Call) {
    // SAFETY: the call and its streams are alive, and the list is not being iterated: the library reports
    // this between parsing the description and using it. The element belongs to the list.
    unsafe {
        let media = ffi::stream_sdpmedia(ffi::audio_strm(ffi::call_audio(call)));
        let event = ffi::sdp_media_rformat(media, c"telephone-event".as_ptr());
        let formats = ffi::sdp_media_format_lst(media, false);
        if !event.is_null() && !formats.is_null() {
            ffi::list_unlink(&raw mut (*event).le);
            ffi::list_append(formats, &raw mut (*event).le, event.cast());
        }
    }
}

fn established(call: *mut Call) {
    // SAFETY: the call and its streams are alive; getters only.
    let (codec, remote, common) = unsafe {
        let audio = ffi::call_audio(call);
        let sending = ffi::audio_codec(audio, true);
        let codec = if sending.is_null() { ffi::audio_codec(audio, false) } else { sending };
        let media = ffi::stream_sdpmedia(ffi::audio_strm(audio));
        // The format that the library takes as the codec: none if the far end has refused the stream, and no
        // codec if only the telephone event is left.
        let first = ffi::sdp_media_rformat(media, std::ptr::null());
        let event = ffi::sdp_media_rformat(media, c"telephone-event".as_ptr());
        let common = !first.is_null() && first != event;
        (codec, address(ffi::sdp_media_raddr(media)), common)
    };
    let Some((id, unwanted)) = with(|engine| {
        let entry = engine.by_call(call)?;
        // An end that had to wait for the ACK.
        let unwanted = entry.intent.take();
        entry.state = State::Up;
        Some((entry.id, unwanted))
    })
    .flatten() else {
        return;
    };
    // The library allows ending its call in this handler.
    if let Some(intent) = unwanted {
        return commands::end(id, intent, 0, c"");
    }
    if !common {
        let message = "the far end's answer has no supported codec".into();
        return commands::end(id, Intent::For(EndCause::Protocol { message }), 0, c"");
    }
    with(|engine| {
        let codec = engine.codecs.find(codec).unwrap_or(Codec::Pcmu);
        let entry = engine.by_call(call)?;
        entry.since = Instant::now();
        entry.voice.up.store(true, Relaxed);
        let (id, ptime_ms) = (entry.id, entry.voice.ptime_ms.load(Relaxed));
        let remote_rtp = remote.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        engine.tell(UaEvent::Answered { call: id, codec, ptime_ms, remote_rtp });
        Some(())
    });
}

fn held(call: *mut Call, held: bool) {
    with(|engine| {
        let entry = engine.by_call(call)?;
        entry.held = held;
        entry.since = Instant::now();
        entry.received.pause();
        let call = entry.id;
        engine.tell(UaEvent::Hold { call, held });
        Some(())
    });
}

/// Handles the begin of a digit, or the end of the current one.
fn digit(engine: &mut Engine, call: *mut Call, begins: Option<char>) {
    let Some(entry) = engine.by_call(call) else { return };
    let Some(digit) = std::mem::replace(&mut entry.digit, begins) else { return };
    entry.digits += 1;
    let (call, duration_ms) = (entry.id, entry.received.event_ms);
    engine.tell(UaEvent::Digit { call, digit, duration_ms });
}

/// The library's trace handler: called for every SIP message before it is processed.
pub(super) unsafe extern "C" fn on_message(
    sent: bool,
    transport: c_int,
    source: *const SocketAddress,
    destination: *const SocketAddress,
    packet: *const u8,
    length: usize,
    _arg: *mut c_void,
) {
    guard(|| {
        if packet.is_null() {
            return;
        }
        // SAFETY: the library's own buffer with its length.
        let data = unsafe { std::slice::from_raw_parts(packet, length) };
        // SAFETY: the library's own addresses.
        let (from, to) = unsafe { (address(source), address(destination)) };
        with(|engine| {
            if let Some(trace) = &mut engine.trace {
                let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
                trace.write(Record {
                    at: SystemTime::now(),
                    sent,
                    transport: if transport == ffi::UDP { "udp" } else { "tcp" },
                    from: from.unwrap_or(nowhere),
                    to: to.unwrap_or(nowhere),
                    data: data.to_vec(),
                });
            }
            if sent {
                return;
            }
            match Seen::read(data) {
                Some(Seen { call_id, what: What::Request { method } }) => engine.request(&call_id, &method),
                Some(Seen { call_id, what: What::Response { status, reason, method } }) => {
                    engine.response(&call_id, &method, status, reason);
                }
                None => {}
            }
        });
    });
}
