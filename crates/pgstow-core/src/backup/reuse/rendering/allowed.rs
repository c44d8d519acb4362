//! Which types write their values by nothing but the value, given their definition and the settings
//! that a session for reading pins.
//!
//! A list of what is allowed: a type that is not on it may read any catalog, table or setting, so it is
//! not allowed. Left out on purpose are
//!
//! - the `reg…` types: they write names of other objects, which change without the rows;
//! - `aclitem`: it writes names of roles;
//! - `money`: sign, separators and the place of the point come from a locale of the server's operating
//!   system, and are not stored;
//! - base types made by users: their output functions may do anything;
//! - types that only catalogs hold (`pg_node_tree`, statistics, index summaries, `gtsvector`).

use crate::postgres::catalog::rendering::{Function, Type, Types};

/// Output and send function of every true array.
const ARRAY_OUT: u32 = 751;
const ARRAY_SEND: u32 = 2401;

/// Base types of the server by OID, which never changes. Those that look at a setting look at one that
/// is pinned: DateStyle, IntervalStyle, TimeZone, bytea_output, extra_float_digits, the encodings.
const BUILT_IN: [u32; 49] = [
    16,   // bool
    17,   // bytea: bytea_output
    18,   // "char"
    19,   // name
    20,   // int8
    21,   // int2
    22,   // int2vector
    23,   // int4
    25,   // text
    26,   // oid: a number, whatever it refers to
    27,   // tid
    28,   // xid
    29,   // cid
    30,   // oidvector
    114,  // json
    142,  // xml: its text without the encoding it declares; in binary with the client encoding
    600,  // point: extra_float_digits, like all geometry
    601,  // lseg
    602,  // path
    603,  // box
    604,  // polygon
    628,  // line
    650,  // cidr
    700,  // float4: extra_float_digits
    701,  // float8: extra_float_digits
    718,  // circle
    774,  // macaddr8
    829,  // macaddr
    869,  // inet
    1042, // bpchar: stored padded
    1043, // varchar
    1082, // date: DateStyle
    1083, // time
    1114, // timestamp: DateStyle
    1184, // timestamptz: DateStyle, TimeZone
    1186, // interval: IntervalStyle
    1266, // timetz: each value has its own zone
    1560, // bit
    1562, // varbit
    1700, // numeric: the value has its scale, the type modifier is not asked
    2950, // uuid
    2970, // txid_snapshot
    3220, // pg_lsn
    3614, // tsvector: sorted when it was made
    3615, // tsquery
    3802, // jsonb: in the order it is stored in
    4072, // jsonpath
    5038, // pg_snapshot
    5069, // xid8
];

/// Base types of extensions, each with the extension that must own it.
///
/// citext is text; hstore and ltree write their parts as stored; cube by extra_float_digits; the
/// vectors by the shortest exact decimals, whatever is set; geometry and geography as hexadecimal EWKB,
/// with the SRID that is in the value: `spatial_ref_sys` is not read.
///
/// Left out: `box2d`, `box3d` and `raster` of PostGIS (rounded decimals, files outside the database);
/// `lquery` and `ltxtquery` (seldom stored); `isn` (its output depends on a session's `weak` mode);
/// everything whose output functions have not been read.
///
/// A library that was exchanged without `ALTER EXTENSION … UPDATE` and without a restart of the server
/// cannot be noticed. The text of these types is what dumps restore from, so their authors keep it.
const OF_EXTENSIONS: [(&str, &str); 9] = [
    ("citext", "citext"),
    ("cube", "cube"),
    ("hstore", "hstore"),
    ("ltree", "ltree"),
    ("postgis", "geography"),
    ("postgis", "geometry"),
    ("vector", "halfvec"),
    ("vector", "sparsevec"),
    ("vector", "vector"),
];

/// The types whose values a value of this type holds, in their order; none where its text depends on
/// itself alone. `None` where it may depend on something else.
pub(super) fn parts(found: &Type, types: &Types) -> Option<Vec<u32>> {
    match found.kind {
        'b' if BUILT_IN.contains(&found.oid) => Some(Vec::new()),
        'b' if is_array(found) => Some(vec![found.element]),
        'b' if is_of_extension(found, types) => Some(Vec::new()),
        'c' => Some(
            found
                .attributes
                .iter()
                .filter(|attribute| !attribute.dropped)
                .map(|attribute| attribute.column.type_oid)
                .collect(),
        ),
        'd' => Some(vec![found.base]),
        'e' => Some(Vec::new()),
        'm' | 'r' => Some(vec![found.range?.of]),
        _ => None,
    }
}

/// `point` and others have an element type too and are no arrays.
fn is_array(found: &Type) -> bool {
    found.element != 0 && found.output == ARRAY_OUT && found.send == ARRAY_SEND
}

fn is_of_extension(found: &Type, types: &Types) -> bool {
    let Some(extension) = found.extension.as_ref().map(|extension| extension.name.as_str()) else {
        return false;
    };
    let sends = found.send == 0
        || types.functions.get(&found.send).is_some_and(|function| is_known(function, extension));
    OF_EXTENSIONS.contains(&(extension, found.name.as_str()))
        && types.functions.get(&found.output).is_some_and(|function| is_known(function, extension))
        && sends
}

/// A function of the extension, in its library or, for citext, one of those for text.
fn is_known(function: &Function, extension: &str) -> bool {
    function.extension.as_deref() == Some(extension)
        && match function.language.as_str() {
            "c" => function.library.is_some(),
            "internal" => matches!(function.source.as_str(), "textout" | "textsend"),
            _ => false,
        }
}
