//! The `ltvstream` program.

fn main() {}
