//! Cached functions of every kind in edition 2018, with a renamed dependency.

#![deny(warnings, missing_docs, rust_2018_idioms)]

use std::future::Future;
use std::pin::Pin;

use cache::cached;

/// Edition 2024 reserves this name.
#[cached(crate = cache)]
#[must_use]
pub fn double(gen: u64) -> u64 {
    gen * 2
}

/// Leaves early, both ways.
///
/// # Errors
/// `text` is no number.
#[cached(crate = cache, cache_none = true, ttl = 60)]
pub fn parsed(text: &str) -> Result<Option<u64>, std::num::ParseIntError> {
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(text.parse()?))
}

/// Writes to a skipped argument from inside of the body.
#[cached(crate = cache, skip(log))]
pub fn logged(id: u64, log: &mut Vec<u64>) -> u64 {
    log.push(id);
    id
}

/// Two instantiations share nothing.
#[cached(crate = cache)]
#[must_use]
pub fn size<T: 'static, const N: usize>(plus: usize) -> usize {
    std::mem::size_of::<[T; N]>() + plus
}

/// Borrows across an await.
#[cached(crate = cache)]
pub async fn greeting(name: &str) -> String {
    std::future::ready(()).await;
    format!("Hello, {}", name)
}

/// Borrows nothing, as the editions before 2024 take it.
#[cached(crate = cache)]
pub fn later(id: u64) -> impl Future<Output = u64> {
    let next = id + 1;
    async move { next }
}

/// Says what it borrows.
#[cached(crate = cache)]
pub fn boxed<'a>(name: &'a str) -> Pin<Box<dyn Future<Output = usize> + Send + 'a>> {
    Box::pin(async move { name.len() })
}

/// Has methods.
#[derive(Debug, Clone)]
pub struct Shop {
    /// Identifies it.
    pub id: u64,
    /// Does not.
    pub calls: u64,
}

impl Shop {
    /// Captures more than the field it names: closures of edition 2018 take `self` as a whole.
    #[cached(crate = cache, key = (self.id, count))]
    pub fn price(&mut self, count: u64) -> u64 {
        self.calls += 1;
        self.id * count
    }

    /// Runs once for all shops.
    #[cached(crate = cache, skip(self))]
    pub async fn currency(&self) -> &'static str {
        "EUR"
    }

    /// Has no receiver.
    #[cached(crate = cache)]
    #[must_use]
    pub fn found(id: u64) -> Option<Self> {
        (id != 0).then_some(Self { id, calls: 0 })
    }
}

/// Has one method with a body.
pub trait Named {
    /// Identifies the call.
    fn id(&self) -> u64;

    /// Each implementor has entries of its own.
    #[cached(crate = cache, key = self.id(), companions = false)]
    fn name(&self) -> String {
        format!("{} {}", std::any::type_name::<Self>(), self.id())
    }
}

impl Named for Shop {
    fn id(&self) -> u64 {
        self.id
    }
}

impl Named for u64 {
    fn id(&self) -> u64 {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions() {
        assert_eq!((double(4), double(4), double(5)), (8, 8, 10));
        assert_eq!((double::stats().runs, double::peek(4).unwrap()), (2, Some(8)));
        assert_eq!((parsed(""), parsed("7")), (Ok(None), Ok(Some(7))));
        assert!(parsed("x").is_err());
        assert_eq!((parsed::peek("").unwrap(), parsed::peek("x").unwrap()), (Some(None), None));
        let mut log = Vec::new();
        assert_eq!((logged(1, &mut log), logged(1, &mut log)), (1, 1));
        assert_eq!(log, [1]);
    }

    #[test]
    fn generics() {
        assert_eq!((size::<u8, 3>(1), size::<u16, 3>(1), size::<u8, 4>(1), size::<u8, 3>(1)), (4, 7, 5, 4));
        assert_eq!(size::stats().runs, 3);
    }

    #[test]
    fn methods() {
        let (mut one, mut two) = (Shop { id: 1, calls: 0 }, Shop { id: 2, calls: 0 });
        assert_eq!((one.price(3), one.price(3), two.price(3)), (3, 3, 6));
        assert_eq!((one.calls, two.calls), (1, 1));
        one.price_invalidate(3).unwrap();
        assert_eq!((one.price(3), one.calls), (3, 2));
        assert_eq!((Shop::found(0).is_none(), Shop::found(1).unwrap().id), (true, 1));
        assert_eq!(Shop::found_peek(1).unwrap().map(|shop| shop.id), Some(1));
        assert!(one.name().ends_with("Shop 1") && 1_u64.name().ends_with("u64 1"));
    }

    #[tokio::test]
    async fn futures() {
        assert_eq!(
            (greeting("Ada").await, greeting("Ada").await),
            ("Hello, Ada".into(), "Hello, Ada".into())
        );
        assert_eq!((later(1).await, later(1).await, later(2).await), (2, 2, 3));
        assert_eq!((boxed("Ada").await, boxed("Ada").await), (3, 3));
        assert_eq!((greeting::stats().runs, later::stats().runs, boxed::stats().runs), (1, 2, 1));
        let (one, two) = (Shop { id: 1, calls: 0 }, Shop { id: 2, calls: 0 });
        assert_eq!((one.currency().await, two.currency().await), ("EUR", "EUR"));
        assert_eq!(Shop::currency_stats().runs, 1);
    }
}
