//! From a model file to an execution: graph, sampler, trace.
