//! What a statement of a script is. Only what pg_dump writes is known; everything else is refused by
//! name, before anything is run.

use super::tokens::{Kind, Token, tokens, utf8_name};

/// Tokens that are looked at; what a statement is shows long before.
const LOOKED_AT: usize = 40;

/// A name with its schema, where the statement gives one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// SET or RESET of the session; the value without quotes.
    Set { setting: String, value: String },
    /// SET or RESET SESSION AUTHORIZATION.
    Authorization,
    /// The path that names without schema are looked for in.
    SearchPath(String),
    /// BEGIN, COMMIT: a restore is one transaction anyway.
    Transaction,
    /// Makes or changes the database itself; the name when it is made.
    Database(Option<String>),
    /// Makes an object; its kind as pg_dump's archives call it.
    Create { kind: &'static str, object: Name },
    /// Drops an object.
    Drop(Name),
    /// Takes a part off an object that was to be dropped next.
    DropPart,
    /// A subscription.
    Subscription,
    /// Changes or describes something that was made: ALTER, COMMENT, SECURITY LABEL.
    Change,
    /// GRANT, REVOKE or default privileges.
    Privilege,
    /// COPY … FROM stdin: table and columns.
    Copy { table: Name, columns: Vec<String> },
    /// INSERT with so many rows; `may_skip` when conflicts are let be.
    Insert { table: Name, rows: u64, may_skip: bool },
    /// Position of a sequence.
    Position,
    /// Makes, fills or closes a large object; its OID where it is made.
    LargeObject(Option<u32>),
    /// Statistics of the planner.
    Statistics,
    /// Fills a materialized view.
    Refresh,
}

/// Kinds of objects by the words that follow CREATE, the longest first.
const KINDS: [(&[&str], &str); 31] = [
    (&["TEXT", "SEARCH", "CONFIGURATION"], "TEXT SEARCH CONFIGURATION"),
    (&["TEXT", "SEARCH", "DICTIONARY"], "TEXT SEARCH DICTIONARY"),
    (&["TEXT", "SEARCH", "PARSER"], "TEXT SEARCH PARSER"),
    (&["TEXT", "SEARCH", "TEMPLATE"], "TEXT SEARCH TEMPLATE"),
    (&["FOREIGN", "DATA", "WRAPPER"], "FOREIGN DATA WRAPPER"),
    (&["FOREIGN", "TABLE"], "FOREIGN TABLE"),
    (&["MATERIALIZED", "VIEW"], "MATERIALIZED VIEW"),
    (&["EVENT", "TRIGGER"], "EVENT TRIGGER"),
    (&["OPERATOR", "CLASS"], "OPERATOR CLASS"),
    (&["OPERATOR", "FAMILY"], "OPERATOR FAMILY"),
    (&["USER", "MAPPING"], "USER MAPPING"),
    (&["ACCESS", "METHOD"], "ACCESS METHOD"),
    (&["SCHEMA"], "SCHEMA"),
    (&["EXTENSION"], "EXTENSION"),
    (&["TABLE"], "TABLE"),
    (&["VIEW"], "VIEW"),
    (&["SEQUENCE"], "SEQUENCE"),
    (&["INDEX"], "INDEX"),
    (&["TRIGGER"], "TRIGGER"),
    (&["RULE"], "RULE"),
    (&["POLICY"], "POLICY"),
    (&["FUNCTION"], "FUNCTION"),
    (&["PROCEDURE"], "PROCEDURE"),
    (&["AGGREGATE"], "AGGREGATE"),
    (&["TYPE"], "TYPE"),
    (&["DOMAIN"], "DOMAIN"),
    (&["OPERATOR"], "OPERATOR"),
    (&["COLLATION"], "COLLATION"),
    (&["CONVERSION"], "CONVERSION"),
    (&["STATISTICS"], "STATISTICS"),
    (&["PUBLICATION"], "PUBLICATION"),
];

/// The same for kinds that have no schema, besides those above that have none.
const KINDS_WITHOUT_SCHEMA: [(&[&str], &str); 4] = [
    (&["SERVER"], "SERVER"),
    (&["LANGUAGE"], "PROCEDURAL LANGUAGE"),
    (&["CAST"], "CAST"),
    (&["TRANSFORM"], "TRANSFORM"),
];

