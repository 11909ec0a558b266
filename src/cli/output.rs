//! What the commands write: terminal mode, colors, JSON in the style of Go.
//!
//! Two things are decided apart from each other. The *layout* is for people in terminal mode and
//! for programs otherwise; *colors* depend on what standard output can show.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::When;
use super::failure::Failure;

/// How many colors standard output can show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Palette {
    /// No escapes at all, not even bold.
    None,
    /// The sixteen of the first terminals.
    Ansi16,
    /// The 6 × 6 × 6 cube.
    Ansi256,
    /// 24 bit.
    True,
}

/// The environment, so that tests can have their own.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Palette {
    /// What standard output can show, by the variables that terminals and users set.
    fn detect(env: Env<'_>, stdout_is_terminal: bool) -> Self {
        let is = |name: &str, value: &str| env(name).as_deref() == Some(value);
        let forced = env("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
        if env("NO_COLOR").is_some_and(|value| !value.is_empty())
            || (is("CLICOLOR", "0") && !forced)
        {
            return Self::None;
        }
        let palette = if stdout_is_terminal {
            Self::of_terminal(env)
        } else {
            Self::None
        };
        if forced {
            palette.max(Self::Ansi16)
        } else {
            palette
        }
    }

    fn of_terminal(env: Env<'_>) -> Self {
        let term = env("TERM").unwrap_or_default();
        match env("COLORTERM").unwrap_or_default().to_lowercase().as_str() {
            "truecolor" | "24bit" if term.starts_with("screen") => return Self::Ansi256,
            "truecolor" | "24bit" => return Self::True,
            "yes" | "true" => return Self::Ansi256,
            _ => {}
        }
        match term.as_str() {
            "linux" => Self::Ansi16,
            term if term.contains("256color") => Self::Ansi256,
            term if term.contains("color") || term.contains("ansi") => Self::Ansi16,
            _ => Self::None,
        }
    }
}

/// How a piece of text looks.
#[derive(Clone, Copy, Default)]
pub(super) struct Style {
    pub(super) bold: bool,
    pub(super) faint: bool,
    pub(super) underline: bool,
    pub(super) rgb: Option<[u8; 3]>,
}

impl Style {
    /// Bold.
    pub(super) const BOLD: Self = Self {
        bold: true,
        ..Self::PLAIN
    };
    /// Faint.
    pub(super) const FAINT: Self = Self {
        faint: true,
        ..Self::PLAIN
    };
    /// Underlined, for headers of lists.
    pub(super) const UNDERLINE: Self = Self {
        underline: true,
        ..Self::PLAIN
    };
    /// Headings of tables.
    pub(super) const HEADING: Self = Self {
        bold: true,
        faint: true,
        ..Self::PLAIN
    };
    const PLAIN: Self = Self {
        bold: false,
        faint: false,
        underline: false,
        rgb: None,
    };

    /// A color.
    pub(super) const fn rgb(rgb: u32) -> Self {
        let [_, r, g, b] = rgb.to_be_bytes();
        Self {
            rgb: Some([r, g, b]),
            ..Self::PLAIN
        }
    }

    /// The same, bold.
    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// `text` in this style.
    pub(super) fn paint(self, palette: Palette, text: &str) -> String {
        let mut codes: Vec<String> = Vec::new();
        if palette != Palette::None && !text.is_empty() {
            let attributes = [(self.bold, "1"), (self.faint, "2"), (self.underline, "4")];
            codes.extend(
                attributes
                    .iter()
                    .filter(|(on, _)| *on)
                    .map(|(_, code)| (*code).to_owned()),
            );
            codes.extend(self.rgb.map(|rgb| color_code(palette, rgb)));
        }
        if codes.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{}m{text}\x1b[0m", codes.join(";"))
    }
}

/// The part of the escape that selects the foreground color nearest to `rgb`.
fn color_code(palette: Palette, rgb: [u8; 3]) -> String {
    match palette {
        Palette::None => String::new(),
        Palette::Ansi16 => {
            // Above a third of full intensity a component counts; above three quarters it is bright.
            let bit = |component: u8, value: u8| if component > 85 { value } else { 0 };
            let [r, g, b] = rgb;
            let base = if rgb.iter().any(|&component| component > 191) {
                90
            } else {
                30
            };
            (base + bit(r, 1) + bit(g, 2) + bit(b, 4)).to_string()
        }
        Palette::Ansi256 => {
            const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
            let nearest = |component: u8| {
                let distances = (0u8..6).zip(LEVELS.map(|level| level.abs_diff(component)));
                distances
                    .min_by_key(|(_, distance)| *distance)
                    .map_or(0, |(index, _)| index)
            };
            let [r, g, b] = rgb.map(nearest);
            format!("38;5;{}", 16 + 36 * r + 6 * g + b)
        }
        Palette::True => format!("38;2;{};{};{}", rgb[0], rgb[1], rgb[2]),
    }
}

/// Where a command writes, and how.
#[derive(Clone, Copy)]
pub(super) struct Output {
    /// Layout for people.
    pub(super) terminal: bool,
    /// Colors of standard output.
    pub(super) palette: Palette,
}

impl Output {
    /// Terminal mode if standard output *or* standard error is one.
    pub(super) fn detect() -> Self {
        let stdout = io::stdout().is_terminal();
        Self {
            terminal: stdout || io::stderr().is_terminal(),
            palette: Palette::detect(&|name| std::env::var(name).ok(), stdout),
        }
    }

