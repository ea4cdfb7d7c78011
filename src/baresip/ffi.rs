//! The part of the C interface of libre and libbaresip 4 that the engine uses.
//!
//! Objects of the library are opaque, and accessed through its functions. Structures are declared only where
//! the interface passes them by layout; their sizes and offsets are those of every release from 4.0 to 4.10
//! on 64-bit machines, and are asserted.

use std::ffi::{c_char, c_double, c_int, c_void};

macro_rules! opaque {
    ($($name:ident)*) => {
        $(
            #[repr(C)]
            pub(super) struct $name {
                _data: [u8; 0],
                _not_send: std::marker::PhantomData<*mut u8>,
            }
        )*
    };
}

opaque! { Audio Bevent Call Config RtpSock SdpMedia Sip Stream Ua UdpHelper UdpSock }

/// `struct le`: an element of a linked list.
#[repr(C)]
pub(super) struct ListElement {
    pub prev: *mut ListElement,
    pub next: *mut ListElement,
    pub list: *mut List,
    pub data: *mut c_void,
}

impl ListElement {
    pub(super) const fn unlinked() -> Self {
        ListElement {
            prev: std::ptr::null_mut(),
            next: std::ptr::null_mut(),
            list: std::ptr::null_mut(),
            data: std::ptr::null_mut(),
        }
    }
}

/// `struct list`; only used behind a pointer.
#[repr(C)]
pub(super) struct List {
    _data: [u8; 0],
}

/// The head of `struct sdp_format`; only used behind a pointer.
#[repr(C)]
pub(super) struct SdpFormat {
    pub le: ListElement,
}

/// `struct mbuf`: a received datagram is `buf[pos..end]`.
#[repr(C)]
pub(super) struct MemoryBuffer {
    pub buf: *mut u8,
    pub size: usize,
    pub pos: usize,
    pub end: usize,
}

/// `struct sa` with spare room: only the library writes and reads it.
#[repr(C, align(8))]
pub(super) struct SocketAddress {
    _data: [u8; 256],
}

impl SocketAddress {
    pub(super) const fn empty() -> Self {
        SocketAddress { _data: [0; 256] }
    }
}

/// `AUFMT_S16LE`
pub(super) const S16LE: c_int = 0;

/// `struct auframe`
#[repr(C)]
pub(super) struct AudioFrame {
    pub fmt: c_int,
    pub srate: u32,
    pub sampv: *mut c_void,
    pub sampc: usize,
    /// Microseconds.
    pub timestamp: u64,
    pub level: c_double,
    pub id: u16,
    pub ch: u8,
    pub padding: [u8; 5],
}

pub(super) type EncodeHandler = unsafe extern "C" fn(
    state: *mut c_void,
    marker: *mut bool,
    buffer: *mut u8,
    length: *mut usize,
    fmt: c_int,
    samples: *const c_void,
    count: usize,
) -> c_int;
pub(super) type DecodeHandler = unsafe extern "C" fn(
    state: *mut c_void,
    fmt: c_int,
    samples: *mut c_void,
    count: *mut usize,
    marker: bool,
    buffer: *const u8,
    length: usize,
) -> c_int;

/// `struct aucodec`
#[repr(C)]
pub(super) struct AudioCodec {
    pub le: ListElement,
    pub pt: *const c_char,
    pub name: *const c_char,
    pub srate: u32,
    pub crate_: u32,
    pub ch: u8,
    pub pch: u8,
    pub ptime: u32,
    pub fmtp: *const c_char,
    pub encupdh: *const c_void,
    pub ench: Option<EncodeHandler>,
    pub decupdh: *const c_void,
    pub dech: Option<DecodeHandler>,
    pub plch: *const c_void,
    pub fmtp_ench: *const c_void,
    pub fmtp_cmph: *const c_void,
}

/// `struct ausrc_prm`
#[repr(C)]
pub(super) struct SourceParameters {
    pub srate: u32,
    pub ch: u8,
    pub ptime: u32,
    pub fmt: c_int,
    pub duration: usize,
}

pub(super) type ReadHandler = unsafe extern "C" fn(frame: *mut AudioFrame, arg: *mut c_void);
pub(super) type SourceHandler = unsafe extern "C" fn(
    state: *mut *mut c_void,
    source: *const c_void,
    parameters: *mut SourceParameters,
    device: *const c_char,
    read: Option<ReadHandler>,
    error: *const c_void,
    arg: *mut c_void,
) -> c_int;

/// `struct aufilt_dec_st`: the head of a filter's state.
#[repr(C)]
pub(super) struct FilterState {
    pub af: *const AudioFilter,
    pub le: ListElement,
}