/// Words between CREATE and the kind.
const BETWEEN: [&str; 13] = [
    "OR",
    "REPLACE",
    "UNLOGGED",
    "TEMP",
    "TEMPORARY",
    "UNIQUE",
    "CONSTRAINT",
    "TRUSTED",
    "PROCEDURAL",
    "DEFAULT",
    "RECURSIVE",
    "GLOBAL",
    "LOCAL",
];

/// Says what a statement is.
///
/// # Errors
/// Why it is not run, such as `VACUUM is not what pg_dump writes`.
pub(crate) fn classify(text: &[u8]) -> Result<Statement, String> {
    let head: Vec<Token<'_>> = tokens(text).take(LOOKED_AT).collect();
    let words = Words(&head);
    let verb = head.first().map(|token| utf8_name(token.text).to_ascii_uppercase()).unwrap_or_default();
    let of_large_object =
        head.iter().zip(head.iter().skip(1)).any(|(one, two)| one.is("LARGE") && two.is("OBJECT"));
    match verb.as_str() {
        "ALTER" | "COMMENT" | "SECURITY" | "GRANT" | "REVOKE" if of_large_object => {
            Ok(Statement::LargeObject(None))
        }
        "SET" | "RESET" => Ok(set(&head)),
        "BEGIN" | "COMMIT" | "END" => Ok(Statement::Transaction),
        "START" => Ok(Statement::Transaction),
        "CREATE" => create(text, &head),
        "DROP" => dropped(&head),
        "ALTER" => alter(&head),
        "COMMENT" if words.is(2, "DATABASE") => Ok(Statement::Database(None)),
        "COMMENT" if words.is(2, "SUBSCRIPTION") => Ok(Statement::Subscription),
        "COMMENT" if words.is(2, "ROLE") => Err("COMMENT ON ROLE belongs to a whole server".to_owned()),
        "SECURITY" if words.is(1, "LABEL") => Ok(Statement::Change),
        "COMMENT" => Ok(Statement::Change),
        "GRANT" | "REVOKE" if tokens(text).any(|token| token.is("ON")) => {
            if words.any("DATABASE") {
                Ok(Statement::Database(None))
            } else {
                Ok(Statement::Privilege)
            }
        }
        "GRANT" | "REVOKE" => Err(format!("{verb} of a role belongs to a whole server")),
        "COPY" => copy(text),
        "INSERT" => insert(text),
        "SELECT" => select(&head),
        "REFRESH" if words.is(1, "MATERIALIZED") => Ok(Statement::Refresh),
        "LOCK" => Ok(Statement::Transaction),
        "" | ";" => Ok(Statement::Transaction),
        _ => Err(format!("{verb} is not what pg_dump writes")),
    }
}

struct Words<'t>(&'t [Token<'t>]);

impl Words<'_> {
    fn is(&self, place: usize, word: &str) -> bool {
        self.0.get(place).is_some_and(|token| token.is(word))
    }

    fn any(&self, word: &str) -> bool {
        self.0.iter().any(|token| token.is(word))
    }

    fn are(&self, place: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(step, word)| self.is(place + step, word))
    }

    /// `IF NOT EXISTS`, `IF EXISTS`, `ONLY`, `CONCURRENTLY` and the like from `place` on.
    fn skip(&self, place: usize) -> usize {
        let mut place = place;
        while ["IF", "NOT", "EXISTS", "ONLY", "CONCURRENTLY"].iter().any(|word| self.is(place, word)) {
            place += 1;
        }
        place
    }

    /// The name at `place`, and where it ends.
    fn name(&self, place: usize) -> Option<(Name, usize)> {
        let first = utf8_name(&self.0.get(place)?.name()?);
        let dotted = self.0.get(place + 1).is_some_and(|token| token.is_symbol(b'.'));
        let second = if dotted { self.0.get(place + 2).and_then(Token::name) } else { None };
        Some(match second {
            Some(second) => (Name { schema: Some(first), name: utf8_name(&second) }, place + 3),
            None => (Name { schema: None, name: first }, place + 1),
        })
    }
}

