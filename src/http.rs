//! What a service says of its limits over HTTP: headers and refusals, as pure functions of
//! [`Answers`](crate::Answers) and [`Refused`](crate::Refused).

mod grpc;
mod headers;
mod refusal;
mod structured;

pub use grpc::{grpc_response, is_grpc};
pub use headers::{HeaderStyle, UnknownStyle, retry_after};
pub use refusal::{RefusalBody, Refusals};
