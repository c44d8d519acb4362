//! Which tables are meant: `--table`, `--schema`, `--exclude-table`, `--exclude-data`. Pure.
//!
//! A pattern is `name` or `schema.name`. `*` stands for any characters, `?` for one. A part in
//! double quotes is taken literally (`"Order.Lines"`, inner quotes doubled). Case matters, as it
//! does in the catalog. A pattern that names a partitioned table takes its partitions with it.

use crate::error::{Error, ErrorKind, Result};
use crate::postgres::identifier::{display_name, display_part};

/// Names that a refusal suggests at most.
const SUGGESTED: usize = 3;

/// One table as patterns see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Top of its partition tree, when it is a partition.
    pub(crate) root: Option<(String, String)>,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
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
    /// A table's name, or a schema's and a table's.
    ///
    /// # Errors
    /// Usage: an open quote, an empty part, more than two parts.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(ErrorKind::Usage, format!("table pattern {text:?} is not valid")).why(why).hint(
                "write name or schema.name; * and ? are wildcards; quote a part that holds a dot: \"a.b\"",
            )
        };
        let mut parts = tokens(text).map_err(invalid)?;
        let name = parts.pop().ok_or_else(|| invalid("it is empty"))?;
        let schema = parts.pop();
        if !parts.is_empty() {
            return Err(invalid("it has more than two parts"));
        }
        Ok(Self { text: text.to_owned(), schema, name })
    }

    /// A schema's name: all that is in it is meant.
    ///
    /// # Errors
    /// Usage: an open quote, an empty name, a dot.
    fn parse_schema(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(ErrorKind::Usage, format!("schema pattern {text:?} is not valid"))
                .why(why)
                .hint("* and ? are wildcards; quote a name that holds a dot: \"a.b\"")
        };
        let mut parts = tokens(text).map_err(invalid)?;
        match (parts.pop(), parts.is_empty()) {
            (Some(schema), true) => {
                Ok(Self { text: text.to_owned(), schema: Some(schema), name: vec![Token::Any] })
            }
            _ => Err(invalid("it has more than one part")),
        }
    }

    fn matches_name(&self, schema: &str, name: &str) -> bool {
        self.matches_schema(schema) && matches(&self.name, name)
    }

    fn matches_schema(&self, schema: &str) -> bool {
        self.schema.as_ref().is_none_or(|pattern| matches(pattern, schema))
    }

    fn matches(&self, candidate: &Candidate) -> bool {
        self.matches_name(&candidate.schema, &candidate.name)
            || candidate.root.as_ref().is_some_and(|(schema, name)| self.matches_name(schema, name))
    }
}

/// The parts of a name without wildcards; the reason why it is none.
pub(crate) fn literal_parts(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    let literal = |token: &Token| match token {
        Token::Literal(character) => Ok(*character),
        Token::Any | Token::One => Err("a name that is changed has no wildcards"),
    };
    let parts = tokens(text)?;
    if parts.len() > 2 {
        return Err("a name has more than two parts");
    }
    parts.iter().map(|part| part.iter().map(literal).collect()).collect()
}

/// The parts of a pattern between dots; the reason why it is none.
fn tokens(text: &str) -> std::result::Result<Vec<Vec<Token>>, &'static str> {
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
        return Err("a double quote is not closed");
    }
    if parts.iter().any(Vec::is_empty) {
        return Err("a part of the name is empty");
    }
    Ok(parts)
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
pub(crate) enum Choice {
    /// Definition and rows.
    Carry,
    /// Definition only.
    WithoutRows,
    /// Nothing.
    Leave,
}

/// The parsed patterns of one backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Patterns {
    tables: Vec<Pattern>,
    schemas: Vec<Pattern>,
    exclude_tables: Vec<Pattern>,
    exclude_data: Vec<Pattern>,
}

impl Patterns {
    /// # Errors
    /// Usage: a pattern that is not valid.
    pub(crate) fn parse(
        tables: &[String],
        exclude_tables: &[String],
        exclude_data: &[String],
    ) -> Result<Self> {
        let parse = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<_>>();
        Ok(Self {
            tables: parse(tables)?,
            exclude_tables: parse(exclude_tables)?,
            exclude_data: parse(exclude_data)?,
            ..Self::default()
        })
    }

    /// The same with schemas whose tables are all meant, besides those that are named.
    ///
    /// # Errors
    /// Usage: a pattern that is not valid.
    pub(crate) fn with_schemas(self, schemas: &[String]) -> Result<Self> {
        let schemas = schemas.iter().map(|text| Pattern::parse_schema(text)).collect::<Result<_>>()?;
        Ok(Self { schemas, ..self })
    }

    /// Whether only named tables and schemas are taken in.
    pub(crate) fn is_limited(&self) -> bool {
        !self.tables.is_empty() || !self.schemas.is_empty()
    }

