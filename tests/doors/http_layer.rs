//! The layer over real sockets, under axum and hyper with HTTP/1 and HTTP/2, and under tonic.
//! Time is virtual, so nothing here waits for any.

mod answers;
mod facts;
mod grpc;
mod held;
mod hostile;
mod server;
mod services;
mod waiting;
