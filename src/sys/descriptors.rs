//! A separate descriptor table for a thread: the limit of open descriptors applies per table, and a
//! thread with its own table opens and closes sockets without the shared table's locks.

use std::io;
use std::os::fd::RawFd;

use nix::libc;

/// Gives the calling thread its own descriptor table, in which only `keep` and the standard streams
/// are open. Descriptors that other threads open from now on are not in it, and those it opens are
/// in no other table: neither may use the other's numbers.
///
/// The rest is closed since otherwise a connection closed by another thread would stay open here.
///
/// # Errors
/// The system refuses `unshare` (some containers do): the table is then still shared, and
/// everything works except the higher limit.
pub fn own_table(keep: RawFd) -> io::Result<()> {
    // SAFETY: no pointers; from here on this thread's descriptors are its own copies.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let keep = keep.max(2) as libc::c_uint;
    for (first, last) in [(3, keep.saturating_sub(1)), (keep + 1, libc::c_uint::MAX)] {
        if first <= last {
            // SAFETY: no pointers; the table is this thread's alone, and of what others
            // have opened it uses nothing but `keep`. Kernels before 5.9 refuse, and then
            // the copies stay open until the thread ends.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::wake::Wake;

    #[test]
    fn a_table_of_ones_own_keeps_nothing_of_the_others_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let wake = std::sync::Arc::new(Wake::new().unwrap());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let kept = wake.clone();
        let thread = std::thread::spawn(move || {
            let own = own_table(kept.as_raw_fd()).is_ok();
            let sockets: Vec<_> = (0..5).map(|_| std::net::UdpSocket::bind("127.0.0.1:0")).collect();
            ready.send(own).unwrap();
            assert!(kept.wait(None));
            sockets.iter().filter(|socket| socket.is_ok()).count()
        });
        if is_ready.recv().unwrap() {
            drop(server);
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "closed although the thread still runs");
        }
        wake.wake();
        assert_eq!(thread.join().unwrap(), 5);
    }
}
