//! The generation token as the server has it.

use std::time::Instant;

use bytes::Bytes;

use super::envelope::Token;
use super::generation::{Asked, random_token};
use super::invalidations::PendingInvalidations;
use crate::backend::{Condition, SetOptions, Versioned};
use crate::common::wait::Caller;
use crate::error::{Error, ErrorKind};

impl PendingInvalidations {
    /// The generation token in the server's answer, or a new one if that is none or a void one.
    pub(super) async fn learn(
        &self,
        found: Option<Versioned>,
        asked: Asked,
        caller: Caller,
        deadline: Instant,
    ) -> Result<Token, Error> {
        if let Some(token) = self.learn_from(found.as_ref(), asked) {
            return Ok(token);
        }
        let key = self.generation_key.as_bytes();
        let mut found = found;
        for _ in 0..3 {
            if found.is_some() {
                // Not a token, or a void one.
                self.connected.delete(key, deadline, caller).await?;
            }
            let token = random_token();
            let bytes = Bytes::copy_from_slice(&token);
            if self
                .connected
                .set(key, bytes, SetOptions::new(), Condition::Absent, deadline, caller)
                .await?
                .is_some()
            {
                _ = self.generation.learn(token, asked);
                return Ok(token);
            }
            // Another process has put one there, and may have cleared the function since.
            let asked = self.generation.ask();
            found = self.connected.get(key, deadline, caller).await?;
            if let Some(token) = self.learn_from(found.as_ref(), asked) {
                return Ok(token);
            }
        }
        let message = "the backend loses the function's generation token as soon as it is stored";
        Err(Error::new(ErrorKind::Server, message))
    }

    /// The token that was `found`, unless it is none or a void one.
    fn learn_from(&self, found: Option<&Versioned>, asked: Asked) -> Option<Token> {
        let token = Token::try_from(&*found?.bytes).ok()?;
        self.generation.learn(token, asked).then_some(token)
    }
}
