//! A connection in the hands of one call: a request goes out, an answer comes back, in turns. What a server's protocol does
//! with it is written once, for blocking and async connections.

use std::io;

use super::read_buffer::{Cursor, ParseError};
use crate::error::Error;

/// A blocking connection does its work when a method is called, so its futures are ready.
pub(crate) trait Line: Send {
    fn send(&mut self, request: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Reads until `parser` has an answer. The outer error is the socket's, the inner one the parser's.
    fn receive<T: Send>(
        &mut self,
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError> + Send,
    ) -> impl Future<Output = io::Result<Result<T, Error>>> + Send;
}
