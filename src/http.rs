//! HTTP: the address that a request came from ([`ClientAddress`]), and how a service reports the
//! state of its limits ([`HeaderStyle`], [`Refusals`]), as pure functions.
//!
//! With the feature `tower` also `AdmitLayer`, which does both for a whole service.

#[cfg(feature = "tower")]
mod body;
mod client_address;
#[cfg(feature = "tower")]
mod config;
#[cfg(feature = "tower")]
pub mod fact;
mod grpc;
mod headers;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod policy_header;
mod refusal;
#[cfg(feature = "tower")]
mod service;
mod structured;

#[cfg(feature = "tower")]
pub use body::{AdmittedBody, Settle};
pub use client_address::{ClientAddress, ClientKey, Ipv6Prefix, MAX_HOPS, ProxyHeader};
pub use grpc::{grpc_response, is_grpc};
pub use headers::{HeaderStyle, UnknownStyle, retry_after};
#[cfg(feature = "tower")]
pub use layer::AdmitLayer;
pub use refusal::{RefusalBody, Refusals};
#[cfg(feature = "tower")]
pub use service::{Admit, Admitted};
