//! A function whose entries live in Redis, and its unit tests, which need no Redis.
//!
//! ```text
//! cargo test -p cache-examples --example unit_tests
//! CACHE_BACKEND=memory cargo run -p cache-examples --example unit_tests
//! ```
//!
//! In a `Scope` a test has a cache of its own in memory: values are encoded and decoded as for Redis, time
//! stands still until the test moves it, and tests don't see each other's entries. `CACHE_BACKEND=memory`
//! does without servers in a whole process, say for tests that run your program.

use cache_runtime::cached;

/// The price of an article in cents, with the discount that a quantity earns.
#[cached(backend = "redis", ttl = "1h")]
fn price(article: &str, quantity: u64) -> Result<u64, String> {
    let each = match article {
        "apple" => 25,
        "melon" => 199,
        _ => return Err(format!("there is no article `{article}`")),
    };
    let discount = if quantity >= 10 { 10 } else { 0 };
    Ok(each * quantity * (100 - discount) / 100)
}

fn main() -> Result<(), String> {
    println!("12 melons cost {} cents, and again {}", price("melon", 12)?, price("melon", 12)?);
    println!("{}\n", price::stats());
    println!("the tests: cargo test -p cache-examples --example unit_tests");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_runtime::testing::Scope;

    use super::price;

    #[test]
    fn a_price_is_worked_out_once() {
        let scope = Scope::new();
        let _entered = scope.enter();
        assert_eq!(price("apple", 10), Ok(225));
        assert_eq!(price("apple", 10), Ok(225));
        assert_eq!((price::stats().runs, price::stats().hits), (1, 1));
    }

    // Runs in parallel with the test above, on the same arguments.
    #[test]
    fn a_price_is_worked_out_again_after_an_hour() {
        let scope = Scope::new();
        let _entered = scope.enter();
        assert_eq!(price("apple", 10), Ok(225));
        scope.advance(Duration::from_secs(3599));
        assert_eq!(price("apple", 10), Ok(225));
        assert_eq!(price::stats().runs, 1);
        scope.advance(Duration::from_secs(1));
        assert_eq!(price("apple", 10), Ok(225));
        assert_eq!(price::stats().runs, 2);
    }

    #[test]
    fn a_cached_price_is_believed_and_a_failure_is_not_cached() {
        let scope = Scope::new();
        let _entered = scope.enter();
        price::insert("apple", 1, 20).unwrap();
        assert_eq!(price("apple", 1), Ok(20));
        assert_eq!(price::uncached("apple", 1), Ok(25));
        assert!(price("pear", 1).is_err());
        assert_eq!(price::peek("pear", 1).unwrap(), None);
    }
}
