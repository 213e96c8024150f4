//! Content-addressed artifact store: import, verify on read, index.
