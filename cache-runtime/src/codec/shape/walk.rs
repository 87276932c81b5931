//! Hands out the parts of a container one by one.

use serde::de::value::{Error as SerdeError, StrDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer};

use super::trace::Parts;
use super::tracer::{Answer, Tracer, end_of_run};

/// A walk over the parts of a container: samples up to the picked part, which is traced and the last. A walk
/// that picks none makes a sample of the container.
pub(super) struct Walk<'t> {
    pub(super) tracer: Tracer<'t>,
    pub(super) parts: Parts,
    pub(super) picked: Option<usize>,
    /// How many parts are handed out.
    pub(super) next: usize,
}

impl Walk<'_> {
    fn traced<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, SerdeError> {
        seed.deserialize(self.tracer.answering(Answer::Trace))
    }

    fn sampled<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, SerdeError> {
        let start = self.tracer.trace.position();
        let value = seed.deserialize(self.tracer.answering(Answer::Sample))?;
        // The samples inside a larger sample are kept only with it, because it may reject them.
        if self.picked.is_some() {
            self.tracer.trace.keep_samples(start);
        }
        Ok(value)
    }

    fn name<'de, S: DeserializeSeed<'de>>(&self, index: usize, seed: S) -> Result<S::Value, SerdeError> {
        let Parts::Named(names) = self.parts else { return Err(end_of_run()) };
        let name: StrDeserializer<'_, SerdeError> =
            names.get(index).ok_or_else(end_of_run)?.into_deserializer();
        seed.deserialize(name)
    }
}

impl<'de> de::SeqAccess<'de> for Walk<'_> {
    type Error = SerdeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, SerdeError> {
        let at = self.next;
        self.next += 1;
        match self.picked {
            Some(picked) if at == picked => self.traced(seed).map(Some),
            Some(picked) if at > picked => Ok(None),
            None if at >= self.parts.len() => Ok(None),
            _ => self.sampled(seed).map(Some),
        }
    }
}

impl<'de> de::MapAccess<'de> for Walk<'_> {
    type Error = SerdeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, SerdeError> {
        let first = self.next == 0;
        self.next += 1;
        match (self.picked, self.parts) {
            (Some(field), Parts::Named(_)) if first => self.name(field, seed).map(Some),
            (Some(0), _) if first => self.traced(seed).map(Some),
            (Some(_), _) if first => self.sampled(seed).map(Some),
            _ => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, SerdeError> {
        // A sample of a map has no entries.
        if self.picked.is_some() { self.traced(seed) } else { Err(end_of_run()) }
    }
}

impl<'de, 't> de::EnumAccess<'de> for Walk<'t> {
    type Error = SerdeError;
    type Variant = Tracer<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Tracer<'t>), SerdeError> {
        let index = match self.picked {
            Some(picked) => picked,
            None => self.tracer.trace.pick_sample(self.parts.len()),
        };
        Ok((self.name(index, seed)?, self.tracer))
    }
}
