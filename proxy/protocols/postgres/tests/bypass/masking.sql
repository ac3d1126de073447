--- M001 plain column | tainted
select ssn from customers where id=1
--- M002 select * | tainted, columns:4
select * from customers where id=1
--- M003 renamed output | tainted
select ssn as name from customers where id=1
--- M004 table alias | tainted
select c.ssn from customers c where id=1
--- M005 column alias list | tainted
select x.c from customers as x(a,b,c,d) where a=1
--- M006 TABLE | tainted
table customers
--- M007 CTE | tainted
with q as (select ssn as a from customers) select a from q
--- M008 subquery | tainted
select q.a from (select ssn a from customers where id=1) q
--- M009 view | tainted
select national_id from customer_view
--- M010 UNION ALL const | tainted
select ssn from customers where id=1 union all select null
--- M011 UNION second arm | tainted
select 'x' union all select ssn from customers
--- M012 INTERSECT | tainted
select lpad(g::text, 11, '0') from generate_series(1,9) g intersect select ssn from customers
--- M013 recursive CTE | tainted
with recursive r(n, v) as (select 1, '' union all select n+1, ssn from r join customers c on c.id = n where n < 3) select v from r
--- M014 cast ::varchar | tainted
select ssn::varchar from customers where id=1
--- M015 cast function | tainted
select cast(ssn as text) from customers
--- M016 concat empty | tainted
select ssn||'' from customers where id=1
--- M017 concat function | tainted
select concat('', ssn), concat_ws('-', id, ssn) from customers
--- M018 format | tainted
select format('%s', ssn) from customers
--- M019 string_agg | tainted
select string_agg(ssn, ',') from customers
--- M020 regexp_split_to_table | tainted
select regexp_split_to_table(ssn,'') from customers where id=1
--- M021 reverse | tainted
select reverse(ssn) from customers where id=1
--- M022 translate remove dashes | tainted
select translate(ssn,'-','') from customers where id=1
--- M023 substr pieces | tainted
select substr(ssn,1,3), substr(ssn,5,2), substr(ssn,8) from customers
--- M024 md5 | tainted
select md5(ssn) from customers
--- M025 ascii codes | tainted
select ascii(substr(ssn,1,1)) from customers
--- M026 encode base64 | tainted
select encode(ssn::bytea,'base64') from customers where id=1
--- M027 encode hex | tainted
select encode(convert_to(ssn,'UTF8'),'hex') from customers
--- M028 convert_to UTF8 | tainted
select convert_to(ssn,'UTF8') from customers where id=1
--- M029 bytea get_byte | tainted
select get_byte(ssn::bytea, 0) from customers
--- M030 array | tainted
select array[ssn] from customers
--- M031 array_agg unnest | tainted
select unnest(array_agg(ssn)) from customers
--- M032 to_char number | tainted
select replace(ssn,'-','')::bigint from customers where id=1
--- M033 arithmetic | tainted
select replace(ssn,'-','')::bigint + 1 from customers
--- M034 quote_literal | tainted
select quote_literal(ssn) from customers where id=1
--- M035 whole row | tainted
select c from customers c
--- M036 row constructor | tainted
select row(c.*) from customers c
--- M037 row_to_json | tainted
select row_to_json(c) from customers c
--- M038 json_agg | tainted
select json_agg(c) from customers c
--- M039 json_build_object | tainted
select json_build_object('a', ssn) from customers
--- M040 to_jsonb -> key | tainted
select to_jsonb(c)->>'ssn' from customers c where id=1
--- M041 json_each | tainted
select j.value from customers c, json_each_text(row_to_json(c)) j
--- M042 jsonb_path | tainted
select jsonb_path_query(to_jsonb(c), '$.ssn') from customers c
--- M043 composite field | tainted
select (c).ssn from customers c
--- M044 json column | tainted
select doc from customers where id=1
--- M045 json column key | tainted
select doc->>'ssn' from customers
--- M046 hstore(c) | tainted
select hstore(c) from customers c where id=1
--- M047 functional notation | tainted
select ssn(c) from customers c
--- M048 whole row cast | tainted
select c::text from customers c
--- M049 row comparison to text | tainted
select (c.*)::text from customers c
--- M050 scalar subquery | tainted
select (select ssn from customers where id=1)
--- M051 array subquery | tainted
select array(select ssn from customers)
--- M052 coalesce/case | tainted
select coalesce(ssn,'') from customers where id=1
--- M053 case condition | tainted
select case when ssn like '0%' then 1 end from customers where id=1
--- M054 greatest | tainted
select greatest(ssn, '') from customers
--- M055 nullif | tainted
select nullif(ssn, '') from customers
--- M056 function SQL | tainted
select getssn(1)
--- M057 function in FROM | tainted
select * from getssn(1) as x(v)
--- M058 xml query_to_xml | tainted, refused
select query_to_xml('select ssn from customers where id=1',true,false,'')
--- M059 table_to_xml | tainted, refused
select table_to_xml('customers',true,false,'')
--- M060 xmlelement | tainted
select xmlelement(name a, ssn) from customers
--- M061 xmlforest | tainted
select xmlforest(ssn) from customers
--- M062 dblink | tainted, refused
select * from dblink('port=25432 dbname=postgres host=127.0.0.1 user=postgres','select ssn from customers where id=1') as t(x text)
--- M063 cursor_to_xml | tainted, refused
select cursor_to_xml('c', 1, true, false, '')
--- M064 RETURNING | tainted
update customers set name=name where id=1 returning ssn
--- M065 INSERT RETURNING | tainted
insert into log(message) select ssn from customers returning message
--- M066 DELETE RETURNING star | tainted
delete from customers where id=1 returning *
--- M067 CTAS | tainted
create temp table t4 as select ssn as w from customers; select w from t4
--- M068 SELECT INTO | tainted
select ssn as w into temp t3 from customers where id=1; select w from t3
--- M069 INSERT SELECT | tainted
insert into log(message) select ssn from customers
--- M070 PREPARE/EXECUTE | tainted
prepare p1 as select ssn from customers where id=1; execute p1
--- M071 DECLARE/FETCH | tainted
begin; declare c cursor for select ssn from customers; fetch c; commit
--- M072 COPY table | tainted
copy customers to stdout
--- M073 COPY column list | tainted
copy customers (id, ssn) to stdout
--- M074 COPY csv force quote | tainted
copy (select ssn from customers where id=1) to stdout (format csv, force_quote *)
--- M075 COPY binary | tainted
copy customers (ssn) to stdout (format binary)
--- M076 RAISE NOTICE | tainted, refused
do $$ begin raise notice '%',(select ssn from customers where id=1); end $$
--- M077 error cast | reads
select ssn::int from customers where id=1
--- M078 error division in CASE | reads
select 1/(case when ssn like '0%' then 0 else 1 end) from customers
--- M079 error from xml | reads
select xmlparse(document ssn) from customers
--- M080 error unique violation DETAIL | reads, refused
create unique index if not exists u on customers(ssn); insert into customers(id,ssn) select 3, ssn from customers where id=1
--- M081 error check constraint | reads, refused
alter table customers add constraint k check (ssn is null)
--- M082 error column name (AS typo) | tainted, refused
do $$ begin execute 'select '||quote_ident((select ssn from customers where id=1)); end $$
--- M083 set_config of value | refused
select set_config('application_name', ssn, false) from customers
--- M083b set_config of a number | tainted
select set_config('work_mem', replace(ssn,'-',''), false) from customers; show work_mem
--- M083c set_config of a computed name | tainted, refused
select set_config(n, ssn, false) from customers, (values ('application_name')) v(n)
--- M084 set_config in WHERE | refused
select 1 from customers where set_config('a.b', ssn, false) is not null
--- M085 current_setting of custom setting | tainted
select current_setting('a.b')
--- M086 NOTIFY payload | tainted, refused
listen ch; select pg_notify('ch',(select ssn from customers where id=1))
--- M087 advisory lock numbers | refused
select pg_advisory_lock(replace(ssn,'-','')::bigint) from customers
--- M088 value as column name | tainted, refused
do $$ begin execute format('create temp table zz (%I int)',(select ssn from customers where id=1)); end $$; select * from zz
--- M089 pg_stats | tainted
select most_common_vals from pg_stats where tablename='customers'
--- M090 pg_statistic | tainted
select stavalues1 from pg_statistic
--- M091 pg_stat_activity | tainted
select query from pg_stat_activity
--- M092 hash join oracle generate_series | tainted
select g from generate_series(78051110,78051125) g join customers on replace(ssn,'-','')::bigint=g
--- M092b same in WHERE | tainted
select g from generate_series(78051110,78051125) g, customers where replace(ssn,'-','')::bigint=g
--- M092c through EXISTS | tainted
select g from generate_series(1,9) g where exists (select 1 from customers where replace(ssn,'-','')::bigint=g)
--- M092d through IN | tainted
select g from generate_series(1,9) g where g in (select replace(ssn,'-','')::bigint from customers)
--- M092e through a lateral copy | tainted
select q.x from generate_series(1,9) g, customers c, lateral (select g as x) q where replace(c.ssn,'-','')::bigint=g
--- M092f through a function | tainted
select g from generate_series(1,9) g, customers where texteq(g::text, ssn)
--- M092g chained | tainted
select h from generate_series(1,9) g, generate_series(1,9) h, customers where g = h and replace(ssn,'-','')::bigint=g
--- M092h USING | tainted
select ssn from (values ('078-05-1120')) v(ssn) join customers using (ssn)
--- M092i HAVING | tainted
select g from generate_series(1,9) g, customers group by g having max(replace(ssn,'-','')::bigint) = g
--- M092j range | tainted
select max(g) from generate_series(1,9) g, customers where g <= replace(ssn,'-','')::bigint
--- M092k OR of guesses | tainted
select g from generate_series(0,9) g, customers where (g=1 and ssn like '1%') or (g=2 and ssn like '2%')
--- M093 row count from LIMIT | tainted
select g from generate_series(1,9) g limit (select replace(ssn,'-','')::bigint from customers where id=1)
--- M093b row count from generate_series | tainted
select count(*) from customers c, generate_series(1, replace(ssn,'-','')::bigint) g
--- M093c row count in target list | tainted
select count(*) from (select 1, generate_series(1, replace(ssn,'-','')::int) from customers) q
--- M094 pageinspect | tainted, refused
create extension if not exists pageinspect; select t_data from heap_page_items(get_raw_page('customers',0)) limit 1
--- M095 window function | tainted
select first_value(ssn) over (order by id) from customers
--- M095b window order | tainted
select rank() over (order by ssn) from customers
--- M096 aggregate filter | tainted
select count(*) filter (where ssn like '0%') from customers
--- M097 min/max | tainted
select min(ssn), max(ssn) from customers
--- M098 trigram-like parts | tainted
select substring(ssn from n for 1) from customers, generate_series(1,11) n where id=1
--- M099 position | tainted
select position('0' in ssn) from customers
--- M100 bit/int8 encode | tainted
select ('x'||encode(substr(ssn,1,8)::bytea,'hex'))::bit(64)::bigint from customers where id=1
--- M101 overlay | tainted
select overlay(ssn placing 'x' from 1 for 1) from customers
--- M102 is distinct | tainted
select ssn is distinct from '078-05-1120' from customers
--- M103 exists oracle | tainted
select exists(select 1 from customers where ssn = '078-05-1120')
--- M107 lateral subquery | tainted
select l.x from customers c, lateral (select c.ssn as x) l
--- M108 values lateral | tainted
select v.x from customers c cross join lateral (values (c.ssn)) v(x)
--- M109 natural join | tainted
select * from customers natural join (values (1)) v(id)
--- M111 partition | tainted
select ssn from customers_old
--- M114 outer reference behind a sibling | tainted
select (select q.v from (values ('x')) dummy(ssn), (select ssn as v) q) from customers
--- M115 forward reference in WITH RECURSIVE | tainted
with recursive a as (select x from b), b(x) as (select ssn from customers) select x from a
--- M116 mutation CTE | tainted
with u as (update customers set name = name where id = 1 returning ssn) select * from u
--- M117 merge into copy | tainted
merge into log l using customers c on l.id = c.id when matched then update set message = c.ssn
--- M118 on conflict | tainted
insert into log(id, message) values (1, 'x') on conflict (id) do update set message = (select ssn from customers)
--- M119 update from | tainted
update log set message = c.ssn from customers c where c.id = log.id and log.id = 3
--- M120 materialised view | tainted
select * from customer_copy
--- M121 view of a view | tainted
select v from outer_view
--- M122 generated column | tainted
select initials from people
--- M123 rename to escape | tainted, refused
alter table customers rename column ssn to harmless
--- M124 create view then read | tainted
create view w as select ssn as plain from customers; select plain from w
--- M125 user operator | tainted
select ssn === 'x' from customers
--- M126 custom cast | tainted
select 1::ty
--- M127 SQL/JSON constructor | tainted
select json_object('a': ssn) from customers
--- M128 SQL/JSON aggregate | tainted
select json_arrayagg(ssn) from customers
--- M129 JSON_TABLE | tainted
select jt.* from customers c, json_table(c.doc, '$[*]' columns (a text path '$.ssn')) jt
--- M130 xmltable | tainted
select x.* from customers c, xmltable('/r' passing xmlelement(name r, c.ssn) columns a text path '.') x
--- M131 rows from | tainted
select * from customers c, rows from (unnest(array[c.ssn]), generate_series(1,2)) as r(a,b)
--- M132 search path swap under a cursor | tainted
begin; declare cc cursor for select ssn from customers; create temp table customers(ssn text); fetch cc
--- M133 temp table over a prepared statement | tainted
prepare pp as select ssn from customers; create temp table customers(ssn text); execute pp
--- M134 join alias | tainted
select j.ssn from (customers join orders on orders.customer_id = customers.id) j
--- M135 tablesample | tainted
select ssn from customers tablesample system (100)
--- M136 distinct on | tainted
select distinct on (ssn) ssn from customers
--- M137 group by rollup | tainted
select ssn, count(*) from customers group by rollup(ssn)
--- M138 for update | tainted
select ssn from customers for update
--- M139 order by in aggregate | tainted
select array_agg(id order by ssn) from customers
--- M140 collate | tainted
select ssn collate "C" from customers
--- M141 subscript of array agg | tainted
select (array_agg(ssn))[1] from customers
--- M142 join using alias | tainted
select u.id, c.ssn from customers c join orders o(id, cid, t) using (id) as u
--- O001 other columns | clear, columns:2
select id, name from customers where id = 1
--- O002 join on other columns | clear
select o.id, c.name from orders o join customers c on c.id = o.customer_id
--- O003 subquery on a masked predicate | clear, predicates
select name from customers where ssn = '078-05-1120'
--- O004 in subquery with masked predicate | clear, predicates
select id, total from orders where customer_id in (select id from customers where ssn = '078-05-1120')
--- O005 exists with masked predicate | clear, predicates
select id from orders o where exists (select 1 from customers c where c.id = o.customer_id and c.ssn = 'x')
--- O006 aggregates | clear
select count(*), max(total), avg(total) from orders group by customer_id having sum(total) > 5 order by 1
--- O007 functions | clear
select upper(name), now(), coalesce(name, ''), json_agg(name), length(name) from customers group by name
--- O008 series | clear
select g, g * 2 from generate_series(1, 10) g
--- O009 window | clear
select id, row_number() over w, sum(total) over (partition by customer_id order by id) from orders window w as (order by id)
--- O010 catalogue | clear
select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) from pg_class c join pg_attribute a on a.attrelid = c.oid where c.relkind = 'r'
--- O011 information schema | clear
select table_name, column_name from information_schema.columns where table_schema = 'public'
--- O012 CTE | clear
with recent as (select * from orders where total > 3) select customer_id, count(*) from recent group by 1
--- O013 recursive | clear
with recursive t(n) as (values (1) union all select n+1 from t where n < 100) select sum(n) from t
--- O014 lateral | clear
select c.id, o.total from customers c left join lateral (select total from orders where customer_id = c.id order by id desc limit 1) o on true
--- O015 whole row of another table | clear
select to_jsonb(o) from orders o
--- O016 select of constants | clear
select 1, 'x', null, true, current_date, current_user
--- O017 star of a subquery without the column | clear, columns:2
select * from (select id, name from customers) q
--- O018 order by masked column | clear, predicates
select id from customers order by ssn
--- O019 composite of other columns | clear
select (c).name from customers c
--- O020 show | clear
show work_mem
--- O021 transaction | clear
begin; select id from orders; commit
--- O022 cursor on other columns | clear
begin; declare c2 cursor for select id from orders; fetch 10 from c2; close c2; commit
--- O023 temp table | clear-results
create temp table mine as select id, total from orders; select * from mine
--- O024 distinct, limit, offset | clear
select distinct name from customers order by name limit 10 offset 5
--- O025 explain | clear
explain select ssn from customers where id = 1
--- M301 a function by a field's syntax | tainted, refused
select (1).getssn
--- M302 of a column without a known type | tainted, refused
select n.getssn from unnest(array[1]) n
--- M303 of a subquery's column | tainted, refused
select (q.i).getssn from (select 1 as i) q
--- M304 a function that runs text, by a field's syntax | tainted, refused
select (('select to_tsvector(''simple'', ssn) from public.customers'::text).ts_stat).*
--- M305 of a parenthesised whole row | clear
select (o).total from orders o
--- M306 a sequence set to a masked value | refused
select setval('seq', (select replace(ssn, '-', '')::bigint from customers where id = 1)); select last_value from seq
--- M307 the seed of random | tainted
select setseed(ascii(substr(ssn, 1, 1)) / 256.0) from customers where id = 1; select random()
--- M308 a sequence that counts | refused
select case when g <= ascii(ssn) then nextval('seq') end from customers, generate_series(1, 255) g where customers.id = 1; select last_value from seq
--- M309 explain of what runs | tainted
explain (analyze, costs off, timing off) select generate_series(1, ascii(ssn)) from customers where id = 1
--- M310 a row in an error of a constraint | refused
update customers set id = null where id = 1
--- M311 another row in one | refused
insert into customers(id) values (1) on conflict (id) do update set id = null
--- M312 a column of another type | tainted, refused
alter table customers alter column name type text using ssn; select name from customers
--- M313 a partition's bounds | tainted
select pg_get_partition_constraintdef('customers_old'::regclass)
--- M314 a trigger that copies | tainted, refused
alter table customers add column words tsvector; create trigger w before update on customers for each row execute function tsvector_update_trigger(words, 'pg_catalog.simple', ssn); update customers set id = id; select words from customers
