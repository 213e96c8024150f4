//! libFuzzer's entry to [`assay_fuzz::ranges`].

#![no_main]

assay_fuzz::target!(ranges);
