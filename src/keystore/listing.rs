//! Cuts one page out of all the names that a store has. Pure.

use super::Page;

/// Sorts `names` bytewise and returns those that start with `prefix` and are not less than
/// `start`, at most `limit` of them. [`Page::next`] is the first name that did not fit.
///
/// Unlike the original's helper it is complete: no cap besides `limit`, and the continuation works
/// for every prefix.
pub fn page(
    names: impl IntoIterator<Item = String>,
    prefix: &str,
    start: Option<&str>,
    limit: usize,
) -> Page {
    let mut names: Vec<String> = names
        .into_iter()
        .filter(|name| belongs(name, prefix, start))
        .collect();
    names.sort_unstable();
    names.dedup();
    let next = names.get(limit).cloned();
    names.truncate(limit);
    Page { names, next }
}

/// Whether `name` belongs to a listing of `prefix` that begins at `start`.
pub fn belongs(name: &str, prefix: &str, start: Option<&str>) -> bool {
    name.starts_with(prefix) && start.is_none_or(|start| name >= start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn names_of(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("key-{n:05}")).collect()
    }

    #[test]
    fn names_are_sorted_bytewise_and_none_is_there_twice() {
        let page = page(owned(&["b", "_a", "a", "B", "a-1", "a"]), "", None, 100);
        assert_eq!(page.names, owned(&["B", "_a", "a", "a-1", "b"]));
        assert_eq!(page.next, None);
    }

    #[test]
    fn there_is_no_cap_of_1024_and_no_off_by_one() {
        for count in [1023, 1024, 1025, 3000] {
            for prefix in ["", "key-"] {
                let page = page(names_of(count), prefix, None, usize::MAX);
                assert_eq!((page.names.len(), page.next), (count, None));
            }
        }
        let page = page(owned(&["key-1", "key-2", "key-3", "zzz"]), "key-", None, 2);
        assert_eq!(page.names, owned(&["key-1", "key-2"]));
        assert_eq!(page.next.as_deref(), Some("key-3"));
    }

    #[test]
    fn nothing_fits_into_an_empty_page() {
        let page = page(owned(&["b", "a"]), "", None, 0);
        assert_eq!((page.names, page.next), (vec![], Some("a".to_owned())));
    }

    #[test]
    fn a_prefix_without_names_gives_an_empty_page() {
        assert_eq!(page(owned(&["b", "a"]), "x", None, 9), Page::default());
    }

    proptest! {
        #[test]
        fn pages_together_are_the_whole_listing(
            names in proptest::collection::vec("[ab_-]{1,4}", 0..40),
            prefix in "[ab]{0,2}",
            limit in 1_usize..7,
        ) {
            let whole = page(names.clone(), &prefix, None, usize::MAX);
            let mut together = Vec::new();
            let mut start = None;
            loop {
                let part = page(names.clone(), &prefix, start.as_deref(), limit);
                prop_assert!(part.names.len() <= limit);
                together.extend(part.names);
                match part.next {
                    Some(next) => start = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(together, whole.names);
        }
    }
}
