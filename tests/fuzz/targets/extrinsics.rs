//! libFuzzer's entry to [`assay_fuzz::extrinsics`].

#![no_main]

assay_fuzz::target!(extrinsics, mutate);
