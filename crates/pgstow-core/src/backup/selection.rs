//! Which tables a backup takes: `--table`, `--exclude-table`, `--exclude-data`. Pure.
//!
//! A pattern is `name` or `schema.name`. `*` stands for any characters, `?` for one. A part in
//! double quotes is taken literally (`"Order.Lines"`, inner quotes doubled). Case matters, as it
//! does in the catalog. A pattern that names a partitioned table takes its partitions with it.

use crate::error::{Error, ErrorKind, Result};
use crate::postgres::identifier::display_name;

/// One table as patterns see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) schema: String,
    pub(super) name: String,
    /// Top of its partition tree, when it is a partition.
    pub(super) root: Option<(String, String)>,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    schema: Option<Vec<Token>>,
    name: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    Any,
    One,
}

impl Pattern {
    /// # Errors
    /// Usage: an open quote, an empty part, more than two parts.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(ErrorKind::Usage, format!("table pattern {text:?} is not valid")).why(why).hint(
                "write name or schema.name; * and ? are wildcards; quote a part that holds a dot: \"a.b\"",
            )
        };
        let mut parts: Vec<Vec<Token>> = vec![Vec::new()];
        let mut quoted = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let token = match (character, quoted) {
                ('"', true) if characters.peek() == Some(&'"') => {
                    characters.next();
                    Token::Literal('"')
                }
                ('"', _) => {
                    quoted = !quoted;
                    continue;
                }
                ('.', false) => {
                    parts.push(Vec::new());
                    continue;
                }
                ('*', false) => Token::Any,
                ('?', false) => Token::One,
                (literal, _) => Token::Literal(literal),
            };
            if let Some(part) = parts.last_mut() {
                part.push(token);
            }
        }
        if quoted {
            return Err(invalid("a double quote is not closed"));
        }
        if parts.iter().any(Vec::is_empty) {
            return Err(invalid("a part of the name is empty"));
        }
        let name = parts.pop().ok_or_else(|| invalid("it is empty"))?;
        let schema = parts.pop();
        if !parts.is_empty() {
            return Err(invalid("it has more than two parts"));
        }
        Ok(Self { text: text.to_owned(), schema, name })
    }

    fn matches_name(&self, schema: &str, name: &str) -> bool {
        self.schema.as_ref().is_none_or(|pattern| matches(pattern, schema)) && matches(&self.name, name)
    }

    fn matches(&self, candidate: &Candidate) -> bool {
        self.matches_name(&candidate.schema, &candidate.name)
            || candidate.root.as_ref().is_some_and(|(schema, name)| self.matches_name(schema, name))
    }
}

/// Glob match without backtracking over more than the last `*`.
fn matches(pattern: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(Token::Any) => {
                retry = Some((at, position));
                at += 1;
            }
            Some(Token::One) => {
                at += 1;
                position += 1;
            }
            Some(Token::Literal(literal)) if text.get(position) == Some(literal) => {
                at += 1;
                position += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    at = star + 1;
                    position = from + 1;
                    retry = Some((star, position));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|token| *token == Token::Any)
}

/// What becomes of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Definition and rows.
    Carry,
    /// Definition only.
    WithoutRows,
    /// Nothing.
    Leave,
}

/// The parsed patterns of one backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Patterns {
    tables: Vec<Pattern>,
    exclude_tables: Vec<Pattern>,
    exclude_data: Vec<Pattern>,
}

impl Patterns {
    /// # Errors
    /// Usage: a pattern that is not valid.
    pub(super) fn parse(
        tables: &[String],
        exclude_tables: &[String],
        exclude_data: &[String],
    ) -> Result<Self> {
        let parse = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<_>>();
        Ok(Self {
            tables: parse(tables)?,
            exclude_tables: parse(exclude_tables)?,
            exclude_data: parse(exclude_data)?,
        })
    }

