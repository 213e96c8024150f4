//! Applies the job protocol to escrow, bonds and deadlines.
