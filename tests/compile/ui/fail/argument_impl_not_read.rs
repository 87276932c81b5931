use cache_runtime::cached;

trait Repo {
    fn load(&self, id: u64) -> u64;
}

#[cached(skip(repo))]
fn skipped(repo: &impl Repo, id: u64) -> u64 {
    repo.load(id)
}

#[cached(key = "{id}")]
fn not_in_key(repo: Option<impl Repo>, id: u64) -> u64 {
    repo.map_or(id, |repo| repo.load(id))
}

struct Users;

impl Users {
    #[cached(key = (id,))]
    async fn user(&self, repo: impl Repo + Sync, id: u64) -> u64 {
        repo.load(id)
    }
}

#[cached(skip(load, named))]
fn fine<R: Repo>(load: &impl Fn(u64) -> u64, named: &R, id: u64) -> u64 {
    load(named.load(id))
}

fn main() {}
