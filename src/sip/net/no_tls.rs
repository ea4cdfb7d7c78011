//! Replaces `tls` in a build without TLS.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::connection::Halves;

/// Always `false` without TLS.
pub(super) fn is_distrust(_: &io::Error) -> bool {
    false
}

/// The text of an error, for display.
pub(super) fn told(error: &io::Error) -> String {
    error.to_string()
}

/// Without TLS there are no values of this type.
#[derive(Debug, Clone)]
pub struct Tls(Infallible);

/// Without TLS there are no values of this type.
#[derive(Clone)]
pub(super) struct Outward(Infallible);

impl Tls {
    pub(super) async fn accept(
        &self,
        _: TcpStream,
        _: SocketAddr,
    ) -> io::Result<(Halves, Option<Vec<String>>)> {
        match self.0 {}
    }

    pub(super) fn outward(&self, _: Option<&str>) -> Option<Outward> {
        match self.0 {}
    }
}

impl Outward {
    pub(super) fn number(&self) -> u64 {
        match self.0 {}
    }

    pub(super) async fn connect(&self, _: TcpStream, _: Option<&str>) -> io::Result<Halves> {
        match self.0 {}
    }
}
