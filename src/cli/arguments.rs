//! Positional arguments: how many a command wants, and what it says of those that are missing or too
//! many.

use super::failure::Failure;
use crate::base::base64;

/// Positional arguments of one command, taken in order, with its messages.
pub(super) struct Arguments<'a> {
    command: String,
    rest: std::slice::Iter<'a, String>,
}

impl<'a> Arguments<'a> {
    /// The arguments `rest` of `command`.
    pub(super) fn new(command: &str, rest: &'a [String]) -> Self {
        Self {
            command: command.to_owned(),
            rest: rest.iter(),
        }
    }

    /// A complaint about the arguments.
    pub(super) fn usage(&self, message: impl Into<String>) -> Failure {
        Failure::usage(&self.command, message)
    }

    /// The next argument, which is a `what`.
    pub(super) fn required(&mut self, what: &str) -> Result<&'a str, Failure> {
        match self.rest.next() {
            Some(argument) => Ok(argument),
            None => Err(self.usage(format!("no {what} specified"))),
        }
    }

    /// The next argument, if there is one.
    pub(super) fn optional(&mut self) -> Option<&'a str> {
        self.rest.next().map(String::as_str)
    }

    /// Complains about arguments that nobody asked for.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match self.rest.next() {
            None => Ok(()),
            Some(_) => Err(self.usage("too many arguments")),
        }
    }

    /// Decodes an argument, which is a `what`.
    pub(super) fn base64(&self, what: &str, text: &str) -> Result<Vec<u8>, Failure> {
        base64::decode(text.as_bytes())
            .map_err(|error| self.usage(format!("invalid {what}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments_of(rest: &[&str]) -> Vec<String> {
        rest.iter().map(|&argument| argument.to_owned()).collect()
    }

    #[test]
    fn arguments_are_taken_in_order() {
        let rest = arguments_of(&["a", "b"]);
        let mut arguments = Arguments::new("kes key dek", &rest);
        assert_eq!(arguments.required("key name").ok(), Some("a"));
        assert_eq!(arguments.optional(), Some("b"));
        assert_eq!(arguments.optional(), None);
        assert!(arguments.finish().is_ok());
    }
}
