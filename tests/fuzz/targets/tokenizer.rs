//! libFuzzer's entry to [`assay_fuzz::tokenizer`].

#![no_main]

assay_fuzz::target!(tokenizer);
