//! Just enough DER (X.690) to tell private keys apart. Certificates are parsed elsewhere.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const SEQUENCE: u8 = 0x30;

/// Splits the element with this tag off the front: its content, and what follows it.
pub(super) fn take(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// The content of the one element with this tag that `der` is.
pub(super) fn only(tag: u8, der: &[u8]) -> Option<&[u8]> {
    let (content, rest) = take(tag, der)?;
    rest.is_empty().then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_split_at_their_length() {
        assert_eq!(take(4, &[4, 1, 7, 8]), Some((&[7][..], &[8][..])));
        assert_eq!(take(4, &[4, 0x81, 1, 7]), Some((&[7][..], &[][..])));
        assert_eq!(only(4, &[4, 0]), Some(&[][..]));
        for malformed in [
            &[][..],
            &[4],
            &[4, 1],
            &[2, 0],
            &[4, 0x80],
            &[4, 0x81],
            &[4, 0x82, 0],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[4, 0x85, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(take(4, malformed), None, "{malformed:?}");
        }
        assert_eq!(only(4, &[4, 0, 0]), None);
    }
}
