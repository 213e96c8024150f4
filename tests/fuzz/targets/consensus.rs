//! libFuzzer's entry to [`assay_fuzz::consensus`].

#![no_main]

assay_fuzz::target!(consensus);
