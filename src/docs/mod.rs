//! The project's documents, as part of its API documentation.
#![doc = include_str!("architecture.md")]
