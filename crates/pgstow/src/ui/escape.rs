//! Makes text from outside harmless: a table may be named `\x1b[2J` or hold a right-to-left mark.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal would act on the character, or hide or reorder what follows.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}'      // zero width, direction marks
            | '\u{2028}'..='\u{202e}'    // line separators, direction overrides
            | '\u{2060}'..='\u{2069}'    // invisible operators, direction isolates
            | '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'  // tags
        )
}

/// `text` with every active character written as an escape, such as `\n` or `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_active(character) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_newlines_and_direction_overrides_become_visible() {
        let cases = [
            ("orders", "orders"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("safe\u{202e}exe.txt", "safe\\u{202e}exe.txt"),
            ("no\u{200b}width", "no\\u{200b}width"),
            ("größe 🦀 \"User\"", "größe 🦀 \"User\""),
        ];
        for (hostile, shown) in cases {
            assert_eq!(visible(hostile), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_active_is_left(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(is_active));
        }
    }
}
