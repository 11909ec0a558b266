//! References to environment variables in the configuration: a scalar that is `${NAME}` as a whole.
//! Besides the command line this is the only reader of the environment.

/// Looks a variable up; tests give their own.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variable of this process.
pub fn process_variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The variable that `text` refers to, if it is a reference: white space around it, and around the
/// name, does not count. There is no partial substitution and no nesting.
pub fn reference(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("${")?.strip_suffix('}')?;
    Some(inner.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_scalar_is_a_reference() {
        let table = [
            ("${FOO}", Some("FOO")),
            (" ${ FOO }\n", Some("FOO")),
            ("${}", Some("")),
            ("${FOO:-default}", Some("FOO:-default")),
            ("${HOME}/keys", None),
            ("$FOO", None),
            ("a${FOO}", None),
            ("${FOO", None),
            ("${", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(reference(text), expected, "{text}");
        }
    }
}
