//! A process that adds one to a number, again and again, for `tests/plain/servers.rs`: `adder <URL> <times>`.

use cache_runtime::Cache;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, times] = &arguments[..] else { panic!("usage: adder URL TIMES") };
    let cache = Cache::from_url(url).expect("a URL");
    for _ in 0..times.parse().expect("a number") {
        cache.incr("n", 1).expect("the server answers").expect("the number is there");
    }
}
