//! Random bytes of the operating system: the only source of keys, nonces and serial numbers.

/// The operating system has no random bytes to give.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("the random number generator of the operating system failed: {0}")]
pub struct RandomError(getrandom::Error);

/// Fills `bytes` with random ones, fit for keys.
///
/// # Errors
///
/// [`RandomError`] if the operating system refuses; `bytes` are then undefined.
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(RandomError)
}

/// `N` random bytes, fit for keys.
///
/// # Errors
///
/// [`RandomError`] if the operating system refuses.
pub fn array<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_do_not_repeat() {
        let (first, second) = (array::<32>().unwrap(), array::<32>().unwrap());
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