    /// Whether a pattern means this schema as a whole.
    pub(crate) fn takes_schema(&self, schema: &str) -> bool {
        self.schemas.iter().any(|pattern| pattern.matches_schema(schema))
    }

    /// Decides for one table.
    pub(crate) fn choose(&self, candidate: &Candidate) -> Choice {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(candidate));
        let is_meant = !self.is_limited() || any(&self.tables) || any(&self.schemas);
        if !is_meant || any(&self.exclude_tables) {
            Choice::Leave
        } else if any(&self.exclude_data) {
            Choice::WithoutRows
        } else {
            Choice::Carry
        }
    }

    /// # Errors
    /// Usage: a pattern that matches no table, with near names.
    pub(crate) fn require_matches(&self, candidates: &[Candidate]) -> Result<()> {
        let all = self.tables.iter().chain(&self.exclude_tables).chain(&self.exclude_data);
        for pattern in all {
            if candidates.iter().any(|candidate| pattern.matches(candidate)) {
                continue;
            }
            let missing = Error::new(ErrorKind::Usage, format!("no table matches {:?}", pattern.text));
            let names = candidates
                .iter()
                .map(|candidate| (candidate.name.clone(), display_name(&candidate.schema, &candidate.name)));
            return Err(suggesting(missing, &pattern.text, names));
        }
        Ok(())
    }

    /// # Errors
    /// Usage: a pattern that matches none of these schemas, with near names.
    pub(crate) fn require_schemas<'s>(&self, schemas: impl Iterator<Item = &'s str> + Clone) -> Result<()> {
        for pattern in &self.schemas {
            if schemas.clone().any(|schema| pattern.matches_schema(schema)) {
                continue;
            }
            let missing = Error::new(ErrorKind::Usage, format!("no schema matches {:?}", pattern.text));
            let names = schemas.map(|schema| (schema.to_owned(), display_part(schema)));
            return Err(suggesting(missing, &pattern.text, names));
        }
        Ok(())
    }
}

/// The error with the names that are near to the last part of a pattern, nearest first: each as it is
/// compared and as it is shown.
fn suggesting(error: Error, text: &str, names: impl Iterator<Item = (String, String)>) -> Error {
    let unquoted = text.replace('"', "");
    let wanted = unquoted.rsplit('.').next().unwrap_or_default();
    let folded = wanted.to_lowercase();
    let near = |name: &str| {
        let slip = if strsim::osa_distance(&folded, &name.to_lowercase()) == 1 { 0.85 } else { 0.0 };
        strsim::jaro_winkler(&folded, &name.to_lowercase()).max(slip)
    };
    let scored = names.map(|(name, shown)| (near(&name), name, shown));
    let mut scored: Vec<(f64, String, String)> = scored.filter(|(score, ..)| *score >= 0.8).collect();
    scored.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.2.cmp(&other.2)));
    scored.into_iter().take(SUGGESTED).fold(error, |error, (_, name, shown)| {
        let note = if name != wanted && name.to_lowercase() == folded { ": case matters" } else { "" };
        error.hint(format!("there is {shown}{note}"))
    })
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

    #[test]
    fn near_names_are_suggested_for_tables_and_schemas() {
        let list = |text: &str| vec![text.to_owned()];
        let patterns = Patterns::parse(&list("public.ordres"), &[], &[]).unwrap();
        let tables = [candidate("public", "orders"), candidate("public", "customers")];
        let error = patterns.require_matches(&tables).unwrap_err();
        assert_eq!(error.hints(), ["there is public.orders"]);
        let patterns = Patterns::default().with_schemas(&list("slaes")).unwrap();
        let error = patterns.require_schemas(["public", "sales"].into_iter()).unwrap_err();
        assert_eq!((error.kind(), error.hints().concat().as_str()), (ErrorKind::Usage, "there is sales"));
    }

    #[test]
    fn a_schema_takes_all_its_tables_besides_those_that_are_named() {
        let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let patterns = Patterns::parse(&list(&["orders"]), &list(&["*.secret"]), &[]).unwrap();
        let patterns = patterns.with_schemas(&list(&["\"Sa.les\""])).unwrap();
        for (schema, name, expected) in [
            ("Sa.les", "any", Choice::Carry),
            ("Sa.les", "secret", Choice::Leave),
            ("public", "orders", Choice::Carry),
            ("public", "other", Choice::Leave),
        ] {
            assert_eq!(patterns.choose(&candidate(schema, name)), expected, "{schema}.{name}");
        }
        assert!(patterns.takes_schema("Sa.les") && !patterns.takes_schema("public"));
        assert_eq!(Patterns::default().with_schemas(&list(&["a.b"])).unwrap_err().kind(), ErrorKind::Usage);
    }
}
