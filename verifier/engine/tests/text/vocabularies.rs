//! Small vocabularies made by hand, one rule each.
