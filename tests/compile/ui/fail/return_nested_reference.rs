use cache_runtime::cached;

#[cached]
fn first<'a>(names: &'a [String]) -> Option<&'a String> {
    names.first()
}

fn main() {}