pub(super) type FilterUpdateHandler = unsafe extern "C" fn(
    state: *mut *mut FilterState,
    context: *mut *mut c_void,
    filter: *const AudioFilter,
    parameters: *mut c_void,
    audio: *const Audio,
) -> c_int;
pub(super) type FilterDecodeHandler =
    unsafe extern "C" fn(state: *mut FilterState, frame: *mut AudioFrame) -> c_int;

/// `struct aufilt`
#[repr(C)]
pub(super) struct AudioFilter {
    pub le: ListElement,
    pub name: *const c_char,
    pub enabled: bool,
    pub encupdh: *const c_void,
    pub ench: *const c_void,
    pub decupdh: Option<FilterUpdateHandler>,
    pub dech: Option<FilterDecodeHandler>,
}

pub(super) type LogHandler = unsafe extern "C" fn(level: u32, message: *const c_char);

/// `struct log`
#[repr(C)]
pub(super) struct Log {
    pub le: ListElement,
    pub h: Option<LogHandler>,
}

/// `struct rtcp_stats`
#[repr(C)]
#[derive(Default)]
pub(super) struct RtcpStats {
    pub tx_sent: u32,
    pub tx_lost: c_int,
    pub tx_jitter_us: u32,
    pub rx_sent: u32,
    pub rx_lost: c_int,
    pub rx_jitter_us: u32,
    pub rtt_us: u32,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<ListElement>() == 32);
    assert!(size_of::<MemoryBuffer>() == 32);
    assert!(size_of::<AudioFrame>() == 48 && offset_of!(AudioFrame, timestamp) == 24);
    assert!(size_of::<AudioCodec>() == 128 && offset_of!(AudioCodec, ench) == 80);
    assert!(offset_of!(AudioCodec, ptime) == 60 && offset_of!(AudioCodec, dech) == 96);
    assert!(size_of::<SourceParameters>() == 24 && offset_of!(SourceParameters, duration) == 16);
    assert!(size_of::<FilterState>() == 40);
    assert!(size_of::<AudioFilter>() == 80 && offset_of!(AudioFilter, dech) == 72);
    assert!(size_of::<Log>() == 40);
    assert!(size_of::<RtcpStats>() == 28);
};

pub(super) type EventHandler = unsafe extern "C" fn(event: c_int, data: *mut Bevent, arg: *mut c_void);
pub(super) type TraceHandler = unsafe extern "C" fn(
    sent: bool,
    transport: c_int,
    source: *const SocketAddress,
    destination: *const SocketAddress,
    packet: *const u8,
    length: usize,
    arg: *mut c_void,
);
pub(super) type ReceiveHandler =
    unsafe extern "C" fn(source: *mut SocketAddress, datagram: *mut MemoryBuffer, arg: *mut c_void) -> bool;
pub(super) type Destructor = unsafe extern "C" fn(data: *mut c_void);

/// `SIP_TRANSP_UDP`
pub(super) const UDP: c_int = 0;
/// `SDP_RECVONLY`: a bit of every direction in which we receive.
pub(super) const RECEIVES: c_int = 1;
/// `VIDMODE_OFF`
pub(super) const NO_VIDEO: c_int = 0;

