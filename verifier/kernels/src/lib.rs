//! Numeric kernels of the exact class; the scalar reference defines the results.
