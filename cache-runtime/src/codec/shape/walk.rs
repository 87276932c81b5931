//! The parts of a type that holds others, handed out one by one.

use serde::de::value::{Error as Stop, StrDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer};

use super::Parts;
use super::probe::{Answer, Probe, stop};

/// A walk over the parts of a type: samples up to the one picked, which is traced. Nothing comes behind it. A walk
/// that picks none is a sample itself.
pub(super) struct Walk<'t> {
    pub(super) probe: Probe<'t>,
    pub(super) parts: Parts,
    pub(super) picked: Option<usize>,
    /// How many parts were handed out.
    pub(super) next: usize,
}

impl Walk<'_> {
    fn traced<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        seed.deserialize(self.probe.reborrow(Answer::Trace))
    }

    fn sampled<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        let start = self.probe.trace.made;
        let value = seed.deserialize(self.probe.reborrow(Answer::Sample))?;
        // Samples within a larger sample stay open until that is complete: it may be what refuses them.
        if self.picked.is_some() {
            self.probe.trace.keep_samples(start);
        }
        Ok(value)
    }

    fn name<'de, S: DeserializeSeed<'de>>(&self, index: usize, seed: S) -> Result<S::Value, Stop> {
        let Parts::Named(names) = self.parts else { return Err(stop()) };
        let name: StrDeserializer<'_, Stop> = names.get(index).ok_or_else(stop)?.into_deserializer();
        seed.deserialize(name)
    }
}

impl<'de> de::SeqAccess<'de> for Walk<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Stop> {
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
    type Error = Stop;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Stop> {
        let first = self.next == 0;
        self.next += 1;
        match (self.picked, self.parts) {
            (Some(field), Parts::Named(_)) if first => self.name(field, seed).map(Some),
            (Some(0), _) if first => self.traced(seed).map(Some),
            (Some(_), _) if first => self.sampled(seed).map(Some),
            _ => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        // A map that is a sample has no entries.
        if self.picked.is_some() { self.traced(seed) } else { Err(stop()) }
    }
}

impl<'de, 't> de::EnumAccess<'de> for Walk<'t> {
    type Error = Stop;
    type Variant = Probe<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Probe<'t>), Stop> {
        let index = match self.picked {
            Some(picked) => picked,
            None => self.probe.trace.sample(self.parts.len()),
        };
        Ok((self.name(index, seed)?, self.probe))
    }
}
