//! Draws the plots of the README from the kept results.

fn main() {}