unsafe extern "C" {
    // libre
    pub(super) fn mem_zalloc(size: usize, destructor: Option<Destructor>) -> *mut c_void;
    pub(super) fn mem_deref(data: *mut c_void) -> *mut c_void;
    pub(super) fn list_append(list: *mut List, element: *mut ListElement, data: *mut c_void);
    pub(super) fn list_unlink(element: *mut ListElement);
    pub(super) fn mod_close();
    pub(super) fn dbg_init(level: c_int, flags: c_int);
    pub(super) fn sa_ntop(address: *const SocketAddress, buffer: *mut c_char, size: c_int) -> c_int;
    pub(super) fn sa_port(address: *const SocketAddress) -> u16;
    pub(super) fn sa_set_str(address: *mut SocketAddress, text: *const c_char, port: u16) -> c_int;
    pub(super) fn sip_set_trace_handler(sip: *mut Sip, handler: Option<TraceHandler>);
    pub(super) fn sip_transp_laddr(
        sip: *mut Sip,
        local: *mut SocketAddress,
        transport: c_int,
        destination: *const SocketAddress,
    ) -> c_int;
    pub(super) fn sdp_media_raddr(media: *const SdpMedia) -> *const SocketAddress;
    pub(super) fn sdp_media_format_lst(media: *const SdpMedia, local: bool) -> *mut List;
    pub(super) fn sdp_media_dir(media: *const SdpMedia) -> c_int;
    pub(super) fn sdp_media_rformat(media: *const SdpMedia, name: *const c_char) -> *mut SdpFormat;
    pub(super) fn sdp_media_format(
        media: *const SdpMedia,
        local: bool,
        id: *const c_char,
        payload_type: c_int,
        name: *const c_char,
        rate: i32,
        channels: i8,
    ) -> *mut SdpFormat;
    pub(super) fn rtp_sock(rtp: *const RtpSock) -> *mut UdpSock;
    pub(super) fn rtcp_stats(rtp: *mut RtpSock, ssrc: u32, stats: *mut RtcpStats) -> c_int;
    pub(super) fn udp_register_helper(
        helper: *mut *mut UdpHelper,
        socket: *mut UdpSock,
        layer: c_int,
        send: *const c_void,
        receive: Option<ReceiveHandler>,
        arg: *mut c_void,
    ) -> c_int;

    // libbaresip: the library
    pub(super) fn baresip_version() -> *const c_char;
    pub(super) fn conf_configure_buf(text: *const u8, size: usize) -> c_int;
    pub(super) fn conf_config() -> *mut Config;
    pub(super) fn conf_close();
    pub(super) fn baresip_init(config: *mut Config) -> c_int;
    pub(super) fn baresip_close();
    pub(super) fn baresip_aucodecl() -> *mut List;
    pub(super) fn baresip_ausrcl() -> *mut List;
    pub(super) fn baresip_aufiltl() -> *mut List;
    pub(super) fn log_enable_stdout(enable: bool);
    pub(super) fn log_register_handler(log: *mut Log);
    pub(super) fn log_unregister_handler(log: *mut Log);
    pub(super) fn aucodec_register(list: *mut List, codec: *mut AudioCodec);
    pub(super) fn aucodec_unregister(codec: *mut AudioCodec);
    pub(super) fn ausrc_register(
        source: *mut *mut c_void,
        list: *mut List,
        name: *const c_char,
        handler: Option<SourceHandler>,
    ) -> c_int;
    pub(super) fn aufilt_register(list: *mut List, filter: *mut AudioFilter);
    pub(super) fn aufilt_unregister(filter: *mut AudioFilter);

    // libbaresip: user agents
    pub(super) fn ua_init(software: *const c_char, udp: bool, tcp: bool, tls: bool) -> c_int;
    pub(super) fn ua_close();
    pub(super) fn ua_stop_all(forced: bool);
    pub(super) fn uag_sip() -> *mut Sip;
    pub(super) fn ua_alloc(ua: *mut *mut Ua, aor: *const c_char) -> c_int;
    pub(super) fn ua_set_catchall(ua: *mut Ua, enabled: bool);
    pub(super) fn ua_connect(
        ua: *mut Ua,
        call: *mut *mut Call,
        from: *const c_char,
        target: *const c_char,
        video: c_int,
    ) -> c_int;
    pub(super) fn ua_answer(ua: *mut Ua, call: *mut Call, video: c_int) -> c_int;
    pub(super) fn ua_hangup(ua: *mut Ua, call: *mut Call, status: u16, reason: *const c_char);
    pub(super) fn bevent_register(handler: Option<EventHandler>, arg: *mut c_void) -> c_int;
    pub(super) fn bevent_unregister(handler: Option<EventHandler>);
    pub(super) fn bevent_str(event: c_int) -> *const c_char;
    pub(super) fn bevent_get_call(event: *const Bevent) -> *mut Call;
    pub(super) fn bevent_get_text(event: *const Bevent) -> *const c_char;

    // libbaresip: calls and their audio
    pub(super) fn call_id(call: *const Call) -> *const c_char;
    pub(super) fn call_peeruri(call: *const Call) -> *const c_char;
    pub(super) fn call_localuri(call: *const Call) -> *const c_char;
    pub(super) fn call_audio(call: *const Call) -> *mut Audio;
    pub(super) fn audio_set_devicename(
        audio: *mut Audio,
        source: *const c_char,
        player: *const c_char,
    ) -> c_int;
    pub(super) fn audio_strm(audio: *const Audio) -> *mut Stream;
    pub(super) fn audio_encoder_set(
        audio: *mut Audio,
        codec: *const AudioCodec,
        payload_type: c_int,
        parameters: *const c_char,
    ) -> c_int;
    pub(super) fn audio_codec(audio: *const Audio, sending: bool) -> *const AudioCodec;
    pub(super) fn stream_sdpmedia(stream: *const Stream) -> *mut SdpMedia;
    /// Exported by every release, but missing from the public header.
    pub(super) fn stream_rtp_sock(stream: *const Stream) -> *mut RtpSock;
    pub(super) fn stream_metric_get_tx_n_packets(stream: *const Stream) -> u32;
    pub(super) fn stream_metric_get_tx_n_bytes(stream: *const Stream) -> u32;
    pub(super) fn stream_metric_get_rx_n_err(stream: *const Stream) -> u32;
}
