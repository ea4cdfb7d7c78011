//! The life of the library: it starts and stops on the reactor thread.

use std::ffi::{CStr, c_char, c_int};
use std::net::SocketAddr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;

use super::audio::Devices;
use super::border::{self, guard};
use super::engine::{Engine, install, with};
use super::events::{on_event, on_message};
use super::ffi::{self, ListElement, Log, SocketAddress};
use super::g711::Codecs;
use super::packet_log::PacketLog;
use super::wire::Trace;
use super::{clock, commands, config};
use b2b_ua::{UaConfig, UaError, UaEvent};

/// `DBG_ERR`: the level of libre's own messages, which go to standard error.
const ONLY_ERRORS: c_int = 3;

/// Objects that the library points to.
pub(super) struct Library {
    log: Box<Log>,
    devices: Option<Devices>,
}

/// The files that the engine writes.
pub(super) struct Files {
    trace: Option<Trace>,
    log: Option<PacketLog>,
}

impl Files {
    /// Creates the configured files.
    pub(super) fn create(config: &UaConfig) -> Result<Files, UaError> {
        let trace = config
            .sip_trace
            .as_ref()
            .map(|path| Trace::create(path).map_err(|error| UaError::Trace { path: path.clone(), error }));
        let log = config.packet_log.as_ref().map(|path| {
            PacketLog::create(path).map_err(|error| UaError::Trace { path: path.clone(), error })
        });
        Ok(Files { trace: trace.transpose()?, log: log.transpose()? })
    }
}

/// Refuses a library whose structures differ from the ones declared here.
pub(super) fn check_version() -> Result<(), UaError> {
    // SAFETY: returns a static text.
    let version = unsafe { border::text(ffi::baresip_version()) };
    known(&version)
}

fn known(version: &str) -> Result<(), UaError> {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(4) if cfg!(target_pointer_width = "64") => Ok(()),
        _ => Err(UaError::Unsupported(format!(
            "this build knows libbaresip 4 on 64-bit machines, and found {version:?}; install a \
             4.x release, or use --engine native"
        ))),
    }
}

/// Starts everything; returns the SIP address with its actual port.
///
/// # Safety
/// On the reactor thread, once.
pub(super) unsafe fn start(
    config: &UaConfig,
    files: Files,
    events: Sender<UaEvent>,
    clock: Sender<clock::Command>,
) -> Result<(SocketAddr, Library), UaError> {
    let mut log = Box::new(Log { le: ListElement::unlinked(), h: Some(on_log) });
    // SAFETY: the caller's promise; the box stays until `stop`.
    unsafe {
        ffi::dbg_init(ONLY_ERRORS, 0);
        ffi::log_enable_stdout(false);
        ffi::log_register_handler(&mut *log);
    }
    let mut library = Library { log, devices: None };
    // SAFETY: the caller's promise.
    match unsafe { library.begin(config, files, events, clock) } {
        Ok(local) => Ok((local, library)),
        Err(error) => {
            // SAFETY: the caller's promise.
            unsafe { library.stop() };
            Err(error)
        }
    }
}

