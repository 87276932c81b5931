use cache_runtime::cached;

#[cached(single_flight(detach = true))]
fn blocking(id: u64) -> u64 {
    id
}

#[cached(single_flight("off", detach = true))]
async fn unshared(id: u64) -> u64 {
    id
}

#[cached(single_flight(detach = "yes"))]
async fn text(id: u64) -> u64 {
    id
}

#[cached(single_flight(detach = true))]
async fn generic<T: serde::Serialize>(id: T) -> u64 {
    0
}

struct Users;

impl Users {
    #[cached(single_flight(detach = true), skip(self))]
    async fn user(&self, id: u64) -> u64 {
        id
    }
}

#[cached(single_flight(detach = true))]
async fn not_send(id: u64) -> Result<u64, std::rc::Rc<str>> {
    Ok(id)
}

fn main() {}
