//! How an actor tells that it is gone.

/// Held by an actor for as long as it lives. When it is dropped for whatever reason, a panic
/// included, the callback learns the actor's name; the node then stops, because a half-known state
/// is worse than a restart.
pub struct DeathWatch {
    actor: &'static str,
    on_death: Option<Box<dyn FnOnce(&'static str) + Send>>,
}

impl DeathWatch {
    /// Watches the actor of that name.
    pub fn new(actor: &'static str, on_death: impl FnOnce(&'static str) + Send + 'static) -> Self {
        Self { actor, on_death: Some(Box::new(on_death)) }
    }

    /// A watch that tells nobody, for tests and tools.
    pub fn none() -> Self {
        Self { actor: "", on_death: None }
    }

    /// The actor stops regularly: nobody is told.
    pub fn disarm(&mut self) {
        self.on_death = None;
    }
}

impl Drop for DeathWatch {
    fn drop(&mut self) {
        if let Some(on_death) = self.on_death.take() {
            on_death(self.actor);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn only_an_armed_watch_tells() {
        let (tell, told) = channel();
        let other = tell.clone();
        drop(DeathWatch::new("a", move |name| tell.send(name).expect("a receiver")));
        let mut disarmed = DeathWatch::new("b", move |name| other.send(name).expect("a receiver"));
        disarmed.disarm();
        drop(disarmed);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["a"]);
    }
}
