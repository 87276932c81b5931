//! Short programs: see `examples/`.
