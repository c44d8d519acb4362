//! Styled text that is safe to print: everything pushed is made harmless first, and only
//! [`Text::end`] begins a new line.

use anstyle::{AnsiColor, Style};

use super::escape::visible;

/// Emphasis, drawn as colour where there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// What the line is about.
    Strong,
    /// It is good.
    Good,
    /// It is bad.
    Bad,
    /// Look at it.
    Warn,
    /// Less important.
    Faint,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

/// Lines of styled text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    content: String,
    /// Where lines are wrapped; `None`: never.
    width: Option<usize>,
}

impl Text {
    /// No lines yet; `width` is that of the terminal, if it goes to one.
    pub(crate) fn new(width: Option<usize>) -> Self {
        Self { content: String::new(), width }
    }

    /// Adds to the current line.
    pub(crate) fn put(&mut self, tone: Tone, text: &str) -> &mut Self {
        if text.is_empty() {
            return self;
        }
        let style = tone.style();
        self.content.push_str(&format!("{style}{}{style:#}", visible(text)));
        self
    }

    /// Adds plain text to the current line.
    pub(crate) fn plain(&mut self, text: &str) -> &mut Self {
        self.put(Tone::Plain, text)
    }

    /// Ends the current line.
    pub(crate) fn end(&mut self) {
        self.content.push('\n');
    }

    /// A whole plain line.
    pub(crate) fn line(&mut self, text: &str) {
        self.plain(text).end();
    }

    /// Ends the current line with `text` behind a gap; where the terminal has no room for that, on
    /// lines of its own.
    pub(crate) fn aside(&mut self, text: &str) {
        let text = visible(text);
        let line = self.content.rsplit('\n').next().unwrap_or_default();
        let needed = console::measure_text_width(line) + 3 + console::measure_text_width(&text);
        let Some(width) = self.width.filter(|width| needed > *width) else {
            return self.plain("   ").line(&text);
        };
        self.end();
        for part in wrap(&text, Some(width.saturating_sub(2).max(20))) {
            self.plain("  ").line(&part);
        }
    }

    /// Lines `  label  value` with aligned values; a value with several lines, or one too long for
    /// the terminal, goes on below itself.
    pub(crate) fn fields(&mut self, fields: &[(&str, String)]) {
        let column = fields.iter().map(|(label, _)| console::measure_text_width(label)).max().unwrap_or(0);
        for (label, value) in fields {
            self.field(label, value, column);
        }
    }

    fn field(&mut self, label: &str, value: &str, column: usize) {
        let indent = column + 4;
        let room = self.width.map(|width| width.saturating_sub(indent).max(20));
        let mut label = label;
        for line in value.lines().flat_map(|line| wrap(&visible(line), room)) {
            let padding = column.saturating_sub(console::measure_text_width(label));
            self.put(Tone::Plain, "  ").put(Tone::Faint, label);
            self.plain(&" ".repeat(padding + 2)).line(&line);
            label = "";
        }
    }

    /// What to print, with colours.
    pub(crate) fn as_str(&self) -> &str {
        &self.content
    }
}

/// Breaks a line at spaces; a word longer than `room` stays whole.
fn wrap(line: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![line.to_owned()] };
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split_inclusive(' ') {
        let long =
            console::measure_text_width(&current) + console::measure_text_width(word.trim_end()) > room;
        if long && !current.is_empty() {
            lines.push(std::mem::take(&mut current).trim_end().to_owned());
        }
        current.push_str(word);
    }
    lines.push(current.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &Text) -> String {
        anstream::adapter::strip_str(text.as_str()).to_string()
    }

    #[test]
    fn a_hostile_name_cannot_send_escapes_or_begin_a_line() {
        let mut text = Text::new(None);
        text.put(Tone::Strong, "\u{1b}]0;owned\u{7}\nfake line").end();
        assert_eq!(bare(&text), "\\u{1b}]0;owned\\u{7}\\nfake line\n");
    }

    #[test]
    fn fields_align_and_wrap_below_their_value() {
        let mut text = Text::new(Some(34));
        text.fields(&[("why", "one two three four five six seven".into()), ("carried", "a\nb".into())]);
        assert_eq!(
            bare(&text),
            "  why      one two three four five\n           six seven\n  carried  a\n           b\n"
        );
    }

    #[test]
    fn what_has_no_room_beside_a_line_goes_below_it() {
        let beside = |width| {
            let mut text = Text::new(width);
            text.put(Tone::Strong, "subject").aside("one two three");
            bare(&text)
        };
        assert_eq!(beside(None), "subject   one two three\n");
        assert_eq!(beside(Some(23)), "subject   one two three\n");
        assert_eq!(beside(Some(22)), "subject\n  one two three\n");
        let mut text = Text::new(Some(22));
        text.put(Tone::Strong, "subject").aside("one two three four five");
        assert_eq!(bare(&text), "subject\n  one two three four\n  five\n");
    }

    #[test]
    fn nothing_is_wrapped_when_there_is_no_terminal() {
        let mut text = Text::new(None);
        let long = "word ".repeat(100);
        text.fields(&[("why", long.trim_end().to_owned())]);
        assert_eq!(bare(&text).lines().count(), 1);
    }
}
