//! The roles that a policy is for, in its statement and in its inventory definition. Pure.
//!
//! A policy names its roles inside its definition. The statement is taken apart word by word up to
//! the end of its list of roles, the list must be the one that the inventory has, and a new list is
//! written in its place. What follows, the policy's expressions, is never looked into. Whatever is
//! not exactly as pg_dump writes it is not touched, and the caller leaves the policy out.

use std::collections::BTreeSet;

use super::names::{self, Holder, Naming};

/// A `CREATE POLICY` statement, taken apart around its list of roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) policy: String,
    before: &'a str,
    /// Whom it is for.
    pub(super) roles: BTreeSet<Holder>,
    /// It takes rights away rather than giving some.
    pub(super) restrictive: bool,
    after: &'a str,
}

/// Takes a statement of pg_dump apart; `None` when it is not one.
pub(super) fn parse(definition: &str) -> Option<Statement<'_>> {
    let (policy, rest) = names::read(definition.strip_prefix("CREATE POLICY ")?)?;
    let (schema, rest) = names::read(rest.strip_prefix(" ON ")?)?;
    let (table, rest) = names::read(rest.strip_prefix('.')?)?;
    let (restrictive, rest) = match rest.strip_prefix(" AS RESTRICTIVE") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let commands = [" FOR SELECT", " FOR INSERT", " FOR UPDATE", " FOR DELETE"];
    let rest = commands.iter().find_map(|command| rest.strip_prefix(command)).unwrap_or(rest);
    let before = definition.get(..definition.len() - rest.len())?;
    let (roles, after) = match rest.strip_prefix(" TO ") {
        Some(list) => names::read_holders(list)?,
        None => (BTreeSet::from([None]), rest),
    };
    let ends_well = [" USING (", " WITH CHECK (", ";"].iter().any(|word| after.starts_with(word));
    ends_well.then_some(Statement { schema, table, policy, before, roles, restrictive, after })
}

impl Statement<'_> {
    /// The statement with the roles of the target.
    pub(super) fn renamed(&self, naming: &Naming<'_>) -> String {
        let roles: BTreeSet<Holder> = self.roles.iter().map(|holder| naming.holder(holder)).collect();
        let list: Vec<String> = roles.iter().map(names::quoted).collect();
        format!("{} TO {}{}", self.before, list.join(", "), self.after)
    }
}

/// The line of an inventory definition that lists the roles, apart from the others.
fn split(definition: &str) -> Option<(&str, BTreeSet<Holder>, &str)> {
    let rest = ["permissive\n", "restrictive\n"].iter().find_map(|word| definition.strip_prefix(word))?;
    let (command, rest) = rest.split_once('\n')?;
    command.strip_prefix("for ")?;
    let list = rest.strip_prefix("to ")?;
    let before = definition.get(..definition.len() - list.len())?;
    let (roles, after) = names::read_holders(list)?;
    (after.is_empty() || after.starts_with('\n')).then_some((before, roles, after))
}

/// Whom a policy is for, by its inventory definition; `None` when that cannot be read.
pub(super) fn roles(definition: &str) -> Option<BTreeSet<Holder>> {
    split(definition).map(|(_, roles, _)| roles)
}

/// The inventory definition that the policy will have at the target.
pub(super) fn expected(definition: &str, naming: &Naming<'_>) -> Option<String> {
    let (before, roles, after) = split(definition)?;
    let roles: BTreeSet<String> =
        roles.iter().map(|holder| naming.spelled_holder(&naming.holder(holder))).collect();
    let list: Vec<String> = roles.into_iter().collect();
    Some(format!("{before}{}{after}", list.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::renamed;
    use super::*;

    fn translated(definition: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let (renamed, keywords) = (renamed(pairs), BTreeSet::new());
        let naming = Naming { renamed: &renamed, keywords: &keywords };
        parse(definition).map(|statement| statement.renamed(&naming))
    }

    #[test]
    fn only_the_list_of_roles_changes() {
        let definition = "CREATE POLICY \"to app\" ON app.\"TO app\" AS RESTRICTIVE FOR SELECT TO app, \"b, c\" \
                          USING ((name = ' TO app '::text)) WITH CHECK (public.app());\n";
        assert_eq!(
            translated(definition, &[("app", "web")]).expect("a statement"),
            "CREATE POLICY \"to app\" ON app.\"TO app\" AS RESTRICTIVE FOR SELECT TO \"b, c\", \"web\" \
             USING ((name = ' TO app '::text)) WITH CHECK (public.app());\n"
        );
        let statement = parse(definition).expect("a statement");
        assert!(statement.restrictive);
        assert_eq!(
            (statement.schema.as_str(), statement.table.as_str(), statement.policy.as_str()),
            ("app", "TO app", "to app")
        );
    }

    #[test]
    fn two_roles_that_become_one_are_listed_once() {
        let definition = "CREATE POLICY p ON s.t FOR DELETE TO a, b, c;\n";
        assert_eq!(
            translated(definition, &[("a", "c"), ("b", "c")]).expect("a statement"),
            "CREATE POLICY p ON s.t FOR DELETE TO \"c\";\n"
        );
    }

    #[test]
    fn a_policy_without_a_list_is_for_everybody_and_stays_so() {
        let statement = parse("CREATE POLICY p ON s.t USING (true);\n").expect("a statement");
        assert_eq!(statement.roles, BTreeSet::from([None]));
        assert_eq!(
            translated("CREATE POLICY p ON s.t USING (true);\n", &[("a", "b")]).expect("a statement"),
            "CREATE POLICY p ON s.t TO PUBLIC USING (true);\n"
        );
    }

    #[test]
    fn what_pg_dump_would_not_write_is_not_touched() {
        for definition in [
            "CREATE POLICY p ON t TO a USING (true);",
            "CREATE POLICY p ON s.t TO a  USING (true);",
            "CREATE POLICY p ON s.t TO A USING (true);",
            "CREATE POLICY p ON s.t FOR ALL TO a USING (true);",
            "CREATE POLICY p ON s.t TO a, USING (true);",
            "CREATE POLICY p ON s.t TO a",
            "CREATE POLICY p ON s.t/* TO a */ TO b USING (true);",
            "ALTER POLICY p ON s.t TO a;",
        ] {
            assert_eq!(parse(definition), None, "{definition}");
        }
    }

    #[test]
    fn inventory_definitions_follow() {
        let definition = "permissive\nfor all\nto \"line\nto x\", app, zoe\nusing (to app)";
        let (renamed, keywords) = (renamed(&[("app", "zz")]), BTreeSet::new());
        let naming = Naming { renamed: &renamed, keywords: &keywords };
        assert_eq!(
            expected(definition, &naming).expect("a definition"),
            "permissive\nfor all\nto \"line\nto x\", zoe, zz\nusing (to app)"
        );
        let everybody = BTreeSet::from([None]);
        assert_eq!(roles("restrictive\nfor select\nto public"), Some(everybody));
        assert_eq!(roles("permissive\nfor all\nusing to app"), None);
    }
}
