//! libFuzzer's entry to [`assay_fuzz::template`].

#![no_main]

assay_fuzz::target!(template);
