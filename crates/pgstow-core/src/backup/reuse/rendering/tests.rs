//! What changes a fingerprint, what does not, and what has none.

use proptest::prelude::*;

use super::*;
use crate::postgres::catalog::rendering::{Attribute, Extension, Label, Range};

const INT4: u32 = 23;
const REGCLASS: u32 = 2205;
/// OIDs of the sample's own types.
const COLOUR: u32 = 20_001;
const COLOURS: u32 = 20_002;
const SHADE: u32 = 20_003;
const ADDRESS: u32 = 20_004;
const HOME: u32 = 20_005;
const HOMES: u32 = 20_006;
const SPAN: u32 = 20_007;
const SPANS: u32 = 20_008;
const HSTORE: u32 = 20_009;
const OWN_BASE: u32 = 20_010;

fn base(oid: u32, name: &str) -> Type {
    let schema = if oid < 16_384 { "pg_catalog" } else { "public" };
    Type {
        oid,
        xmin: Some(1),
        schema: schema.into(),
        name: name.into(),
        kind: 'b',
        base_modifier: -1,
        delimiter: ",".into(),
        output: 43,
        send: 2407,
        ..Type::default()
    }
}

fn array(oid: u32, name: &str, element: u32) -> Type {
    Type { element, output: 751, send: 2401, ..base(oid, name) }
}

fn column(number: i16, name: &str, type_oid: u32) -> Column {
    Column { number, name: name.into(), type_oid, modifier: -1, ..Column::default() }
}

fn attribute(number: i16, name: &str, type_oid: u32) -> Attribute {
    Attribute { column: column(number, name, type_oid), dropped: false, xmin: 740 }
}

fn function(oid: u32, name: &str, extension: Option<&str>) -> Function {
    let library = extension.map(|extension| format!("$libdir/{extension}"));
    let language = if library.is_some() { "c" } else { "internal" };
    Function {
        oid,
        xmin: 1,
        schema: "pg_catalog".into(),
        name: name.into(),
        language: language.into(),
        source: name.into(),
        library,
        extension: extension.map(str::to_owned),
    }
}

/// An enum, arrays, a domain, a composite type inside a domain inside an array, a range over a domain
/// and its multirange, a type of an extension, and a base type of the user's.
fn types() -> Types {
    let hstore = Extension { name: "hstore".into(), version: "1.8".into(), xmin: 700 };
    let label = |oid, label: &str| Label { oid, label: label.into(), xmin: 730 };
    let list = [
        base(INT4, "int4"),
        base(REGCLASS, "regclass"),
        Type {
            kind: 'e',
            labels: vec![label(30_001, "red"), label(30_002, "green")],
            ..base(COLOUR, "colour")
        },
        array(COLOURS, "_colour", COLOUR),
        Type { kind: 'd', base: INT4, ..base(SHADE, "shade") },
        Type {
            kind: 'c',
            attributes: vec![attribute(1, "street", COLOUR), attribute(2, "number", SHADE)],
            ..base(ADDRESS, "address")
        },
        Type { kind: 'd', base: ADDRESS, ..base(HOME, "home") },
        array(HOMES, "_home", HOME),
        Type { kind: 'r', range: Some(Range { of: SHADE, xmin: 750 }), ..base(SPAN, "span") },
        Type { kind: 'm', range: Some(Range { of: SPAN, xmin: 750 }), ..base(SPANS, "spans") },
        Type { extension: Some(hstore), output: 40_001, send: 40_002, ..base(HSTORE, "hstore") },
        Type { output: 40_003, ..base(OWN_BASE, "own_base") },
    ];
    let functions = [
        function(43, "int4out", None),
        function(751, "array_out", None),
        function(2401, "array_send", None),
        function(2407, "int4send", None),
        function(40_001, "hstore_out", Some("hstore")),
        function(40_002, "hstore_send", Some("hstore")),
        function(40_003, "own_out", None),
    ];
    Types {
        types: list.map(|found| (found.oid, found)).into(),
        functions: functions.map(|found| (found.oid, found)).into(),
    }
}

