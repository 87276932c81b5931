use cache_runtime::cached;

struct Request;

#[cached]
fn answer(id: u64, request: &Request) -> u64 {
    let _ = request;
    id
}

fn main() {
    answer(1, &Request);
}
