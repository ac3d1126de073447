//! What every PostgreSQL has: its own functions, relations, and which of them need care.
//!
//! `functions.txt` and `relations.txt` are written by `generate.sh` from a real server. A function is harmless if every
//! overload of it is immutable or stable and it is not in the closed list of those that execute SQL, read files or the
//! state of other sessions; a volatile one only if it is in the closed list of harmless volatile ones.

use super::Catalogue;
use super::model::Relation;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// What calling a function of PostgreSQL's own means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Judgement {
    /// A computation over its arguments.
    Harmless,
    /// Answers with text that others put there: queries of other sessions, samples of data.
    Revealing,
    /// Acts outside the statement, or executes text.
    Call,
}

/// A function of PostgreSQL's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Builtin {
    /// What calling it means.
    pub(crate) judgement: Judgement,
    /// Columns it returns in `FROM`; `None` if that depends on its arguments or overload.
    pub(crate) columns: Option<&'static str>,
    /// It returns any number of rows.
    pub(crate) returns_set: bool,
}

/// Volatile, and harmless all the same: clocks, dice, sizes and states of the server.
const HARMLESS_VOLATILE: &[&str] = &[
    "clock_timestamp",
    "timeofday",
    "random",
    "setseed",
    "gen_random_uuid",
    "txid_status",
    "pg_xact_status",
    "pg_relation_size",
    "pg_total_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_database_size",
    "pg_tablespace_size",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_blocking_pids",
    "pg_partition_tree",
    "pg_partition_ancestors",
    "pg_current_wal_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_flush_lsn",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_jit_available",
    "pg_collation_actual_version",
    "pg_database_collation_actual_version",
    "pg_sequence_last_value",
    "pg_xact_commit_timestamp",
    "amvalidate",
    "currval",
    "lastval",
    "pg_stat_have_stats",
    "pg_notification_queue_usage",
    "pg_safe_snapshot_blocking_pids",
    "pg_isolation_test_session_is_blocked",
];

/// Stable, and yet they run text or read whole relations by name.
const CALLS_THOUGH_STABLE: &[&str] = &[
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "ts_stat",
    "set_config",
    "pg_logical_emit_message",
];

/// They answer with what others wrote.
const REVEALING: &[&str] = &[
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_prepared_statement",
    "pg_cursor",
    "pg_mcv_list_items",
    "pg_options_to_table",
    "pg_show_all_settings",
    "pg_get_functiondef",
    "pg_get_partition_constraintdef",
    "pg_get_function_sqlbody",
    "pg_stat_get_wal_senders",
    "pg_stat_get_wal_receiver",
    "pg_show_all_file_settings",
];

/// In PostgreSQL 16 to 18 and not in the server that `functions.txt` was written from.
const NEWER: &[&str] = &[
    "any_value",
    "array_reverse",
    "array_sample",
    "array_shuffle",
    "array_sort",
    "casefold",
    "crc32",
    "crc32c",
    "date_add",
    "date_subtract",
    "erf",
    "erfc",
    "gamma",
    "lgamma",
    "pg_basetype",
    "pg_input_error_info",
    "pg_input_is_valid",
    "random_normal",
    "regexp_count",
    "system_user",
    "to_bin",
    "to_oct",
    "to_regtypemod",
    "unicode_assigned",
    "unicode_version",
    "icu_unicode_version",
    "uuid_extract_timestamp",
    "uuid_extract_version",
    "uuidv4",
    "uuidv7",
    "xmltext",
    "json_array_elements",
    "min_scale",
    "pg_char_to_encoding",
    "has_largeobject_privilege",
    "json_object_agg_unique",
    "jsonb_populate_record_valid",
    "pg_get_acl",
    "pg_get_sequence_data",
    "pg_numa_available",
    "pg_split_walfile_name",
    "pg_stat_get_backend_io",
    "pg_stat_get_backend_wal",
    "range_intersect_agg",
    "jsonb_path_query_tz",
    "merge_action",
    "jsonb_strip_nulls",
    "bit_count",
];

/// Types without a function of their name: what looks like a call of one is a cast.
const CASTS: &[&str] = &[
    "inet",
    "regcollation",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "tsquery",
    "tsvector",
];

