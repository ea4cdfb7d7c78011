//! In the place of `tls` in a build without it: there is none.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::connection::Halves;

/// Nobody distrusts.
pub(super) fn is_distrust(_: &io::Error) -> bool {
    false
}

/// What went wrong, for people.
pub(super) fn told(error: &io::Error) -> String {
    error.to_string()
}

/// Nobody has one.
#[derive(Debug, Clone)]
pub struct Tls(Infallible);

/// No connection is made by it.
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