    /// Whether only named tables are taken in.
    pub(super) fn is_limited(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Decides for one table.
    pub(super) fn choose(&self, candidate: &Candidate) -> Choice {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(candidate));
        if (!self.tables.is_empty() && !any(&self.tables)) || any(&self.exclude_tables) {
            Choice::Leave
        } else if any(&self.exclude_data) {
            Choice::WithoutRows
        } else {
            Choice::Carry
        }
    }

    /// # Errors
    /// Usage: a pattern that matches no table, with tables of the same name in another case.
    pub(super) fn require_matches(&self, candidates: &[Candidate]) -> Result<()> {
        let all = self.tables.iter().chain(&self.exclude_tables).chain(&self.exclude_data);
        for pattern in all {
            if candidates.iter().any(|candidate| pattern.matches(candidate)) {
                continue;
            }
            let mut error = Error::new(ErrorKind::Usage, format!("no table matches {:?}", pattern.text));
            let folded = Pattern::parse(&pattern.text.to_lowercase())?;
            let near = candidates
                .iter()
                .filter(|candidate| {
                    folded.matches_name(&candidate.schema.to_lowercase(), &candidate.name.to_lowercase())
                })
                .take(3);
            for candidate in near {
                let name = display_name(&candidate.schema, &candidate.name);
                error = error.hint(format!("there is {name}: case matters"));
            }
            return Err(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(schema: &str, name: &str) -> Candidate {
        Candidate { schema: schema.into(), name: name.into(), root: None }
    }

    fn matched(pattern: &str, schema: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&candidate(schema, name))
    }

    #[test]
    fn patterns_match_names_with_wildcards_and_quotes() {
        for (pattern, schema, name, expected) in [
            ("orders", "public", "orders", true),
            ("orders", "sales", "orders", true),
            ("public.orders", "sales", "orders", false),
            ("orders", "public", "Orders", false),
            ("\"Orders\"", "public", "Orders", true),
            ("ord*", "public", "orders", true),
            ("*ers", "public", "orders", true),
            ("*", "public", "", true),
            ("o*d*s", "public", "oddities and ends", true),
            ("o*d*s", "public", "order", false),
            ("orders_????", "public", "orders_2026", true),
            ("orders_????", "public", "orders_26", false),
            ("\"a.b\"", "public", "a.b", true),
            ("\"a*\"", "public", "ab", false),
            ("\"say \"\"hi\"\"\"", "public", "say \"hi\"", true),
            ("s*.t", "sales", "t", true),
            ("🦀*", "public", "🦀 table", true),
        ] {
            assert_eq!(matched(pattern, schema, name), expected, "{pattern} against {schema}.{name}");
        }
    }

    #[test]
    fn a_pattern_for_a_partitioned_table_takes_its_partitions() {
        let partition =
            Candidate { root: Some(("public".into(), "events".into())), ..candidate("parts", "e1") };
        assert!(Pattern::parse("events").unwrap().matches(&partition));
        assert!(!Pattern::parse("parts.events").unwrap().matches(&partition));
    }

    #[test]
    fn malformed_patterns_are_usage_errors() {
        for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"\""] {
            assert_eq!(Pattern::parse(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }

    #[test]
    fn exclusion_wins_over_inclusion_and_over_rows() {
        let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let patterns = Patterns::parse(&list(&["a*"]), &list(&["ab*"]), &list(&["*c"])).unwrap();
        for (name, expected) in
            [("b", Choice::Leave), ("a", Choice::Carry), ("abc", Choice::Leave), ("ac", Choice::WithoutRows)]
        {
            assert_eq!(patterns.choose(&candidate("public", name)), expected, "{name}");
        }
    }

    #[test]
    fn a_pattern_without_a_match_is_refused_with_the_name_in_its_real_case() {
        let patterns = Patterns::parse(&["user".to_owned()], &[], &[]).unwrap();
        let error = patterns.require_matches(&[candidate("public", "User")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hints().iter().any(|hint| hint.contains("\"User\"")), "{error:?}");
        assert!(patterns.require_matches(&[candidate("public", "user")]).is_ok());
    }
}
