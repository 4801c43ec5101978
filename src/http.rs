//! What a limiter has to do with HTTP, as pure functions: [`ClientAddress`] says which address a
//! request came from.

mod client_address;

pub use client_address::{ClientAddress, ClientKey, Ipv6Prefix, MAX_HOPS, ProxyHeader};
