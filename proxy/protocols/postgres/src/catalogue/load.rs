//! Building a catalogue: the queries for a server, and the rows they answer with.

use super::Catalogue;
use super::model::{Column, Function, Relation, RelationKind};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One fact of a catalogue: what a row of [`Catalogue::REST`] holds as JSON, and an entry of a catalogue file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Row {
    /// A relation with its columns.
    Relation(Box<Relation>),
    /// A function that is not PostgreSQL's own.
    Function(Function),
    /// An operator that is not PostgreSQL's own.
    Operator {
        /// Its schema.
        schema: String,
        /// Its symbol.
        name: String,
    },
    /// A type to which, or from which, a cast runs a function that is not PostgreSQL's own.
    Cast {
        /// Schema of the type.
        schema: String,
        /// Name of the type.
        name: String,
    },
    /// A schema.
    Schema {
        /// Its name.
        name: String,
        /// The role may use it; one it may not use is passed over in the search path.
        usable: bool,
    },
}

/// Why a catalogue could not be built.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A row is not the JSON it should be.
    #[error("row {row} of the catalogue cannot be read")]
    Row {
        /// Which one, counted from 1.
        row: usize,
        /// What the JSON reader says.
        source: serde_json::Error,
    },
}

static GENERATION: AtomicU64 = AtomicU64::new(1);

/// Relations with their columns, what a generated column is computed from, and what a view shows, by these expressions. Oid
/// columns are read as `oid::int8`, since JSON numbers are signed.
fn relations(generated: &str, view: &str) -> String {
    format!(
        "\
select json_build_object('relation', json_build_object(
  'oid', c.oid::int8, 'schema', case when n.oid = pg_my_temp_schema() then 'pg_temp' else n.nspname end,
  'name', c.relname,
  'kind', case c.relkind when 'p' then 'partitioned' when 'f' then 'foreign' when 'v' then 'view'
          when 'm' then 'materializedView' when 'S' then 'sequence' else 'table' end,
  'parents', coalesce((select json_agg(i.inhparent::int8) from pg_catalog.pg_inherits i where i.inhrelid = c.oid), '[]'),
  'columns', coalesce((select json_agg(json_build_object('name', a.attname, 'type', a.atttypid::int8, 'attnum', a.attnum,
      'generated', case when a.attgenerated <> '' then {generated} end) order by a.attnum)
    from pg_catalog.pg_attribute a left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'),
  'view', case when c.relkind in ('v', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
          then {view} end))::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S')
  and (n.nspname not like 'pg\\_temp\\_%' or n.oid = pg_my_temp_schema()) and n.nspname not like 'pg\\_toast\\_temp\\_%'"
    )
}

/// The same with definitions that nobody can read, which makes unknown what they would tell.
fn undefined() -> String {
    relations("'('", "'('")
}

/// Of a row of `pg_class` named `c`: the server is asked what it is defined by.
const HAS_DEFINITION: &str = "\
(c.relkind in ('v', 'm') and c.relnamespace not in (
    select oid from pg_catalog.pg_namespace where nspname in ('pg_catalog', 'information_schema'))
  or exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attgenerated <> ''))";

/// Functions that do nothing but compute a value: `oid`s of those of the extensions that are known for it. They are in C,
/// or in SQL that qualifies every name, and only a superuser can have made them or put them into the extension. Of what
/// is volatile in them only a few names are known; what returns sets is left to be a call.
macro_rules! computing {
    () => {
        "\
select p.oid from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
  join pg_catalog.pg_roles r on r.oid = p.proowner
  join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
  join pg_catalog.pg_extension e on d.refclassid = 'pg_catalog.pg_extension'::regclass and e.oid = d.refobjid
where r.rolsuper and not p.proretset and p.prokind in ('f', 'a')
  and (l.lanname in ('c', 'internal') or (l.lanname = 'sql' and e.extname = 'citext'))
  and e.extname in ('btree_gin', 'btree_gist', 'citext', 'cube', 'earthdistance', 'fuzzystrmatch', 'hstore', 'intarray',
    'isn', 'ltree', 'pg_trgm', 'pgcrypto', 'seg', 'unaccent', 'uuid-ossp', 'vector')
  and (p.provolatile <> 'v' or p.proname in ('gen_random_bytes', 'gen_random_uuid', 'gen_salt', 'pgp_pub_encrypt',
    'pgp_pub_encrypt_bytea', 'pgp_sym_encrypt', 'pgp_sym_encrypt_bytea', 'uuid_generate_v1', 'uuid_generate_v1mc',
    'uuid_generate_v4'))"
    };
}