fn context() -> Context {
    Context {
        server_version: "15.18".into(),
        server_encoding: "UTF8".into(),
        client_encoding: "UTF8".into(),
        settings: "datestyle ISO".into(),
    }
}

fn judge(columns: &[Column], types: &Types) -> Result<Vec<Fingerprint>, Unprovable> {
    judge_under(&context(), columns, types)
}

fn judge_under(context: &Context, columns: &[Column], types: &Types) -> Result<Vec<Fingerprint>, Unprovable> {
    let facts = Facts { tables: [(1, columns.to_vec())].into(), types: types.clone() };
    let renderings = Renderings::of(&facts, context).expect("facts can be described");
    renderings.table(1).expect("the table was asked for").map(<[_]>::to_vec).map_err(Clone::clone)
}

/// The fingerprint of a column of this type.
fn of(type_oid: u32, types: &Types) -> Fingerprint {
    judge(&[column(1, "x", type_oid)], types).expect("provable")[0]
}

#[test]
fn each_column_has_a_fingerprint_of_its_own_in_order() {
    let types = types();
    let columns = [column(1, "a", INT4), column(3, "b", INT4), column(4, "c", HOMES)];
    let both = judge(&columns, &types).expect("provable");
    assert_eq!(both.len(), 3);
    for (index, single) in columns.iter().enumerate() {
        assert_eq!(judge(std::slice::from_ref(single), &types).expect("provable"), [both[index]]);
    }
    assert!(both[0] != both[1] && both[1] != both[2]);
    assert_eq!(judge(&[], &types), Ok(Vec::new()));
}

#[test]
fn a_table_that_was_not_asked_for_has_no_answer() {
    let renderings = Renderings::of(&Facts::default(), &context()).expect("described");
    assert_eq!(renderings.table(1), None);
}

#[test]
fn everything_about_a_column_changes_its_fingerprint() {
    let types = types();
    let plain = column(2, "x", INT4);
    let changes: [(&str, Column); 6] = [
        ("number", Column { number: 3, ..plain.clone() }),
        ("name", Column { name: "y".into(), ..plain.clone() }),
        ("type", Column { type_oid: SHADE, ..plain.clone() }),
        ("modifier", Column { modifier: 8, ..plain.clone() }),
        ("missing", Column { has_missing: true, ..plain.clone() }),
        ("missing value", Column { has_missing: true, missing: Some("{1}".into()), ..plain.clone() }),
    ];
    let mut seen = BTreeSet::from([judge(&[plain], &types).expect("provable")[0].0]);
    for (what, changed) in changes {
        assert!(seen.insert(judge(&[changed], &types).expect("provable")[0].0), "{what}");
    }
}

#[test]
fn the_server_and_its_settings_change_every_fingerprint() {
    let types = types();
    let columns = [column(1, "x", INT4)];
    let mut seen = BTreeSet::from([judge(&columns, &types).expect("provable")[0].0]);
    for context in [
        Context { server_version: "15.19".into(), ..context() },
        Context { server_encoding: "LATIN1".into(), ..context() },
        Context { client_encoding: "LATIN1".into(), ..context() },
        Context { settings: "datestyle SQL".into(), ..context() },
    ] {
        assert!(seen.insert(judge_under(&context, &columns, &types).expect("provable")[0].0));
    }
}

