use cache_runtime::cached;

// These attributes are not found, because none of their frameworks is a dependency.

#[cached]
#[get("/users/{id}")]
async fn user(id: u64) -> String {
    id.to_string()
}

#[cached]
#[rocket::post("/users", data = "<name>")]
fn create(name: String) -> String {
    name
}

fn main() {}