const FUNCTIONS: &str = concat!(
    "\
with computing as (",
    computing!(),
    ")
select json_build_object('function', json_build_object('schema', n.nspname, 'name', p.proname,
  'argumentsMin', p.pronargs - greatest(p.pronargdefaults, case when p.provariadic <> 0 then 1 else 0 end),
  'argumentsMax', case when p.provariadic = 0 then p.pronargs end, 'computes', k.oid is not null))::text
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  left join computing k on k.oid = p.oid where p.oid >= 16384"
);

/// Left out are those of extensions that only compute: a function that is known for it, or an immutable one in C, which
/// none but a superuser can make. Otherwise `citext` or `hstore` in a schema of the search path would make every `=` and
/// every `LIKE` a call of what is not known. The planner may run an operator's negator or commutator in its place, so
/// that these are a superuser's too.
const OPERATORS: &str = concat!(
    "\
with computing as (",
    computing!(),
    ")
select json_build_object('operator', json_build_object('schema', n.nspname, 'name', o.oprname))::text
from pg_catalog.pg_operator o join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
where o.oid >= 16384 and not (
  exists (select from pg_catalog.pg_roles r
    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_operator'::regclass and d.objid = o.oid and d.deptype = 'e'
    where r.oid = o.oprowner and r.rolsuper)
  and not exists (select from pg_catalog.pg_operator s join pg_catalog.pg_roles r on r.oid = s.oprowner
    where s.oid in (o.oprnegate, o.oprcom) and not r.rolsuper)
  and (o.oprcode in (select oid from computing) or exists (
    select from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
      join pg_catalog.pg_depend f on f.classid = 'pg_catalog.pg_proc'::regclass and f.objid = p.oid and f.deptype = 'e'
    where p.oid = o.oprcode and p.provolatile = 'i' and l.lanname in ('c', 'internal'))))"
);

const CASTS: &str = concat!(
    "\
with computing as (",
    computing!(),
    ")
select json_build_object('cast', json_build_object('schema', n.nspname, 'name', t.typname))::text
from pg_catalog.pg_cast c join pg_catalog.pg_type t on t.oid in (c.castsource, c.casttarget)
  join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where c.oid >= 16384 and c.castmethod = 'f' and c.castfunc not in (select oid from computing)"
);

const SCHEMAS: &str = "\
select json_build_object('schema', json_build_object('name', n.nspname,
  'usable', coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false)))::text from pg_catalog.pg_namespace n";

impl Catalogue {
    /// To be run before any of the others, in the same session: makes the server qualify every name in definitions.
    pub const BEFORE_LOAD: &'static str = "set search_path = pg_catalog";