/// One change of one type.
type Change = (&'static str, u32, fn(&mut Type));

const CHANGES: [Change; 16] = [
    ("label renamed", COLOUR, |found| found.labels[0].label = "crimson".into()),
    ("label renamed and named back", COLOUR, |found| found.labels[0].xmin += 5),
    ("label added", COLOUR, |found| found.labels.push(Label::default())),
    ("attribute added", ADDRESS, |found| found.attributes.push(attribute(3, "town", INT4))),
    ("attribute dropped", ADDRESS, |found| found.attributes[1].dropped = true),
    ("attribute renamed", ADDRESS, |found| found.attributes[0].column.name = "road".into()),
    ("attribute of another type", ADDRESS, |found| found.attributes[1].column.type_oid = INT4),
    ("attribute with another modifier", ADDRESS, |found| found.attributes[1].column.modifier = 5),
    ("attribute with a missing value", ADDRESS, |found| {
        found.attributes[1].column.missing = Some("{1}".into());
    }),
    ("attribute changed and changed back", ADDRESS, |found| found.attributes[0].xmin += 5),
    ("domain over another type", SHADE, |found| found.base = COLOUR),
    ("domain with another modifier", SHADE, |found| found.base_modifier = 9),
    ("range over another type", SPAN, |found| found.range = Some(Range { of: INT4, xmin: 750 })),
    ("range made anew", SPAN, |found| found.range = Some(Range { of: SHADE, xmin: 751 })),
    ("another delimiter", SHADE, |found| found.delimiter = ";".into()),
    ("another version of the row", HOME, |found| found.xmin = Some(2)),
];

#[test]
fn a_change_of_a_type_changes_every_column_that_leads_to_it_and_no_other() {
    // Column types, and the changed types that they lead to.
    let leads: [(u32, &[u32]); 9] = [
        (INT4, &[]),
        (COLOUR, &[COLOUR]),
        (COLOURS, &[COLOUR]),
        (SHADE, &[SHADE]),
        (ADDRESS, &[COLOUR, SHADE, ADDRESS]),
        (HOME, &[COLOUR, SHADE, ADDRESS, HOME]),
        (HOMES, &[COLOUR, SHADE, ADDRESS, HOME]),
        (SPAN, &[SHADE, SPAN]),
        (SPANS, &[SHADE, SPAN]),
    ];
    let before = types();
    for (what, changed, change) in CHANGES {
        let mut after = before.clone();
        change(after.types.get_mut(&changed).expect("a type of the sample"));
        for (column_type, through) in leads {
            let same = of(column_type, &before) == of(column_type, &after);
            assert_eq!(same, !through.contains(&changed), "{what}, seen from {column_type}");
        }
        assert_ne!(versions(&before).expect("described"), versions(&after).expect("described"), "{what}");
    }
}

#[test]
fn values_that_depend_on_more_than_themselves_are_named_wherever_they_hide() {
    let types = types();
    let unprovable = |columns: &[Column], types: &Types| judge(columns, types).expect_err("unprovable");
    let columns = [column(1, "id", INT4), column(2, "kind", REGCLASS), column(3, "other", OWN_BASE)];
    assert_eq!(unprovable(&columns, &types).to_string(), "a regclass column (kind)");
    assert_eq!(unprovable(&columns[2..], &types).to_string(), "a public.own_base column (other)");

    let mut hidden = types.clone();
    hidden.types.get_mut(&SHADE).expect("shade").base = REGCLASS;
    for holder in [SHADE, ADDRESS, HOME, HOMES, SPAN, SPANS] {
        let found = unprovable(&[column(1, "A b", holder)], &hidden);
        assert_eq!(found.to_string(), "a column with regclass inside (\"A b\")", "{holder}");
    }
    // What was dropped from a composite type is written no more.
    hidden.types.get_mut(&ADDRESS).expect("address").attributes[1].dropped = true;
    assert!(judge(&[column(1, "x", HOMES)], &hidden).is_ok());

    let aclitem = Types { types: [(1033, base(1033, "aclitem"))].into(), ..Types::default() };
    assert_eq!(unprovable(&[column(1, "x", 1033)], &aclitem).to_string(), "an aclitem column (x)");
    assert_eq!(unprovable(&[column(1, "x", 7)], &types).to_string(), "a type with OID 7 column (x)");
}

/// A change, and what it is.
type Edit = (&'static str, fn(&mut Types));

#[test]
fn a_type_of_an_extension_is_allowed_only_with_functions_of_that_extension() {
    let allowed = types();
    let before = of(HSTORE, &allowed);
    let refused: [Edit; 7] = [
        ("no extension", |types| types.types.get_mut(&HSTORE).expect("hstore").extension = None),
        ("another extension", |types| {
            let found = types.types.get_mut(&HSTORE).expect("hstore");
            found.extension.as_mut().expect("an extension").name = "mine".into();
        }),
        ("another type of it", |types| types.types.get_mut(&HSTORE).expect("hstore").name = "ghstore".into()),
        ("output of nobody", |types| drop(types.functions.remove(&40_001))),
        ("output of somebody else", |types| {
            types.functions.get_mut(&40_001).expect("output").extension = None;
        }),
        ("send of somebody else", |types| {
            types.functions.get_mut(&40_002).expect("send").extension = Some("mine".into());
        }),
        ("output of regclass", |types| {
            let output = types.functions.get_mut(&40_001).expect("output");
            (output.language, output.source) = ("internal".into(), "regclassout".into());
        }),
    ];
    for (what, change) in refused {
        let mut types = types();
        change(&mut types);
        assert!(judge(&[column(1, "x", HSTORE)], &types).is_err(), "{what}");
    }
    let different: [Edit; 4] = [
        ("version", |types| {
            let found = types.types.get_mut(&HSTORE).expect("hstore");
            found.extension.as_mut().expect("an extension").version = "1.9".into();
        }),
        ("library", |types| {
            types.functions.get_mut(&40_001).expect("output").library = Some("$libdir/other".into());
        }),
        ("source", |types| types.functions.get_mut(&40_001).expect("output").source = "out_2".into()),
        ("replaced", |types| types.functions.get_mut(&40_001).expect("output").xmin = 9),
    ];
    for (what, change) in different {
        let mut types = types();
        change(&mut types);
        assert_ne!(of(HSTORE, &types), before, "{what}");
    }
    // The binary form came to some extensions later than the type.
    let mut without_send = types();
    without_send.types.get_mut(&HSTORE).expect("hstore").send = 0;
    assert_ne!(of(HSTORE, &without_send), before);
}

#[test]
fn an_element_type_alone_makes_no_array() {
    let mut types = types();
    types.types.insert(20_011, Type { element: INT4, ..base(20_011, "pair") });
    assert!(judge(&[column(1, "x", 20_011)], &types).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Types that refer to each other at will, in circles too, are described in finite time; and what
    /// is found does not depend on where one begins.
    #[test]
    fn types_that_refer_to_each_other_end_somewhere(
        edges in proptest::collection::vec((0_u32..8, 0_u32..8), 0..24),
        denied in 0_u32..12,
    ) {
        let oid = |index: u32| 20_000 + index;
        let mut types = Types::default();
        for index in 0..8 {
            let targets = edges.iter().filter(|(from, _)| *from == index).map(|(_, to)| *to);
            let attributes =
                (1..).zip(targets).map(|(number, to)| attribute(number, "a", oid(to))).collect();
            let kind = if index == denied { 'p' } else { 'c' };
            types.types.insert(oid(index), Type { kind, attributes, ..base(oid(index), "t") });
        }
        let mut reach: BTreeMap<u32, BTreeSet<u32>> = (0..8).map(|index| (index, [index].into())).collect();
        for _ in 0..8 {
            for (from, to) in &edges {
                let further = reach[to].clone();
                reach.get_mut(from).expect("a type").extend(further);
            }
        }
        let columns: Vec<Column> = (0..8).map(|index| column(1, "x", oid(index))).collect();
        for index in 0..8_u32 {
            let judged = judge(&columns[index as usize..=index as usize], &types);
            prop_assert_eq!(judged.is_err(), reach[&index].contains(&denied));
            for changed in 0..8 {
                let mut after = types.clone();
                after.types.get_mut(&oid(changed)).expect("a type").xmin = Some(2);
                let again = judge(&columns[index as usize..=index as usize], &after);
                let same = again == judged;
                prop_assert_eq!(same, judged.is_err() || !reach[&index].contains(&changed));
            }
        }
    }
}
