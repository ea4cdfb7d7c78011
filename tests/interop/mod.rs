//! Tests with third-party programs: SIPp, baresip, tshark, Chromium. They are ignored by default, because the
//! programs have to be installed:
//! `cargo test --test program interop:: -- --ignored --test-threads 1`.

mod b2bua;
mod baresip;
mod capture;
mod client;
mod journal;
mod load;
mod malformed;
mod messages;
mod networks;
mod page;
mod phones;
mod sipp;
mod srtp;
mod support;
mod trunks;
mod tshark;
