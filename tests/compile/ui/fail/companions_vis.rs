use cache_runtime::cached;

#[cached(companions(vis = 7))]
fn number(id: u64) -> u64 {
    id
}

#[cached(companions(visibility = pub))]
fn other_name(id: u64) -> u64 {
    id
}

#[cached(companions(vis = pub, vis = pub(crate)))]
fn twice(id: u64) -> u64 {
    id
}

mod users {
    #[cache_runtime::cached(companions(vis = pub(self)))]
    pub fn user(id: u64) -> u64 {
        id
    }
}

fn main() {
    users::user(1);
    users::user::clear().unwrap();
}
