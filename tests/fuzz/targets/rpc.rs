//! libFuzzer's entry to [`assay_fuzz::rpc`].

#![no_main]

assay_fuzz::target!(rpc, mutate);
