//! Extensions in a schema that everybody's path has, as most databases keep them: with rules that allow reading only,
//! what computes goes through, and what acts does not.

use crate::client::{field, tags};
use crate::gateway::Gateway;

const POLICY: &str = "
rules:
- {name: reads, action: Allow, postgresql: {effects: [Connect, Select, Transaction]}}
masking:
- {columns: [public.people.ssn]}
";
/// Made by a role that is no superuser: it owns these extensions, and may add functions of its own to them.
const SCHEMA: &str = "
create extension citext;
create extension hstore;
create extension pg_trgm;
create extension pgcrypto;
create extension unaccent;
create extension \"uuid-ossp\";
create extension fuzzystrmatch;
create extension tablefunc;
create table people(id int, name citext, ssn text, tags hstore);
insert into people values (1, 'Ada', '078-05-1120', 'a=>1');
create table touched(i int);
create function acting(citext) returns int language plpgsql as 'begin insert into touched values (1); return 1; end';
alter extension citext add function acting(citext);
create function lent(citext) returns text language sql as 'select $1::text';
alter extension citext add function lent(citext);
create function touching(citext, int) returns boolean language plpgsql as 'begin insert into touched values (1); return true; end';
create operator === (leftarg = citext, rightarg = int, function = touching);
create function evil(citext, citext) returns boolean language plpgsql as 'begin insert into touched values (1); return true; end';
create operator <!> (leftarg = citext, rightarg = citext, function = evil);
create operator && (leftarg = citext, rightarg = citext, function = citext_eq, negator = <!>);
create operator @@ (leftarg = citext, rightarg = citext, function = citext_eq);
alter extension citext add operator @@ (citext, citext);
";

const COMPUTING: &[&str] = &[
    "select max(name), min(name) from people",
    "select replace(name, 'a', 'b'), split_part(name, 'd', 1), strpos(name, 'd') from people",
    "select id from people where name = 'ADA' and name like 'a%' and name ~ 'd'",
    "select id from people where name ilike any (array['a%', 'b%']) order by name",
    "select name::text, 'x'::citext, true::citext from people",
    "select similarity(name::text, 'ad'), word_similarity('a', name::text) from people where name::text % 'ada'",
    "select gen_random_uuid(), uuid_generate_v4(), gen_salt('bf'), encode(digest('a', 'sha256'), 'hex')",
    "select crypt('a', gen_salt('md5')), pgp_sym_decrypt(pgp_sym_encrypt('a', 'b'), 'b')",
    "select tags -> 'a', tags ? 'a', tags || 'b=>2'::hstore, hstore('a', 'b'), exist(tags, 'a') from people",
    "select unaccent('é'), levenshtein('a', 'b'), soundex('a'), metaphone('Ada', 4)",
    "select * from levenshtein('a', 'b') as distance",
];

const ACTING: &[&str] = &[
    "select acting(name) from people",
    "select public.acting('a')",
    "select lent(name) from people",
    "select id from people where name === 1",
    "select id from people where not (name && 'b')",
    "select id from people where name @@ 'b'",
    "select count(*) from people group by lent(name)",
    "select * from crosstab('select 1, 2, 3') as c(a int, b int, c int)",
    "select set_limit(0.5)",
    "select * from each('a=>1'::hstore)",
];

const TAINTED: &[&str] = &[
    "select similarity(ssn, '078-05-1120') from people",
    "select encode(digest(ssn, 'sha256'), 'hex') from people",
    "select max(ssn::citext) from people",
    "select replace(ssn::citext, '-', '') from people",
    "select hstore('a', ssn) from people",
    "select hstore(people) from people",
    "select pgp_sym_decrypt(pgp_sym_encrypt(ssn, 'b'), 'b') from people",
    "select levenshtein(ssn, '') from people",
    "select l from people, levenshtein(ssn, '') as l",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_well_known_extensions_compute_is_no_call() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    for sql in COMPUTING {
        let answer = raw.ask(sql).await;
        assert_eq!(tags(&answer), "TDCZ", "{sql}: {answer:?}");
    }
    for sql in ACTING {
        let answer = raw.ask(sql).await;
        assert_eq!((tags(&answer), field(&answer, 'E', 'C')), ("EZ".to_owned(), "42501".to_owned()), "{sql}");
    }
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from touched"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_extensions_compute_of_a_masked_column_is_masked() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    for sql in TAINTED {
        let direct = gateway.server.sql(&gateway.database, sql);
        let answer = raw.ask(sql).await;
        assert_eq!(tags(&answer), "TDCZ", "{sql}: {answer:?}");
        let row = &answer[1].body;
        assert!(!row.windows(direct.len()).any(|part| part == direct.as_bytes()), "{sql}: {direct}");
        assert!(row.windows(6).any(|part| part == b"MASKED") || row.ends_with(&[0xff; 4]), "{sql}: {row:?}");
    }
}
