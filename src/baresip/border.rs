//! The border to C: callbacks from the library, and its texts.

use std::ffi::{CStr, c_char};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ffi::{self, SocketAddress};
use b2b_base::util::exit::Exit;

/// Runs a callback of the library. A panic must not unwind into C: it ends the process with the exit code of
/// a panic. (The panic hook has already reported it.)
pub(super) fn guard<T>(body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(_) => std::process::exit(Exit::Panic as i32),
    }
}

/// A text of the library; empty for null.
///
/// # Safety
/// `text` is null or ends with a zero byte.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// An address of the library.
///
/// # Safety
/// `address` is null or one of the library's addresses.
pub(super) unsafe fn address(address: *const SocketAddress) -> Option<SocketAddr> {
    if address.is_null() {
        return None;
    }
    let mut buffer = [0 as c_char; 64];
    // SAFETY: the caller's promise; the size is the buffer's.
    let (failed, port) =
        unsafe { (ffi::sa_ntop(address, buffer.as_mut_ptr(), buffer.len() as i32), ffi::sa_port(address)) };
    if failed != 0 {
        return None;
    }
    // SAFETY: the library ends its texts with a zero byte.
    let ip: IpAddr = unsafe { text(buffer.as_ptr()) }.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

/// An errno of the library as an error.
pub(super) fn system_error(errno: i32) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno)
}
