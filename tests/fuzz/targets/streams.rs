//! libFuzzer's entry to [`assay_fuzz::streams`].

#![no_main]

assay_fuzz::target!(streams);
