//! libFuzzer's entry to [`assay_fuzz::gguf`].

#![no_main]

assay_fuzz::target!(gguf, mutate);
