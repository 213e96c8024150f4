//! The evaluation: held-out questions, answered greedily by the engine that serves jobs.
