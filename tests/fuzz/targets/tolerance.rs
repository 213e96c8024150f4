//! libFuzzer's entry to [`assay_fuzz::tolerance`].

#![no_main]

assay_fuzz::target!(tolerance, mutate);