    /// Queries whose results, one text column each, concatenated in any order and with those of
    /// [`Catalogue::relations`], make a catalogue.
    pub const REST: [&'static str; 4] = [SCHEMAS, FUNCTIONS, OPERATORS, CASTS];

    /// Every relation. One view whose definition the server fails to show makes it fail as a whole: the same then comes
    /// from [`Catalogue::plain`], and for each of [`Catalogue::defined`] from [`Catalogue::one_relation`].
    pub fn relations() -> String {
        relations("pg_catalog.pg_get_expr(d.adbin, d.adrelid)", "pg_catalog.pg_get_viewdef(c.oid)")
    }

    /// Every relation that nothing has to be told of.
    pub fn plain() -> String {
        format!("{} and not {HAS_DEFINITION}", undefined())
    }

    /// Object identifiers of all others.
    pub fn defined() -> String {
        format!("select c.oid::int8::text from pg_catalog.pg_class c where {HAS_DEFINITION}")
    }

    /// One relation; without `definitions` it cannot be told what a view shows.
    pub fn one_relation(oid: u32, definitions: bool) -> String {
        format!("{} and c.oid = {oid}", if definitions { Self::relations() } else { undefined() })
    }

    /// Builds a catalogue from the rows that a server answered with.
    ///
    /// # Errors
    /// A row that is not what its query should answer: nothing is skipped, a gap would be a hole in a mask.
    pub fn build<'a>(rows: impl IntoIterator<Item = &'a str>) -> Result<Self, CatalogueError> {
        let mut parsed = Vec::new();
        for (index, text) in rows.into_iter().enumerate() {
            let row = serde_json::from_str(text)
                .map_err(|source| CatalogueError::Row { row: index + 1, source })?;
            parsed.push(row);
        }
        Ok(Self::from_rows(parsed))
    }

    /// Builds a catalogue from facts: what a catalogue file (a list of [`Row`] as JSON or YAML) is read into. What a
    /// server always has, `pg_catalog` and `information_schema`, is added where the facts do not mention it.
    pub fn from_rows(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut catalogue = Self::empty();
        for row in rows {
            catalogue.add(row);
        }
        if !catalogue.relations.contains_key("pg_catalog") {
            super::builtin::add_relations(&mut catalogue);
        }
        if catalogue.schemas.is_empty() {
            let names: Vec<String> = catalogue.relations.keys().cloned().collect();
            catalogue.schemas.extend(names.into_iter().map(|name| (name, true)));
            catalogue.schemas.insert("public".to_owned(), true);
        }
        catalogue.link();
        catalogue
    }

    /// What every PostgreSQL has: enough to tell effects, with every relation of the user's unknown.
    pub fn builtin() -> Self {
        Self::from_rows([])
    }

    fn empty() -> Self {
        Self {
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            relations: HashMap::new(),
            by_oid: HashMap::new(),
            descendants: HashMap::new(),
            functions: HashMap::new(),
            operators: HashMap::new(),
            cast_types: HashSet::new(),
            schemas: HashMap::new(),
        }
    }

    fn add(&mut self, row: Row) {
        match row {
            Row::Relation(relation) => self.add_relation(*relation),
            Row::Function(function) => {
                self.functions.entry(function.name.clone()).or_default().push(function);
            }
            Row::Operator { schema, name } => self.operators.entry(name).or_default().push(schema),
            Row::Cast { schema, name } => {
                // Types every server has are the ends of most such casts; they do not make every cast suspect.
                if schema != "pg_catalog" {
                    self.cast_types.insert(name);
                }
            }
            Row::Schema { name, usable } => {
                self.schemas.insert(name, usable);
            }
        }
    }

    pub(super) fn add_relation(&mut self, relation: Relation) {
        let relation = Arc::new(relation);
        if relation.oid != 0 {
            self.by_oid.insert(relation.oid, Arc::clone(&relation));
        }
        self.relations.entry(relation.schema.clone()).or_default().insert(relation.name.clone(), relation);
    }

    fn link(&mut self) {
        for relation in self.by_oid.values() {
            for parent in &relation.parents {
                self.descendants.entry(*parent).or_default().push(relation.oid);
            }
        }
    }
}

impl Relation {
    /// A relation of which only schema, name and columns matter: what tests and a session's own tables need.
    pub fn simple(schema: &str, name: &str, columns: &[&str]) -> Self {
        Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: RelationKind::Table,
            columns: columns
                .iter()
                .map(|name| Column { name: (*name).to_owned(), ..Column::default() })
                .collect(),
            ..Self::default()
        }
    }
}
