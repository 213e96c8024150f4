//! What everyone agrees on: the composed runtime and its native executor.