/// Relations whose rows carry values of other relations, texts of other sessions, or secrets.
const REVEALING_RELATIONS: &[&str] = &[
    "pg_authid",
    "pg_shadow",
    "pg_cursors",
    "pg_largeobject",
    "pg_prepared_statements",
    "pg_stat_activity",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_stats",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_user_mapping",
    "pg_user_mappings",
    "pg_subscription",
    "pg_foreign_server",
    "pg_foreign_data_wrapper",
    "pg_foreign_table",
    "pg_settings",
    "pg_db_role_setting",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_replication_origin_status",
    "pg_stat_replication",
    "pg_stat_wal_receiver",
    "pg_stat_ssl",
    "pg_stat_gssapi",
    "user_mapping_options",
    "foreign_server_options",
    "foreign_table_options",
    "foreign_data_wrapper_options",
    "column_options",
    "_pg_user_mappings",
    "_pg_foreign_servers",
    "_pg_foreign_tables",
    "_pg_foreign_table_columns",
    "_pg_foreign_data_wrappers",
    "pg_partitioned_table",
    "pg_seclabel",
    "pg_seclabels",
];

/// Columns of system relations that can carry values of the user's: partition bounds, defaults, definitions.
const REVEALING_COLUMNS: &[&str] = &["relpartbound", "attmissingval"];

/// Functions of `information_schema`, which its own views and pgJDBC's metadata call: all compute from their arguments.
/// The columns of those that return rows.
const INFORMATION_SCHEMA: &[(&str, Option<&str>)] = &[
    ("_pg_char_max_length", None),
    ("_pg_char_octet_length", None),
    ("_pg_datetime_precision", None),
    ("_pg_expandarray", Some("x,n")),
    ("_pg_index_position", None),
    ("_pg_interval_type", None),
    ("_pg_numeric_precision", None),
    ("_pg_numeric_precision_radix", None),
    ("_pg_numeric_scale", None),
    ("_pg_truetypid", None),
    ("_pg_truetypmod", None),
];

/// A function of `information_schema` by its name; `None` if there is none.
pub(crate) fn information_schema_function(name: &str) -> Option<Builtin> {
    let (_, columns) = INFORMATION_SCHEMA.iter().find(|(known, _)| *known == name)?;
    Some(Builtin { judgement: Judgement::Harmless, columns: *columns, returns_set: columns.is_some() })
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Builtin>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Builtin> =
        include_str!("functions.txt").lines().filter_map(entry).collect();
    for name in NEWER.iter().chain(CASTS) {
        functions.entry(name).or_insert(Builtin {
            judgement: Judgement::Harmless,
            columns: None,
            returns_set: false,
        });
    }
    functions
});

fn entry(line: &'static str) -> Option<(&'static str, Builtin)> {
    let mut words = line.split(' ');
    let (name, volatility, set, columns) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let judgement = if CALLS_THOUGH_STABLE.contains(&name) {
        Judgement::Call
    } else if REVEALING.contains(&name) {
        Judgement::Revealing
    } else if volatility == "v" && !HARMLESS_VOLATILE.contains(&name) {
        Judgement::Call
    } else {
        Judgement::Harmless
    };
    let columns = match columns {
        "?" => None,
        "-" => Some(""),
        names => Some(names),
    };
    Some((name, Builtin { judgement, columns, returns_set: set == "s" }))
}

/// The function of PostgreSQL's own with that name, if it has one.
pub(crate) fn builtin_function(name: &str) -> Option<Builtin> {
    FUNCTIONS.get(name).copied()
}

static OPERATORS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("operators.txt").lines().collect());

/// Whether PostgreSQL itself has an operator with that symbol.
pub(crate) fn is_builtin_operator(symbol: &str) -> bool {
    OPERATORS.contains(symbol) || matches!(symbol, "!=" | "<>")
}

/// Whether a column of a system relation can carry what others wrote.
pub(crate) fn is_revealing(relation: &str, column: &str) -> bool {
    REVEALING_RELATIONS.contains(&relation) || REVEALING_COLUMNS.contains(&column)
}

/// Adds the system relations of a recent server.
pub(super) fn add_relations(catalogue: &mut Catalogue) {
    for line in include_str!("relations.txt").lines() {
        let mut words = line.split(' ');
        let (Some(kind), Some(name), Some(columns)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let schema = if kind == "c" { "pg_catalog" } else { "information_schema" };
        let columns: Vec<&str> = columns.split(',').collect();
        catalogue.add_relation(Relation::simple(schema, name, &columns));
        catalogue.schemas.entry(schema.to_owned()).or_insert(true);
    }
    catalogue.schemas.entry("public".to_owned()).or_insert(true);
}
