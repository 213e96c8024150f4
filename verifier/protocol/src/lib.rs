//! The job protocol: phases, commitments, draw, settlement and receipts.
