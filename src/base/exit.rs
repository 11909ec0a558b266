//! How the end of an actor becomes known.

/// Tells that an actor ended, for whatever reason: it is dropped along with the actor.
///
/// A dead actor must end the node: a half-known state is worse than a restart. Whoever builds an
/// actor gives it a watch whose callback does that, and an actor that stops because it was told to
/// calls [`Self::disarm`] first.
pub struct DeathWatch {
    actor: &'static str,
    tell: Option<Box<dyn FnOnce(&'static str) + Send>>,
}

impl DeathWatch {
    /// A watch that calls `tell` with the name `actor` when it is dropped. `tell` may run on a
    /// thread that panics: it must neither block nor panic.
    pub fn new(actor: &'static str, tell: impl FnOnce(&'static str) + Send + 'static) -> Self {
        Self {
            actor,
            tell: Some(Box::new(tell)),
        }
    }

    /// Declares that the actor's end is regular: nothing will be told.
    pub fn disarm(&mut self) {
        self.tell = None;
    }
}

impl Drop for DeathWatch {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.actor);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_death_is_told_once_and_a_regular_end_is_not() {
        let (deaths, told) = mpsc::channel();
        let tell = move |actor| deaths.send(actor).expect("the receiver is alive");
        drop(DeathWatch::new("cache", tell.clone()));
        let mut regular = DeathWatch::new("gateway", tell);
        regular.disarm();
        drop(regular);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["cache"]);
    }

    #[test]
    fn a_panic_is_a_death() {
        let (deaths, told) = mpsc::channel();
        let watch = DeathWatch::new("cache", move |actor| {
            deaths.send(actor).expect("the receiver is alive");
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _watch = watch;
            panic!("a bug");
        }));
        assert!(outcome.is_err());
        assert_eq!(told.iter().collect::<Vec<_>>(), ["cache"]);
    }
}
