//! libFuzzer's entry to [`assay_fuzz::encoder`].

#![no_main]

assay_fuzz::target!(encoder, mutate);
