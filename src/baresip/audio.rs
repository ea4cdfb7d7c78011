//! The audio border: our source, our filter, and our listener on the RTP socket.
//!
//! A source (`ausrc`) is identified by its device name, which is the number of the call; a filter (`aufilt`)
//! by the call's audio object. The filter takes decoded packets in place of a player: a player has its own
//! clock and hears zeros when nothing has arrived.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::border::guard;
use super::clock::Voice;
use super::engine::with;
use super::ffi::{self, AudioFilter, AudioFrame, FilterState, ListElement, MemoryBuffer, SocketAddress};
use super::received::Rtp;
use b2b_ua::CallId;

const ENOMEM: c_int = 12;
const ENODEV: c_int = 19;
/// The filter's return value for a packet that it has taken: the library then ignores the packet, and keeps
/// no buffer for a missing player.
const TAKEN: c_int = 61;
/// The library counts time in µs, RTP in samples of 125 µs.
const SAMPLE_US: u64 = 125;

/// Our source and filter while they are registered.
pub(super) struct Devices {
    source: *mut c_void,
    filter: Box<AudioFilter>,
}

impl Devices {
    /// Registers both.
    ///
    /// # Safety
    /// On the reactor thread, after `baresip_init`.
    pub(super) unsafe fn register() -> Result<Devices, c_int> {
        let mut source = null_mut();
        // SAFETY: the caller's promise; the name is static.
        let errno = unsafe {
            ffi::ausrc_register(&mut source, ffi::baresip_ausrcl(), c"b2b".as_ptr(), Some(open_source))
        };
        if errno != 0 {
            return Err(errno);
        }
        let mut filter = Box::new(AudioFilter {
            le: ListElement::unlinked(),
            name: c"b2b".as_ptr(),
            enabled: true,
            encupdh: null(),
            ench: null(),
            decupdh: Some(open_filter),
            dech: Some(take_packet),
        });
        // SAFETY: the caller's promise; the box stays until `unregister`.
        unsafe { ffi::aufilt_register(ffi::baresip_aufiltl(), &mut *filter) };
        Ok(Devices { source, filter })
    }

    /// Removes both from the library's lists.
    ///
    /// # Safety
    /// On the reactor thread, when no call is left.
    pub(super) unsafe fn unregister(&mut self) {
        // SAFETY: both are registered; the source's destructor removes it from its list.
        unsafe {
            ffi::aufilt_unregister(&mut *self.filter);
            self.source = ffi::mem_deref(self.source);
        }
    }
}

/// The state of a source, in the library's memory.
#[repr(C)]
struct SourceState {
    /// From `Arc::into_raw`.
    voice: *const Voice,
}

unsafe extern "C" fn open_source(
    state: *mut *mut c_void,
    _source: *const c_void,
    parameters: *mut ffi::SourceParameters,
    device: *const c_char,
    read: Option<ffi::ReadHandler>,
    _error: *const c_void,
    arg: *mut c_void,
) -> c_int {
    guard(|| {
        if state.is_null() || parameters.is_null() || device.is_null() {
            return ENODEV;
        }
        // SAFETY: the device name that we gave to the call.
        let device = unsafe { CStr::from_ptr(device) };
        let id = device.to_str().ok().and_then(|text| text.parse().ok()).map(CallId);
        let voice = id.and_then(|id| with(|engine| Some(engine.by_id(id)?.voice.clone())).flatten());
        let (Some(voice), Some(read)) = (voice, read) else { return ENODEV };
        // SAFETY: the library's own parameters.
        let ptime = unsafe { (*parameters).ptime };
        // SAFETY: memory of the library with our destructor; zeroed.
        let made = unsafe { ffi::mem_zalloc(size_of::<SourceState>(), Some(close_source)) };
        if made.is_null() {
            return ENOMEM;
        }
        voice.ptime_ms.store(ptime, Relaxed);
        // SAFETY: the handler may be called until the state is destroyed, and
        // `close_source` stops it first.
        unsafe { voice.start(read, arg) };
        // SAFETY: `made` has the size of the state, and is not shared yet.
        unsafe {
            made.cast::<SourceState>().write(SourceState { voice: Arc::into_raw(voice) });
            *state = made;
        }
        0
    })
}

