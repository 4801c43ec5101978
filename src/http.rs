//! What a service has to do with HTTP, as pure functions: which address a request came from
//! ([`ClientAddress`]), and what is said of its limits ([`HeaderStyle`], [`Refusals`]).

mod client_address;
mod grpc;
mod headers;
mod refusal;
mod structured;

pub use client_address::{ClientAddress, ClientKey, Ipv6Prefix, MAX_HOPS, ProxyHeader};
pub use grpc::{grpc_response, is_grpc};
pub use headers::{HeaderStyle, UnknownStyle, retry_after};
pub use refusal::{RefusalBody, Refusals};
