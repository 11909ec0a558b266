//! Which build this is.

/// Version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit that was built, if the build was told with the variable `KES_COMMIT`.
pub const COMMIT: &str = match option_env!("KES_COMMIT") {
    Some(commit) => commit,
    None => "<unknown>",
};