fn set(head: &[Token<'_>]) -> Statement {
    let words = Words(head);
    let at = if words.is(1, "SESSION") || words.is(1, "LOCAL") { 2 } else { 1 };
    if words.is(1, "SESSION") && words.is(2, "AUTHORIZATION") {
        return Statement::Authorization;
    }
    let setting = head.get(at).and_then(Token::name).map(|name| utf8_name(&name)).unwrap_or_default();
    let value = head.get(at + 2).map_or_else(String::new, |token| {
        utf8_name(token.string().unwrap_or(token.text)).trim_matches('"').to_owned()
    });
    match setting.as_str() {
        "search_path" => Statement::SearchPath(value),
        _ => Statement::Set { setting, value },
    }
}

fn create(text: &[u8], head: &[Token<'_>]) -> Result<Statement, String> {
    let words = Words(head);
    let mut at = 1;
    while BETWEEN.iter().any(|word| words.is(at, word)) {
        at += 1;
    }
    for (word, what) in
        [("ROLE", "CREATE ROLE"), ("GROUP", "CREATE GROUP"), ("TABLESPACE", "CREATE TABLESPACE")]
    {
        if words.is(at, word) {
            return Err(format!("{what} belongs to a whole server"));
        }
    }
    if words.is(at, "USER") && !words.is(at + 1, "MAPPING") {
        return Err("CREATE USER belongs to a whole server".to_owned());
    }
    if words.is(at, "DATABASE") {
        let name = words.name(at + 1).map(|(name, _)| name.name);
        return Ok(Statement::Database(Some(name.unwrap_or_default())));
    }
    if words.is(at, "SUBSCRIPTION") {
        return Ok(Statement::Subscription);
    }
    let known = KINDS.iter().chain(&KINDS_WITHOUT_SCHEMA).find(|(kind, _)| words.are(at, kind));
    let Some((kind_words, kind)) = known else {
        let word = head.get(at).map(|token| utf8_name(token.text)).unwrap_or_default();
        return Err(format!("CREATE {word} is not what pg_dump writes"));
    };
    let at = words.skip(at + kind_words.len());
    if *kind == "VIEW" && words.is(1, "OR") && is_stand_in(&words, at) {
        return Ok(Statement::DropPart);
    }
    let object = match *kind {
        // Their names stand alone; their tables follow.
        "TRIGGER" | "POLICY" | "RULE" | "INDEX" => {
            let own = words.name(at).map(|(name, _)| name.name).unwrap_or_default();
            let on = head.iter().position(|token| token.is("ON") || token.is("TO")).unwrap_or(at);
            let on = if *kind == "RULE" {
                head.iter().position(|token| token.is("TO")).unwrap_or(on)
            } else {
                head.iter().position(|token| token.is("ON")).unwrap_or(on)
            };
            let table = words.name(words.skip(on + 1)).map(|(table, _)| table);
            Name { schema: table.and_then(|table| table.schema), name: own }
        }
        "USER MAPPING" => Name { schema: None, name: mapping(&words, at) },
        "CAST" => Name { schema: None, name: until(text, &head[at.min(head.len())..], b')', true) },
        "TRANSFORM" => Name { schema: None, name: until(text, &head[at.min(head.len())..], b'(', false) },
        _ => match words.name(at) {
            Some((name, _)) => name,
            // An operator's name is of symbols, behind its schema.
            None => Name { schema: None, name: String::new() },
        },
    };
    Ok(Statement::Create { kind, object })
}

/// Whether a view is replaced by columns of NULL, as before it is dropped: others refer to its rule.
fn is_stand_in(words: &Words<'_>, name: usize) -> bool {
    let Some((_, body)) = words.name(name) else { return false };
    let casts = words.0.get(body + 3).is_some_and(|token| token.is_symbol(b':'));
    words.are(body, &["AS", "SELECT", "NULL"]) && casts
}

/// The text of these tokens up to the first such symbol, with it or without.
fn until(text: &[u8], from: &[Token<'_>], symbol: u8, with: bool) -> String {
    let start = from.first().map_or(0, |token| token.start);
    let end = from
        .iter()
        .find(|token| token.is_symbol(symbol))
        .map_or(start, |token| if with { token.end() } else { token.start });
    utf8_name(text.get(start..end).unwrap_or_default()).trim_end().to_owned()
}

/// As archives tag it.
fn mapping(words: &Words<'_>, at: usize) -> String {
    let role = words.name(at + 1).map(|(name, _)| name.name).unwrap_or_default();
    let server = words.name(at + 3).map(|(name, _)| name.name).unwrap_or_default();
    format!("USER MAPPING {role} SERVER {server}")
}

fn dropped(head: &[Token<'_>]) -> Result<Statement, String> {
    let words = Words(head);
    for word in ["ROLE", "USER", "GROUP", "TABLESPACE"] {
        if words.is(1, word) && !words.is(2, "MAPPING") {
            return Err(format!("DROP {word} belongs to a whole server"));
        }
    }
    if words.is(1, "DATABASE") {
        return Ok(Statement::Database(None));
    }
    if words.is(1, "SUBSCRIPTION") {
        return Ok(Statement::Subscription);
    }
    let kind = KINDS.iter().chain(&KINDS_WITHOUT_SCHEMA).find(|(kind, _)| words.are(1, kind));
    let at = kind.map_or(2, |(kind, _)| 1 + kind.len());
    let name = words.name(words.skip(at)).map(|(name, _)| name);
    Ok(Statement::Drop(name.unwrap_or(Name { schema: None, name: String::new() })))
}

fn alter(head: &[Token<'_>]) -> Result<Statement, String> {
    let words = Words(head);
    for word in ["ROLE", "USER", "GROUP", "TABLESPACE", "SYSTEM"] {
        if words.is(1, word) && !words.is(2, "MAPPING") {
            return Err(format!("ALTER {word} belongs to a whole server"));
        }
    }
    if words.is(1, "DATABASE") {
        return Ok(Statement::Database(None));
    }
    if words.is(1, "SUBSCRIPTION") {
        return Ok(Statement::Subscription);
    }
    if words.is(1, "DEFAULT") {
        return Ok(Statement::Privilege);
    }
    let after_name =
        words.name(words.skip(if words.is(1, "FOREIGN") { 3 } else { 2 })).map_or(2, |(_, end)| end);
    let takes_part = words.is(1, "TABLE") || words.is(1, "DOMAIN") || words.is(1, "FOREIGN");
    let drops_default = words.is(after_name, "ALTER") && words.any("DROP") && words.any("DEFAULT");
    if takes_part && (words.is(after_name, "DROP") || drops_default) {
        return Ok(Statement::DropPart);
    }
    Ok(Statement::Change)
}

fn copy(text: &[u8]) -> Result<Statement, String> {
    // A table has 1600 columns at most.
    let all: Vec<Token<'_>> = tokens(text).take(5000).collect();
    let words = Words(&all);
    let (table, mut at) = words.name(1).ok_or("COPY of a query is not what pg_dump writes into a file")?;
    let mut columns = Vec::new();
    if all.get(at).is_some_and(|token| token.is_symbol(b'(')) {
        at += 1;
        while let Some(token) = all.get(at).filter(|token| !token.is_symbol(b')')) {
            columns.extend(token.name().map(|name| utf8_name(&name)));
            at += 1;
        }
        at += 1;
    }
    let ends = |place: usize| all.get(place).is_some_and(|token| token.is_symbol(b';'));
    if words.is(at, "FROM") && words.is(at + 1, "STDIN") && ends(at + 2) {
        return Ok(Statement::Copy { table, columns });
    }
    if words.is(at, "FROM") && words.is(at + 1, "STDIN") {
        return Err("COPY … FROM stdin with options is not what pg_dump writes".to_owned());
    }
    Err("COPY to or from a file or program of the server".to_owned())
}

fn insert(text: &[u8]) -> Result<Statement, String> {
    let mut all = tokens(text);
    let head: Vec<Token<'_>> = all.by_ref().take(6).collect();
    let words = Words(&head);
    let (table, _) = words.name(2).filter(|_| words.is(1, "INTO")).ok_or("INSERT without a table")?;
    let (mut rows, mut depth, mut in_values, mut may_skip) = (0_u64, 0_usize, false, false);
    let mut defaults = false;
    for token in tokens(text).skip(3) {
        match token.kind {
            Kind::Symbol(b'(') => {
                rows += u64::from(depth == 0 && in_values && !may_skip);
                depth += 1;
            }
            Kind::Symbol(b')') => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && token.is("VALUES") => in_values = true,
            Kind::Word if depth == 0 && token.is("DEFAULT") && !in_values => defaults = true,
            Kind::Word if depth == 0 && token.is("CONFLICT") => may_skip = true,
            Kind::Word if depth == 0 && token.is("SELECT") => {
                return Err("INSERT … SELECT is not what pg_dump writes".to_owned());
            }
            _ => {}
        }
    }
    Ok(Statement::Insert { table, rows: if defaults { 1 } else { rows }, may_skip })
}

fn select(head: &[Token<'_>]) -> Result<Statement, String> {
    let words = Words(head);
    let at = if head.get(1).is_some_and(|token| token.is_symbol(b'*')) { 3 } else { 1 };
    let function = words.name(at).map(|(name, end)| (name, head.get(end + 1)));
    let Some((name, argument)) = function else { return Err("a SELECT that calls no function".to_owned()) };
    if name.schema.as_deref().is_some_and(|schema| schema != "pg_catalog") {
        let function = name.schema.into_iter().chain([name.name]).collect::<Vec<_>>().join(".");
        return Err(format!("SELECT of {function}() is not what pg_dump writes"));
    }
    let text = argument.and_then(|token| token.string().or(Some(token.text))).unwrap_or_default();
    match name.name.as_str() {
        "setval" => Ok(Statement::Position),
        "set_config" if text == b"search_path" => {
            let value = head.iter().filter_map(Token::string).nth(1).map(utf8_name);
            Ok(Statement::SearchPath(value.unwrap_or_default()))
        }
        "lo_create" => Ok(Statement::LargeObject(utf8_name(text).parse().ok())),
        "lo_open" | "lowrite" | "lo_close" => Ok(Statement::LargeObject(None)),
        "lo_unlink" => Ok(Statement::DropPart),
        "pg_restore_relation_stats" | "pg_restore_attribute_stats" | "pg_restore_extended_stats" => {
            Ok(Statement::Statistics)
        }
        other => Err(format!("SELECT of {other}() is not what pg_dump writes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match classify(text.as_bytes()) {
            Ok(Statement::Create { kind, object }) => {
                format!("{kind} {} {}", object.schema.unwrap_or_default(), object.name)
            }
            Ok(other) => format!("{other:?}"),
            Err(why) => format!("refused: {why}"),
        }
    }

    #[test]
    fn what_is_made_is_named_with_kind_and_schema() {
        for (text, expected) in [
            ("CREATE TABLE public.\"T a\" (x int);", "TABLE public T a"),
            ("CREATE UNLOGGED TABLE t (x int);", "TABLE  t"),
            ("CREATE UNIQUE INDEX i ON ONLY s.t USING btree (a);", "INDEX s i"),
            ("CREATE TRIGGER g BEFORE INSERT OR UPDATE ON s.t EXECUTE FUNCTION f();", "TRIGGER s g"),
            ("CREATE RULE r AS ON INSERT TO s.t DO NOTHING;", "RULE s r"),
            ("CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;", "EXTENSION  hstore"),
            ("CREATE OR REPLACE FUNCTION s.f(a int) RETURNS int;", "FUNCTION s f"),
            ("CREATE MATERIALIZED VIEW s.m AS SELECT 1 WITH NO DATA;", "MATERIALIZED VIEW s m"),
            ("CREATE SCHEMA \"S\";", "SCHEMA  S"),
            ("CREATE POLICY p ON s.t USING (true);", "POLICY s p"),
            ("CREATE CAST (s.a AS text) WITH INOUT;", "CAST  (s.a AS text)"),
            (
                "CREATE TRANSFORM FOR money LANGUAGE sql (FROM SQL WITH FUNCTION f(a));",
                "TRANSFORM  FOR money LANGUAGE sql",
            ),
            ("CREATE USER MAPPING FOR app SERVER s;", "USER MAPPING  USER MAPPING app SERVER s"),
            ("CREATE FOREIGN DATA WRAPPER w;", "FOREIGN DATA WRAPPER  w"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn rows_of_copies_and_inserts_are_known() {
        let table = Name { schema: Some("s".into()), name: "t".into() };
        let copy = classify(b"COPY s.t (a, \"b c\") FROM stdin;");
        let columns = vec!["a".to_owned(), "b c".to_owned()];
        assert_eq!(copy, Ok(Statement::Copy { table: table.clone(), columns }));
        for (text, rows, may_skip) in [
            ("INSERT INTO s.t VALUES (1, '(2)', f(3));", 1, false),
            ("INSERT INTO s.t (a, b) VALUES (1, 2), (3, 4);", 2, false),
            ("INSERT INTO s.t (a) OVERRIDING SYSTEM VALUE VALUES (1) ON CONFLICT DO NOTHING;", 1, true),
            ("INSERT INTO s.t DEFAULT VALUES;", 1, false),
        ] {
            let expected = Statement::Insert { table: table.clone(), rows, may_skip };
            assert_eq!(classify(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_pg_dump_does_not_write_is_refused_by_name() {
        for (text, why) in [
            ("CREATE ROLE a;", "CREATE ROLE"),
            ("ALTER ROLE a WITH SUPERUSER;", "ALTER ROLE"),
            ("ALTER SYSTEM SET a = 1;", "ALTER SYSTEM"),
            ("GRANT a TO b;", "GRANT of a role"),
            ("VACUUM;", "VACUUM"),
            ("DELETE FROM t;", "DELETE"),
            ("DO $$ begin end $$;", "DO"),
            ("COPY t FROM PROGRAM 'rm -rf /';", "file or program"),
            ("COPY t FROM '/etc/passwd';", "file or program"),
            ("SELECT pg_terminate_backend(1);", "pg_terminate_backend"),
            ("SELECT evil.setval('x', 1);", "evil.setval"),
            ("INSERT INTO t SELECT 1;", "INSERT … SELECT"),
            ("ROLLBACK;", "ROLLBACK"),
        ] {
            let said = classify(text.as_bytes()).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn what_is_handled_in_another_way_is_told_apart() {
        for (text, expected) in [
            ("BEGIN;", Statement::Transaction),
            ("SET search_path = public, pg_catalog;", Statement::SearchPath("public".into())),
            ("SELECT pg_catalog.set_config('search_path', '', false);", Statement::SearchPath(String::new())),
            (
                "SET client_encoding = 'LATIN1';",
                Statement::Set { setting: "client_encoding".into(), value: "LATIN1".into() },
            ),
            ("CREATE DATABASE shop WITH TEMPLATE = template0;", Statement::Database(Some("shop".into()))),
            ("ALTER DATABASE shop OWNER TO x;", Statement::Database(None)),
            ("SELECT pg_catalog.setval('public.s', 1, true);", Statement::Position),
            ("SELECT pg_catalog.lo_create('16385');", Statement::LargeObject(Some(16_385))),
            ("ALTER TABLE IF EXISTS ONLY s.t DROP CONSTRAINT IF EXISTS c;", Statement::DropPart),
            ("CREATE OR REPLACE VIEW s.v AS\nSELECT\n    NULL::integer AS a;", Statement::DropPart),
            ("ALTER TABLE IF EXISTS s.t ALTER COLUMN a DROP DEFAULT;", Statement::DropPart),
            ("ALTER TABLE ONLY s.t ADD CONSTRAINT c CHECK (true);", Statement::Change),
            ("ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT ALL ON TABLES TO b;", Statement::Privilege),
            ("GRANT ALL ON LARGE OBJECT 5 TO a;", Statement::LargeObject(None)),
            ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p;", Statement::Subscription),
        ] {
            assert_eq!(classify(text.as_bytes()), Ok(expected), "{text}");
        }
    }
}