    /// Terminal mode only if standard output is a terminal, for commands whose output is captured
    /// by `$(...)` and pipes in interactive shells.
    pub(super) fn detect_captured() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            ..Self::detect()
        }
    }

    /// Applies `--color`.
    pub(super) fn with_color(self, when: When) -> Self {
        let palette = match when {
            When::Auto => self.palette,
            When::Always => self.palette.max(Palette::Ansi256),
            When::Never => Palette::None,
        };
        Self { palette, ..self }
    }

    /// `text` in `style`, as far as standard output can show it.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        style.paint(self.palette, text)
    }

    /// Writes to standard output, at once.
    ///
    /// # Errors
    ///
    /// [`Failure::Output`] if nobody reads anymore, or the disk behind it is full.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(Failure::Output)
    }

    /// Writes `value` as JSON; indented only in terminal mode and if `may_indent`.
    ///
    /// # Errors
    ///
    /// As [`Self::print`].
    pub(super) fn print_json<T: Serialize>(
        &self,
        value: &T,
        may_indent: bool,
    ) -> Result<(), Failure> {
        let mut text = json(value, may_indent && self.terminal)?;
        text.push('\n');
        self.print(&text)
    }
}

/// Writes a line to standard error, its first word (`Error:`, `WARNING:`) in color. The color
/// depends on standard output, as it always did.
pub(super) fn complain(label: &str, message: &str) {
    const RED: Style = Style::rgb(0x00ac_0000);
    let label = RED.paint(Output::detect().palette, &format!("{label} "));
    note(&format!("{label}{message}\n"));
}

/// Writes to standard error. That fails only if nobody can be told anymore.
pub(super) fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// `value` as Go's encoder writes it: `<`, `>` and `&` escaped; no newline at the end.
///
/// # Errors
///
/// [`Failure::Json`] if `value` has no JSON form.
pub(super) fn json<T: Serialize>(value: &T, indent: bool) -> Result<String, Failure> {
    let text = if indent {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    // Outside of strings, JSON has none of these characters.
    Ok(text
        .map_err(Failure::Json)?
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}

/// `text` in double quotes, as Go's `%q` has it for printable text.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The text of a list: a header and sorted names; nothing at all for an empty list.
pub(super) fn name_list(header: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut text = format!("{header}\n");
    for name in names {
        text.push_str(name);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)], terminal: bool) -> Palette {
        let env = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Palette::detect(&env, terminal)
    }

    #[test]
    fn colors_follow_the_terminal() {
        for (variables, palette) in [
            (&[("TERM", "dumb")][..], Palette::None),
            (&[("TERM", "xterm")], Palette::None),
            (&[("TERM", "screen")], Palette::None),
            (&[], Palette::None),
            (&[("TERM", "linux")], Palette::Ansi16),
            (&[("TERM", "xterm-256color")], Palette::Ansi256),
            (
                &[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")],
                Palette::True,
            ),
            (
                &[("TERM", "xterm-256color"), ("NO_COLOR", "1")],
                Palette::None,
            ),
            (
                &[("TERM", "xterm-256color"), ("CLICOLOR", "0")],
                Palette::None,
            ),
            (
                &[("TERM", "xterm"), ("CLICOLOR_FORCE", "1")],
                Palette::Ansi16,
            ),
        ] {
            assert_eq!(detect(variables, true), palette, "{variables:?}");
        }
        assert_eq!(detect(&[("TERM", "xterm-256color")], false), Palette::None);
        assert_eq!(detect(&[("CLICOLOR_FORCE", "1")], false), Palette::Ansi16);
    }

    #[test]
    fn colors_are_mapped_to_the_cube_as_recorded() {
        for (rgb, code) in [
            (0x00ac_0000, "38;5;124"),
            (0x0026_8bd2, "38;5;32"),
            (0x0000_f700, "38;5;46"),
            (0x0000_afaf, "38;5;37"),
            (0x002e_42d1, "38;5;26"),
            (0x00fe_de00, "38;5;220"),
            (0x00fe_0000, "38;5;196"),
        ] {
            let painted = Style::rgb(rgb).paint(Palette::Ansi256, "x");
            assert_eq!(painted, format!("\x1b[{code}mx\x1b[0m"));
        }
    }

    #[test]
    fn styles_combine_and_vanish() {
        let style = Style::rgb(0x0000_f700).bold();
        assert_eq!(
            style.paint(Palette::Ansi256, "●"),
            "\x1b[1;38;5;46m●\x1b[0m"
        );
        assert_eq!(
            style.paint(Palette::True, "●"),
            "\x1b[1;38;2;0;247;0m●\x1b[0m"
        );
        assert_eq!(style.paint(Palette::None, "●"), "●");
        assert_eq!(Style::default().paint(Palette::True, "x"), "x");
    }

    #[test]
    fn always_colors_what_is_no_terminal_and_never_strips() {
        let plain = Output {
            terminal: false,
            palette: Palette::None,
        };
        assert_eq!(plain.with_color(When::Always).palette, Palette::Ansi256);
        assert_eq!(plain.with_color(When::Auto).palette, Palette::None);
        let colorful = Output {
            terminal: true,
            palette: Palette::True,
        };
        assert_eq!(colorful.with_color(When::Always).palette, Palette::True);
        assert_eq!(colorful.with_color(When::Never).palette, Palette::None);
    }

    #[test]
    fn json_is_escaped_for_html() {
        assert_eq!(
            json(&["<a&b>"], false).ok().as_deref(),
            Some("[\"\\u003ca\\u0026b\\u003e\"]")
        );
    }

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quote("a\"b\\c\n\u{1}"), "\"a\\\"b\\\\c\\n\\x01\"");
    }

    #[test]
    fn an_empty_list_prints_nothing() {
        assert_eq!(name_list("Key", &[]), "");
        assert_eq!(name_list("Key", &["a".into(), "b".into()]), "Key\na\nb\n");
    }
}
