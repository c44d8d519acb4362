//! The lines in which two texts differ, with some that do not around them. Pure.

/// Equal lines shown before and after a difference.
const CONTEXT: usize = 3;
/// Above this many pairs of lines no longest common part is looked for.
const PAIRS: usize = 4_000_000;

/// The lines of both texts: those of the first alone after `-`, those of the second alone after
/// `+`, common ones after a blank; `@` stands for common lines left out.
pub(super) fn difference(before: &str, after: &str) -> Vec<String> {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = |(one, other): &(&&str, &&str)| one == other;
    let head = before.iter().zip(&after).take_while(same).count();
    let room = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(room).take_while(same).count();
    let middle = |lines: &[&str]| {
        lines
            .get(head..lines.len() - tail)
            .unwrap_or_default()
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    let mut all: Vec<(char, String)> =
        before.iter().take(head).map(|line| (' ', (*line).to_owned())).collect();
    all.extend(changes(&middle(&before), &middle(&after)));
    all.extend(before.iter().skip(before.len() - tail).map(|line| (' ', (*line).to_owned())));
    shorten(&all)
}

/// Lines of two texts that begin and end differently.
fn changes(before: &[String], after: &[String]) -> Vec<(char, String)> {
    if before.len().saturating_mul(after.len()) > PAIRS {
        let gone = before.iter().map(|line| ('-', line.clone()));
        return gone.chain(after.iter().map(|line| ('+', line.clone()))).collect();
    }
    // Length of the longest common part of what follows each pair of places.
    let width = after.len() + 1;
    let mut common = vec![0_u32; (before.len() + 1) * width];
    for (row, line) in before.iter().enumerate().rev() {
        for (column, other) in after.iter().enumerate().rev() {
            common[row * width + column] = if line == other {
                common[(row + 1) * width + column + 1] + 1
            } else {
                common[(row + 1) * width + column].max(common[row * width + column + 1])
            };
        }
    }
    let mut found = Vec::new();
    let (mut row, mut column) = (0, 0);
    while let (Some(line), other) = (before.get(row), after.get(column)) {
        match other {
            Some(other) if other == line => {
                found.push((' ', line.clone()));
                (row, column) = (row + 1, column + 1);
            }
            Some(other) if common[row * width + column + 1] > common[(row + 1) * width + column] => {
                found.push(('+', other.clone()));
                column += 1;
            }
            _ => {
                found.push(('-', line.clone()));
                row += 1;
            }
        }
    }
    found.extend(after.iter().skip(column).map(|line| ('+', line.clone())));
    found
}

fn shorten(all: &[(char, String)]) -> Vec<String> {
    let is_near = |place: usize| {
        let from = place.saturating_sub(CONTEXT);
        all.iter().skip(from).take(place - from + CONTEXT + 1).any(|(mark, _)| *mark != ' ')
    };
    let mut shown: Vec<String> = Vec::new();
    for (place, (mark, line)) in all.iter().enumerate() {
        if is_near(place) {
            shown.push(format!("{mark}{line}"));
        } else if shown.last().is_none_or(|last| last != "@") {
            shown.push("@".to_owned());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_stand_between_some_that_did_not_change() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9";
        let expected = ["@", " 2", " 3", " 4", "-5", "+five", " 6", " 7", " 8", "@"];
        assert_eq!(difference(before, after), expected);
        assert_eq!(difference("a", "b"), ["-a", "+b"]);
        assert_eq!(difference("", "b"), ["+b"]);
        assert_eq!(difference("a\nb\nc", "a\nc"), [" a", "-b", " c"]);
    }

    proptest::proptest! {
        #[test]
        fn the_lines_give_both_texts(before in "([ab]\n){0,9}", after in "([ab]\n){0,9}") {
            let lines = changes(
                &before.lines().map(str::to_owned).collect::<Vec<_>>(),
                &after.lines().map(str::to_owned).collect::<Vec<_>>(),
            );
            let side = |mark: char| lines.iter().filter(|(found, _)| *found == ' ' || *found == mark)
                .map(|(_, line)| format!("{line}\n")).collect::<String>();
            proptest::prop_assert_eq!(side('-'), before);
            proptest::prop_assert_eq!(side('+'), after);
        }
    }
}
