//! Tokenizers against llama.cpp, and what holds for any of them.

#![forbid(unsafe_code)]

mod templates;
mod vectors;
mod vocabularies;
