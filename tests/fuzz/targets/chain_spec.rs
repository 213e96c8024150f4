//! libFuzzer's entry to [`assay_fuzz::chain_spec`].

#![no_main]

assay_fuzz::target!(chain_spec, mutate);
