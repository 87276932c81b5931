use cache_runtime::cached;

#[cached]
fn text<T: ToString>(value: T) -> String {
    value.to_string()
}

#[cached]
fn written(value: impl ToString) -> String {
    value.to_string()
}

fn main() {
    text(1_u64);
    written(1_u64);
}
