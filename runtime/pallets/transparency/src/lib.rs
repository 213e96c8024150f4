//! Append-only log of registrations and settlements.
