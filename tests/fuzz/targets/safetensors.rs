//! libFuzzer's entry to [`assay_fuzz::safetensors`].

#![no_main]

assay_fuzz::target!(safetensors);
