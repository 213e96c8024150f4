//! libFuzzer's entry to [`assay_fuzz::model`].

#![no_main]

assay_fuzz::target!(model, mutate);
