//! Where a statement names roles: owners, holders and granters of privileges, roles of policies, default
//! privileges and user mappings.

use std::ops::Range;

use super::tokens::{Token, tokens, utf8_name};

/// A role in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) role: String,
    /// Its place in the statement, in bytes.
    pub(crate) place: Range<usize>,
}

/// Words that stand where a role may and are none.
const NO_ROLES: [&str; 5] = ["PUBLIC", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE", "GROUP"];

/// The roles that a statement names.
pub(crate) fn mentions(text: &[u8]) -> Vec<Mention> {
    // Rows name no roles, and are long.
    let mut first = tokens(text);
    let (Some(verb), Some(second)) = (first.next(), first.next()) else { return Vec::new() };
    let has_roles = ["ALTER", "GRANT", "REVOKE", "CREATE", "SET"].iter().any(|word| verb.is(word));
    if !has_roles {
        return Vec::new();
    }
    let all: Vec<Token<'_>> = tokens(text).collect();
    let mut found = Vec::new();
    if verb.is("SET") {
        after(&all, &["SESSION", "AUTHORIZATION"], &mut found);
    } else if verb.is("ALTER") && second.is("DEFAULT") {
        after(&all, &["FOR", "ROLE"], &mut found);
        after(&all, &["FOR", "USER"], &mut found);
        holders(&all, &mut found);
    } else if verb.is("ALTER") {
        after(&all, &["OWNER", "TO"], &mut found);
    } else if verb.is("CREATE") && second.is("POLICY") {
        policy(&all, &mut found);
    } else if verb.is("CREATE") && second.is("USER") {
        after(&all, &["MAPPING", "FOR"], &mut found);
    } else if verb.is("CREATE") && second.is("SCHEMA") {
        after(&all, &["AUTHORIZATION"], &mut found);
    } else if verb.is("GRANT") || verb.is("REVOKE") {
        holders(&all, &mut found);
    }
    found
}

/// The list of roles that begins at `from`.
fn list(all: &[Token<'_>], from: usize, found: &mut Vec<Mention>) {
    let mut place = from;
    while let Some(token) = all.get(place) {
        if token.is("GROUP") {
            place += 1;
            continue;
        }
        let Some(name) = token.name() else { return };
        let is_role = !NO_ROLES.iter().any(|word| token.is(word));
        // pg_dump before 10 writes the role of a session as a string.
        if is_role {
            found.push(Mention { role: utf8_name(&name), place: token.start..token.end() });
        }
        if !all.get(place + 1).is_some_and(|next| next.is_symbol(b',')) {
            return;
        }
        place += 2;
    }
}

/// The roles after the first place outside of parentheses where these words follow each other.
fn after(all: &[Token<'_>], words: &[&str], found: &mut Vec<Mention>) {
    let mut depth = 0_usize;
    for (place, token) in all.iter().enumerate() {
        if token.is_symbol(b'(') {
            depth += 1;
        } else if token.is_symbol(b')') {
            depth = depth.saturating_sub(1);
        }
        let matches = || {
            words
                .iter()
                .enumerate()
                .all(|(step, word)| all.get(place + step).is_some_and(|next| next.is(word)))
        };
        if depth == 0 && matches() {
            let from = place + words.len();
            if let Some(text) = all.get(from).and_then(|next| Some((next, next.string()?))) {
                found.push(Mention { role: utf8_name(text.1), place: text.0.start..text.0.end() });
            }
            return list(all, from, found);
        }
    }
}

/// Holders of privileges: after the last TO or FROM outside of parentheses, and who granted them.
fn holders(all: &[Token<'_>], found: &mut Vec<Mention>) {
    let on = all.iter().position(|token| token.is("ON")).unwrap_or_default();
    let last = all.iter().rposition(|token| token.is("TO") || token.is("FROM"));
    if let Some(place) = last.filter(|place| *place >= on) {
        list(all, place + 1, found);
    }
    after(all, &["GRANTED", "BY"], found);
}

/// Roles of a policy: after the first TO outside of parentheses, before its expressions.
fn policy(all: &[Token<'_>], found: &mut Vec<Mention>) {
    let on = all.iter().position(|token| token.is("ON")).unwrap_or_default();
    for (place, token) in all.iter().enumerate().skip(on) {
        if token.is_symbol(b'(') {
            return;
        }
        if token.is("TO") {
            return list(all, place + 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_found_where_they_are_named_and_nowhere_else() {
        for (statement, roles) in [
            ("ALTER TABLE public.t OWNER TO app;", vec!["app"]),
            ("ALTER FUNCTION public.f(\"owner\" integer) OWNER TO \"My Role\";", vec!["My Role"]),
            ("GRANT SELECT ON TABLE public.t TO app WITH GRANT OPTION;", vec!["app"]),
            ("GRANT SELECT(a),UPDATE(b) ON TABLE public.\"to\" TO PUBLIC;", vec![]),
            ("REVOKE ALL ON SCHEMA public FROM PUBLIC;", vec![]),
            ("GRANT ALL ON SCHEMA s TO a, \"b c\" GRANTED BY d;", vec!["a", "b c", "d"]),
            ("ALTER DEFAULT PRIVILEGES FOR ROLE o IN SCHEMA s GRANT SELECT ON TABLES TO r;", vec!["o", "r"]),
            ("CREATE POLICY p ON public.t FOR SELECT TO a, b USING ((x = 'TO c'::text));", vec!["a", "b"]),
            ("CREATE POLICY p ON public.t USING ((SELECT 1));", vec![]),
            ("CREATE USER MAPPING FOR app SERVER s;", vec!["app"]),
            ("SET SESSION AUTHORIZATION 'boss';", vec!["boss"]),
            ("CREATE TABLE public.t (a text DEFAULT 'OWNER TO x');", vec![]),
            ("COMMENT ON TABLE t IS 'TO app';", vec![]),
        ] {
            let found: Vec<String> = mentions(statement.as_bytes()).into_iter().map(|one| one.role).collect();
            assert_eq!(found, roles, "{statement}");
        }
    }
}
