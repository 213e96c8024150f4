//! libFuzzer's entry to [`assay_fuzz::receipts`].

#![no_main]

assay_fuzz::target!(receipts, mutate);