unsafe extern "C" fn close_source(data: *mut c_void) {
    guard(|| {
        // SAFETY: the state that `open_source` created.
        let voice = unsafe { (*data.cast::<SourceState>()).voice };
        if !voice.is_null() {
            // SAFETY: from `Arc::into_raw`; it is returned only here.
            unsafe { Arc::from_raw(voice) }.stop();
        }
    });
}

/// The state of a filter, in the library's memory.
#[repr(C)]
struct OurFilter {
    head: FilterState,
    call: u64,
}

unsafe extern "C" fn open_filter(
    state: *mut *mut FilterState,
    _context: *mut *mut c_void,
    filter: *const AudioFilter,
    _parameters: *mut c_void,
    audio: *const ffi::Audio,
) -> c_int {
    guard(|| {
        let call = with(|engine| {
            // SAFETY: calls in our table are alive; a getter.
            let ours = |call: *mut ffi::Call| {
                !call.is_null() && unsafe { ffi::call_audio(call) }.cast_const() == audio
            };
            engine.calls.iter().find(|entry| ours(entry.call)).map(|entry| entry.id.0)
        });
        let Some(call) = call.flatten() else { return ENODEV };
        // SAFETY: memory of the library, zeroed; it holds nothing that needs a destructor.
        let made = unsafe { ffi::mem_zalloc(size_of::<OurFilter>(), None) }.cast::<OurFilter>();
        if made.is_null() {
            return ENOMEM;
        }
        let head = FilterState { af: filter, le: ListElement::unlinked() };
        // SAFETY: `made` has the size of the state; the library asked for it at `state`.
        unsafe {
            made.write(OurFilter { head, call });
            *state = made.cast();
        }
        0
    })
}

unsafe extern "C" fn take_packet(state: *mut FilterState, frame: *mut AudioFrame) -> c_int {
    guard(|| {
        // SAFETY: the state that `open_filter` created, and the library's own frame.
        let (call, frame) = unsafe { ((*state.cast::<OurFilter>()).call, &*frame) };
        if frame.fmt != ffi::S16LE || frame.sampv.is_null() {
            return TAKEN;
        }
        // SAFETY: the frame's own samples, allocated by the library, so aligned.
        let samples = unsafe { std::slice::from_raw_parts(frame.sampv.cast::<i16>(), frame.sampc) };
        let timestamp = (frame.timestamp / SAMPLE_US) as u32;
        with(|engine| {
            if let Some(intake) = engine.by_id(CallId(call)).and_then(|entry| entry.intake.as_mut()) {
                intake.push(Instant::now(), timestamp, samples);
            }
        });
        TAKEN
    })
}

/// Receives every datagram on a call's RTP socket before the library does; `arg` is the number of the call.
pub(super) unsafe extern "C" fn on_datagram(
    _source: *mut SocketAddress,
    datagram: *mut MemoryBuffer,
    arg: *mut c_void,
) -> bool {
    guard(|| {
        let call = CallId(arg as usize as u64);
        // SAFETY: the library's own buffer, alive during this call.
        let data = unsafe {
            let MemoryBuffer { buf, pos, end, .. } = *datagram;
            if buf.is_null() || end < pos {
                return false;
            }
            std::slice::from_raw_parts(buf.add(pos), end - pos)
        };
        if let Some(packet) = Rtp::read(data) {
            with(|engine| {
                let Some(entry) = engine.by_id(call) else { return };
                let kind = entry.kind(packet.payload_type);
                let verdict = entry.received.packet(&packet, kind, Instant::now());
                if let Some(log) = &mut engine.log {
                    log.push(&packet, data.len(), verdict);
                }
            });
        }
        // Not handled: the library processes it.
        false
    })
}