impl Library {
    /// # Safety
    /// On the reactor thread, once.
    unsafe fn begin(
        &mut self,
        config: &UaConfig,
        files: Files,
        events: Sender<UaEvent>,
        clock: Sender<clock::Command>,
    ) -> Result<SocketAddr, UaError> {
        let failed = |what: &str, errno: c_int| {
            UaError::Stopped(format!("libbaresip: {what}: {}", border::system_error(errno)))
        };
        let text = config::library_text(config);
        // SAFETY: the length is that of the text; the library copies it.
        let errno = unsafe { ffi::conf_configure_buf(text.as_ptr(), text.len()) };
        if errno != 0 {
            return Err(failed("its configuration was refused", errno));
        }
        // SAFETY: the library's own configuration.
        let errno = unsafe { ffi::baresip_init(ffi::conf_config()) };
        if errno != 0 {
            return Err(failed("it does not start", errno));
        }
        // SAFETY: the library has started, and we are on its thread.
        let codecs = unsafe { Codecs::register(&config.codecs) };
        let mut engine = Engine::new(codecs, events, clock);
        (engine.trace, engine.log) = (files.trace, files.log);
        (engine.ptime_ms, engine.jitter_ms) = (config.ptime_ms, config.jitter_ms);
        engine.rtp_timeout = config.rtp_timeout;
        install(Some(engine));
        // SAFETY: as above.
        self.devices = Some(unsafe { Devices::register() }.map_err(|errno| failed("no audio", errno))?);
        // SAFETY: as above; the text is static.
        let errno = unsafe { ffi::ua_init(c"b2b".as_ptr(), true, true, false) };
        if errno != 0 {
            return Err(UaError::Bind { addr: config.bind, error: border::system_error(errno) });
        }
        // SAFETY: the SIP stack has started.
        let local = unsafe { local_address(config.bind) }
            .ok_or_else(|| failed("no SIP address", nix::libc::EADDRNOTAVAIL))?;
        // SAFETY: our own handlers, removed in `stop`.
        let errno = unsafe {
            ffi::sip_set_trace_handler(ffi::uag_sip(), Some(on_message));
            ffi::bevent_register(Some(on_event), null_mut())
        };
        if errno != 0 {
            return Err(failed("no events", errno));
        }
        let account = config::account_text(config, local.port())?;
        let mut ua = null_mut();
        // SAFETY: the text ends with a zero byte and is copied.
        let errno = unsafe { ffi::ua_alloc(&mut ua, account.as_ptr()) };
        if errno != 0 {
            return Err(failed("its account was refused", errno));
        }
        // SAFETY: the account was just created.
        unsafe { ffi::ua_set_catchall(ua, true) };
        with(|engine| engine.ua = ua);
        Ok(local)
    }

    /// Stops everything. Remaining calls are cut off.
    ///
    /// # Safety
    /// On the reactor thread, once.
    pub(super) unsafe fn stop(&mut self) {
        // SAFETY: the caller's promise. The order is that of the library's own program; stopping a part that
        // was not started is harmless.
        unsafe {
            commands::cut_off_all();
            ffi::ua_stop_all(true);
            ffi::sip_set_trace_handler(ffi::uag_sip(), None);
            ffi::bevent_unregister(Some(on_event));
            ffi::ua_close();
            if let Some(mut devices) = self.devices.take() {
                devices.unregister();
            }
            if let Some(mut engine) = install(None) {
                engine.codecs.unregister();
            }
            ffi::conf_close();
            ffi::baresip_close();
            ffi::mod_close();
            ffi::log_unregister_handler(&mut *self.log);
        }
    }
}

/// The address that peers on our side of the network see, with the port that the system has chosen.
///
/// # Safety
/// On the reactor thread, with a SIP stack.
unsafe fn local_address(bind: SocketAddr) -> Option<SocketAddr> {
    let ip = std::ffi::CString::new(bind.ip().to_string()).ok()?;
    let (mut local, mut towards) = (SocketAddress::empty(), SocketAddress::empty());
    // SAFETY: both have more room than any address of the library.
    unsafe {
        if ffi::sa_set_str(&mut towards, ip.as_ptr(), 9) != 0
            || ffi::sip_transp_laddr(ffi::uag_sip(), &mut local, ffi::UDP, &towards) != 0
        {
            return None;
        }
        border::address(&local)
    }
}

unsafe extern "C" fn on_log(level: u32, message: *const c_char) {
    guard(|| {
        if message.is_null() {
            return;
        }
        // SAFETY: the library's own text.
        let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
        let message = message.trim_end();
        match level {
            // The subjects of its warnings are also reported as errors and events of calls.
            0..=2 => tracing::debug!("libbaresip: {message}"),
            _ => tracing::warn!("libbaresip: {message}"),
        }
    });
}

/// Only one engine fits into a process: the library uses global state.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The process's only engine; dropping it allows the next one.
pub(super) struct Only(());

impl Only {
    pub(super) fn take() -> Result<Only, UaError> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(UaError::Unsupported(
                "there is a baresip engine in this process already, and libbaresip allows one; use \
                 --engine native for more"
                    .into(),
            ));
        }
        Ok(Only(()))
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_library_whose_structures_are_known_is_used() {
        assert!(known("4.0.0").is_ok() && known("4.10.0").is_ok());
        for version in ["3.24.0", "5.0.0", "", "dev"] {
            assert!(known(version).unwrap_err().to_string().contains("libbaresip 4"), "{version}");
        }
    }
}
