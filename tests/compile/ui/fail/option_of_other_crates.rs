use cache_runtime::cached;

#[cached(size = 100, time = 60, result = true, option = true)]
fn sized(id: u64) -> u64 {
    id
}

#[cached(max_size = 100, ttl = "Duration::from_secs(60)", convert = r#"{ id }"#, sync_writes = "by_key")]
fn converted(id: u64) -> u64 {
    id
}

#[cached(ty = "Store<u64>", create = { Store::new(5, |id, _| id) }, sync_writes_buckets = 64)]
fn created(id: u64) -> u64 {
    id
}

#[cached(ttl_secs = 60, refresh = true, force_refresh = { id == 0 }, name = "USERS", unbound)]
fn refreshed(id: u64) -> u64 {
    id
}

#[cached(expires = true, with_cached_flag = true, sync_lock = "mutex", unsync_reads = true, shards = 8)]
fn flagged(id: u64) -> u64 {
    id
}

#[cached(ttl_millis = 250, time_refresh = true, result_fallback = true, in_impl = true)]
fn fallback(id: u64) -> u64 {
    id
}

#[cached(redis = true, map_error = |e| Error(e), cache_prefix_block = { "users" })]
fn on_redis(id: u64) -> u64 {
    id
}

#[cached(disk = true, disk_dir = "/tmp", durable = false, connection_config = r#"c"#, sync_to_disk_on_cache_change = true)]
fn on_disk(id: u64) -> u64 {
    id
}

#[cached(max_capacity = 100, time_to_live = 60, time_to_idle = 60)]
fn like_moka(id: u64) -> u64 {
    id
}

fn main() {}
