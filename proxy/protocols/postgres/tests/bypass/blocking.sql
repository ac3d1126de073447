--- Q01 plain | refused, touch:Drop public.victim
drop table victim cascade
--- Q02 mixed case | refused, touch:Drop public.victim
DrOp TaBlE victim cascade
--- Q03 newlines and tabs | touch:Drop public.victim
drop
	table
victim
--- Q04 form feeds | touch:Drop public.victim
droptablevictim
--- Q05 comment between | touch:Drop public.victim
drop/**/table/**/victim
--- Q06 nested comment | refused, touch:Drop public.victim
drop /* a /* b */ c */ table victim cascade
--- Q07 line comment | touch:Drop public.victim
drop -- table
table victim
--- Q08 leading comment | refused, touch:Drop public.victim
/* select */ drop table victim cascade
--- Q09 schema cascade | refused, touch:Drop public
drop schema public cascade
--- Q10 multi-statement | refused, touch:Drop public.victim
select 1; drop table victim cascade
--- Q11 database | refused, touch:Drop app
drop database app
--- Q12 string w/ backslash std_conf | refused
select 'a\'; drop table victim cascade; --'
--- Q13 E-string | clear
select E'a\'; drop table victim cascade; --'
--- Q14 U& identifier | refused, touch:Delete public.victim (unbounded)
delete from U&"\0076ictim"
--- Q15 no where | refused, touch:Delete public.victim (unbounded)
delete from victim
--- Q16 quoted identifier | refused, touch:Delete public.victim (unbounded)
delete from "victim"
--- Q17 schema qualified | refused, touch:Delete public.victim (unbounded)
delete from public.victim
--- Q18 db.schema.table | refused, touch:Delete public.victim (unbounded)
delete from postgres.public.victim
--- Q19 only | refused, touch:Delete public.victim (unbounded)
delete from only victim
--- Q20 alias + true where | refused, touch:Delete public.victim (unbounded)
delete from victim v where true
--- Q20b 1=1 | touch:Delete public.victim (unbounded)
delete from victim where 1=1
--- Q21 id = id | touch:Delete public.victim (unbounded)
delete from victim where id = id
--- Q21b or true | touch:Delete public.victim (unbounded)
delete from victim where id = 1 or true
--- Q21c like percent | touch:Delete public.victim (unbounded)
delete from victim where t like '%'
--- Q21d not equal | touch:Delete public.victim (unbounded)
delete from victim where id <> 0
--- Q21e exists | touch:Delete public.victim (unbounded)
delete from victim where exists (select 1)
--- Q21f in subquery | touch:Delete public.victim (unbounded)
delete from victim where id in (select id from victim)
--- Q21g bounded | touch:Delete public.victim, not:(unbounded)
delete from victim where id = 1
--- Q21h bounded by parameter | not:(unbounded)
delete from victim where id = $1 and t <> 'x'
--- Q21i bounded by list | not:(unbounded)
update victim set t = 'x' where id in (1, 2, 3)
--- Q21j using join | touch:Delete public.victim (unbounded)
delete from victim using orders o where o.id = victim.id
--- Q22 where id is not null | refused, touch:Delete public.victim (unbounded)
delete from victim where id is not null
--- Q23 update all | touch:Update public.victim (unbounded)
update victim set t = null
--- Q24 CTE DML | refused, touch:Delete public.victim (unbounded)
with d as (delete from victim returning 1) select count(*) from d
--- Q25 CTE update | refused, touch:Update public.victim (unbounded)
with d as (update victim set t='' returning 1) insert into log(id) select 1 from d
--- Q26 EXPLAIN ANALYZE DELETE | refused, touch:Delete public.victim (unbounded)
explain analyze delete from victim
--- Q26b EXPLAIN (ANALYZE) | refused, touch:Delete public.victim (unbounded)
explain (costs off, analyze true) delete from victim
--- Q26c EXPLAIN alone | not:Delete
explain delete from victim
--- Q27 DO | refused
do $$ begin delete from victim; end $$
--- Q28 DO dynamic concat | refused
do $$ begin execute 'del'||'ete from victim'; end $$
--- Q30 DO convert_from hex | refused
do $$ begin execute convert_from('\x64726f70207461626c652076696374696d2063617363616465','UTF8'); end $$
--- Q32 DO E-string body | refused
do E'begin execute \x27drop table victim cascade\x27; end'
--- Q33 call | refused
call drop_everything()
--- Q34 query_to_xml dynamic | refused
select query_to_xml('with d as (delete from victim returning 1) select * from d',true,false,'')
--- Q36 function call SQL fn | refused, touch:Call public.fd
drop function if exists fd(); create function fd() returns int language sql as 'delete from victim; select 1'; select fd()
--- Q37 existing function | refused, touch:Call public.fd
select fd()
--- Q38 trigger side effect | refused
create table if not exists tg(a int); create or replace function tf() returns trigger language plpgsql as $$ begin delete from victim; return new; end $$; create trigger t before insert on tg for each row execute function tf(); insert into tg values (1)
--- Q39 rule | refused, touch:Create public.orders.r
create rule r as on insert to orders do also delete from victim
--- Q40 delete via view | refused, touch:Delete public.vv (unbounded), touch:Delete public.victim (unbounded)
delete from vv
--- Q41 truncate | refused, touch:Truncate public.victim (unbounded)
truncate victim
--- Q42 TRUNCATE multi | refused, touch:Truncate public.victim (unbounded)
create temp table x2(); truncate x2, victim cascade
--- Q43 merge update | touch:Update public.victim (unbounded)
merge into victim v using (select 1) s on true when matched then update set t = ''
--- Q44 MERGE delete | refused, touch:Delete public.victim (unbounded)
merge into victim v using (select 1) s on true when matched then delete
--- Q45 insert on conflict | touch:Update public.victim, touch:Insert public.victim
insert into victim values (1) on conflict (id) do update set t = 'x'
--- Q46 ALTER drop column | refused, touch:Alter public.victim
alter table victim drop column t cascade
--- Q46b rename | refused, touch:Alter public.victim
alter table victim rename to gone
--- Q46c set schema | refused, touch:Alter public.victim
alter table victim set schema other
--- Q46d owner | refused, touch:Grant public.victim
alter table victim owner to mallory
--- Q46e type using | refused, touch:Call public.fd
alter table victim alter column t type int using fd()
--- Q47 reassign owned | refused
reassign owned by postgres to mallory
--- Q48 DROP OWNED | refused, touch:Drop nobody_x
drop owned by nobody_x
--- Q49 search path | refused
set search_path = other
--- Q50 set search_path swap | refused, touch:Delete public.victim (unbounded)
set search_path=pg_temp,public; create temp table victim(id int); delete from public.victim
--- Q50b temp table shadows | touch:Delete pg_temp.victim (unbounded)
create temp table victim(id int); delete from victim
--- Q51 copy from program | refused, touch:ServerFile
copy victim from program 'echo 3'
--- Q52 copy to program | refused, touch:ServerFile
copy victim to program 'cat > /tmp/x'
--- Q53 copy to file | refused, touch:ServerFile
copy victim to '/tmp/x'
--- Q53b copy from stdin | refused, touch:Insert public.victim
copy victim from stdin
--- Q54 COPY query DML returning | refused, touch:Delete public.victim (unbounded)
copy (delete from victim returning id) to stdout
--- Q55 CTAS with DML | refused, touch:Delete public.victim (unbounded)
create temp table y0 as with d as (delete from victim returning *) select * from d
--- Q56 CREATE TABLE AS w/ fn | refused, touch:Call public.fd
create temp table y1 as select fd()
--- Q57 select into | refused, touch:Create pg_temp.y2
select * into temp y2 from victim
--- Q58 DECLARE cursor w/ fn | refused, touch:Call public.fd
begin; declare c cursor for select fd(); fetch c; commit
--- Q59 default with fn | refused, touch:Call public.fd
create table dd(a int default fd())
--- Q60 TABLE of view calling fn | refused, touch:Call public.fd
table vf
--- Q61 fn in order by | refused, touch:Call public.fd
select 1 from orders order by fd()
--- Q61b fn in limit | refused, touch:Call public.fd
select 1 from orders limit fd()
--- Q61c fn in window | refused, touch:Call public.fd
select count(*) over (partition by fd()) from orders
--- Q61d fn in FROM | refused, touch:Call public.fd
select * from fd()
--- Q61e fn in VALUES | refused, touch:Call public.fd
values (fd())
--- Q61f fn in JOIN | refused, touch:Call public.fd
select 1 from orders a join orders b on a.id = fd()
--- Q61g fn in GROUP BY | refused, touch:Call public.fd
select 1 from orders group by fd()
--- Q61h fn in an argument | refused, touch:Call public.fd
select upper(fd()::text)
--- Q61i fn in a tablesample | refused, touch:Call public.fd
select 1 from orders tablesample system (fd())
--- Q61j qualified fn | refused, touch:Call public.fd
select public.fd()
--- Q62 index expression fn | refused, touch:Call public.fd
create index on orders ((fd()))
--- Q63 user operator | refused, touch:Call public.===
select 1 === 2
--- Q64 cast custom | refused
select 1::ty
--- Q65 lock | refused, touch:Lock public.victim
lock table victim in access exclusive mode
--- Q65b for update | refused, touch:Lock public.victim
select * from victim for update
--- Q66 ALTER SYSTEM | refused, touch:Administer
alter system set log_statement = 'none'
--- Q67 load | refused, touch:Administer
load 'auto_explain'
--- Q67b checkpoint | refused, touch:Administer
checkpoint
--- Q67c discard | touch:Set *
discard all
--- Q68 LISTEN/plpgsql DO lang sql injection | refused
do language plpgsql 'begin delete from victim; end'
--- Q70 NBSP between keywords (should fail) | refused
drop table victim
--- Q71 prepare and execute | refused, touch:Delete public.victim (unbounded)
prepare zz as delete from victim; execute zz
--- Q71b execute of unknown | refused
execute nothing_known
--- Q71c fetch of unknown | refused
fetch all from nothing_known
--- Q72 psql-like \; combined | refused
select 1\; delete from victim
--- Q73 terminate | refused, touch:Call pg_catalog.pg_terminate_backend
select pg_terminate_backend(1)
--- Q73b read file | refused, touch:Call pg_catalog.pg_read_file
select pg_read_file('/etc/passwd')
--- Q73c ls | refused, touch:Call pg_catalog.pg_ls_dir
select * from pg_ls_dir('.')
--- Q73d reload | refused, touch:Call pg_catalog.pg_reload_conf
select pg_catalog.pg_reload_conf()
--- Q73e advisory | refused, touch:Call pg_catalog.pg_advisory_lock
select pg_advisory_lock(1)
--- Q74 pg_sleep lock | refused, touch:Lock public.victim
begin; lock table victim in access exclusive mode; rollback
--- Q74b sleep | refused, touch:Call pg_catalog.pg_sleep
select pg_sleep(1000)
--- Q75 lo_import | refused, touch:Call pg_catalog.lo_import
select lo_import('/etc/passwd')
--- Q76 lo_export | refused, touch:Call pg_catalog.lo_export
select lo_from_bytea(77777,'x'); select lo_export(77777,'lo.out'); select lo_unlink(77777)
--- Q77 setval | refused, touch:Update public.seq
select setval('seq', 1)
--- Q77b nextval | refused, touch:Update public.seq
select nextval('seq')
--- Q78 create extension plpython-like | refused, touch:Create file_fdw
create extension if not exists file_fdw
--- Q79 grant | refused, touch:Grant public.victim
grant all on victim to public
--- Q79b role membership | refused, touch:Grant postgres
grant postgres to mallory
--- Q79c create role | refused, touch:Create mallory
create role mallory superuser
--- Q80 VACUUM FULL | refused, touch:Maintain public.victim
vacuum full victim
--- Q80b refresh | refused, touch:Maintain public.customer_copy
refresh materialized view customer_copy
--- Q80c cluster | refused, touch:Maintain public.victim
cluster victim using victim_pkey
--- Q81 set role | refused, touch:Set role
set role postgres
--- Q81b session authorization | refused, touch:Set role
set session authorization postgres
--- Q81c set_config role | refused, touch:Set role
select set_config('role', 'postgres', false)
--- Q82 ALTER ROLE | refused, touch:Alter postgres
alter role postgres set work_mem='4MB'
--- Q83 comment on | refused, touch:Alter public.victim
comment on table victim is 'x'
--- Q84 event trigger | refused
create event trigger e on ddl_command_start execute function tf()
--- Q85 publication | refused
create publication p for all tables
--- Q86 subscription | refused
create subscription s connection 'host=evil' publication p
--- Q87 foreign server | refused
create server s foreign data wrapper postgres_fdw options (host 'evil')
--- Q88 security label | refused
security label on table victim is 'x'
--- Q89 drop trigger | refused, touch:Drop public.victim.t
drop trigger t on victim
--- Q90 attach partition | refused, touch:Alter public.orders
alter table orders attach partition victim default
--- Q91 on partition | refused, touch:Delete public.customers_old (unbounded), touch:Delete public.customers (unbounded)
delete from customers_old
--- Q92 commit prepared | refused
commit prepared 'x'
--- Q93 import foreign schema | refused
import foreign schema s from server x into public
--- Q100 client encoding at once | refused
set client_encoding = 'GBK'; select 'x'
--- Q101 set names | refused
set names 'SJIS'
--- Q102 SET client_encoding | refused
SET client_encoding='SJIS'
--- Q102b utf8 is fine | touch:Set client_encoding
set client_encoding to 'UTF8'
--- Q103 set_config client_encoding | refused
select set_config('client_encoding', 'BIG5', false)
--- Q104 standard_conforming_strings | refused
SET standard_conforming_strings=off; select 'a\'; delete from victim; --'
--- Q105 set_config computed | refused
select set_config(lower('CLIENT_ENCODING'), 'SJIS', false)
--- Q106 a function by a field's syntax | refused, touch:Call public.fc
select (1).fc
--- Q107 the same in a condition | refused, touch:Call public.fc
select id from victim where (id).fc is not null
--- Q108 the same in COPY | refused, touch:Call public.fc
copy (select (1).fc) to stdout
--- Q109 set_config that does not run | refused
select set_config('search_path', 'other', false) where false
--- Q110 set_config in an expression | refused
select case when false then set_config('role', 'postgres', false) end
--- Q110b set_config of a parameter | touch:Set timezone
select set_config('TimeZone', $1, false)
--- Q110c set_config of a parameter that names depend on | refused
select set_config('search_path', $1, false)
--- Q110d set_config of a parameter, how texts are read | refused
select set_config('standard_conforming_strings', $1::text, false)
--- Q111 set_config that runs | touch:Set search_path
select set_config('search_path', 'other', true)
--- Q112 truncate cascade | refused
truncate log cascade
--- Q113 a condition of a domain | refused, touch:Call public.fd
create domain d as int check (fd() = value)
--- Q114 a condition of a policy | refused, touch:Call public.fd
create policy p on victim using (fd() = 1)
--- Q115 a condition of a trigger | refused, touch:Call public.fd
create trigger t2 before update on victim for each row when (fd() = new.id) execute function tf()
--- Q116 another spelling of a sequence | touch:Update public.seq
select setval('PUBLIC . "seq"', 5)
--- Q117 a sequence by number | refused
select setval('16384', 5)
