//! Tests of the chokers.
