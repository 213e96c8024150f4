//! libFuzzer's entry to [`assay_fuzz::encodings`].

#![no_main]

assay_fuzz::target!(encodings);
