//! Programs with `#[cached]` that must compile, and programs that must not: see `ui/`.
