//! The `Date` header, made once a second per thread.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use http::HeaderValue;
use jiff::Timestamp;
use jiff::tz::TimeZone;

thread_local! {
    static CACHED: RefCell<Option<(Instant, HeaderValue)>> = const { RefCell::new(None) };
}

/// The current time in the form of RFC 9110, 5.6.7, at most a second old.
pub(super) fn header_value() -> HeaderValue {
    CACHED.with_borrow_mut(|cached| match cached {
        Some((made, value)) if made.elapsed() < Duration::from_secs(1) => value.clone(),
        _ => {
            let value = make();
            *cached = Some((Instant::now(), value.clone()));
            value
        }
    })
}

fn make() -> HeaderValue {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_http() {
        let value = header_value();
        let text = value.to_str().expect("text");
        assert!(text.ends_with(" GMT") && text.len() == 29, "{text}");
    }
}
