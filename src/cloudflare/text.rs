//! How text that came from elsewhere is made safe to show.

/// One printable line of at most `max` characters: without escape sequences, control characters and
/// characters that reorder or hide text. What was cut off shows as `…`.
pub fn clean(text: &str, max: usize) -> String {
    let mut shown = printable(text);
    let mut line: String = shown.by_ref().take(max).collect();
    if shown.next().is_some() {
        line.pop();
        if max > 0 {
            line.push('…');
        }
    }
    line
}

/// The same, but what is cut off is in the middle: a message often ends with the command to run.
pub fn clean_ends(text: &str, max: usize) -> String {
    let shown: Vec<char> = printable(text).collect();
    if shown.len() <= max || max < 3 {
        return clean(text, max);
    }
    let (head, tail) = (max / 3, max - max / 3 - 1);
    shown[..head].iter().chain(&['…']).chain(&shown[shown.len() - tail..]).collect()
}

fn printable(text: &str) -> impl Iterator<Item = char> {
    let mut rest = text.chars();
    std::iter::from_fn(move || {
        loop {
            match rest.next()? {
                '\u{1b}' => skip_escape(&mut rest),
                '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => return Some(' '),
                c if c.is_control() || reorders_or_hides(c) => {}
                c => return Some(c),
            }
        }
    })
}

/// The rest of a terminal's escape sequence, so that `ESC [ 31 m` does not leave `[31m` behind.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    match rest.clone().next() {
        Some('[') => {
            rest.next();
            // A sequence that does not end is shown, rather than let it swallow the message.
            if let Some(end) = rest.as_str().find(|c| matches!(c, '\u{40}'..='\u{7e}')) {
                *rest = rest.as_str()[end + 1..].chars();
            }
        }
        Some(']') => {
            rest.next();
            if let Some(end) = rest.as_str().find(['\u{7}', '\u{1b}']) {
                *rest = rest.as_str()[end..].chars();
            }
        }
        Some('\\') => {
            rest.next();
        }
        Some(_) | None => {}
    }
}

fn reorders_or_hides(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_fool_a_terminal_is_removed() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m alert", 300), "red alert");
        assert_eq!(clean("a\u{1b}]0;title\u{7}b", 300), "ab");
        assert_eq!(clean("a\u{1b}]0;title\u{1b}\\b", 300), "ab");
        assert_eq!(clean("\u{1b}[31", 300), "31");
        assert_eq!(clean("abc\u{202e}fed\0\u{7}\u{85}", 300), "abcfed");
        assert_eq!(clean("two\r\nlines\tand a tab", 300), "two  lines and a tab");
        assert_eq!(clean("grüße 🎉", 300), "grüße 🎉");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(clean("ééééé", 3), "éé…");
        assert_eq!(clean("ééé", 3), "ééé");
        assert_eq!(clean("abc", 0), "");
        assert_eq!(clean_ends("123456789", 8), "12…56789");
        assert_eq!(clean_ends("1\u{1b}[31m23", 3), "123");
        assert_eq!(["ab", "abc"].map(|text| clean_ends(text, 2)), ["ab", "a…"]);
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_short_printable_line(text in "\\PC*|(.|\\n|\u{1b}|\\[|\\]|\u{202e}|\0|\u{7})*", max in 0usize..40) {
            let line = clean(&text, max);
            for line in [line, clean_ends(&text, max)] {
                prop_assert!(line.chars().count() <= max);
                prop_assert!(!line.chars().any(|c| c.is_control() || reorders_or_hides(c)));
            }
        }
    }
}
