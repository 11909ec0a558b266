//! The project's documents, as part of its API documentation.

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("compatibility.md")]
pub mod compatibility {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("testing.md")]
pub mod testing {}
