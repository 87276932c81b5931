use cache_runtime::cached;

struct Tenant;

struct Request {
    tenant: Tenant,
}

#[cached(key = "{request.tenant}")]
fn answer(request: &Request) -> u64 {
    let _ = &request.tenant;
    42
}

fn main() {
    answer(&Request { tenant: Tenant });
}
