package sql

import "testing"

func TestNestedStatements(t *testing.T) {
	recognises(t, []recognised{
		{"EXPLAIN is judged as what it explains, and does not run it", "explain delete from t", "DELETE(+public.t) unfiltered reads in EXPLAIN"},
		{"EXPLAIN ANALYZE runs it", "explain analyze delete from t where id = 1", "DELETE(+public.t) in EXPLAIN"},
		{"EXPLAIN with ANALYZE as an option", "explain (analyze on, costs off) select * from a", "SELECT(public.a) reads in EXPLAIN"},
		{"EXPLAIN with ANALYZE off only reads", "explain (analyze false) insert into t values (1)", "INSERT(+public.t) reads in EXPLAIN"},
		{"EXPLAIN of CREATE TABLE AS", "explain analyze create table x as select * from a", "CREATE TABLE AS(+public.x public.a) in EXPLAIN; SELECT(public.a) reads in EXPLAIN/CREATE TABLE AS"},
		{"EXPLAIN EXECUTE", "explain execute p(1)", "EXECUTE() control reads in EXPLAIN"},
		{"PREPARE is judged as what it prepares", "prepare p (int) as delete from t where id = $1", "DELETE(+public.t) in PREPARE"},
		{"EXECUTE only names it", "execute p(1, 2)", "EXECUTE() control"},
		{"DECLARE CURSOR is judged as its query", "declare c cursor with hold for select * from a", "SELECT(public.a) reads in DECLARE CURSOR"},
		{"FETCH is session control", "fetch 10 from c", "FETCH() control reads"},
		{"MOVE is session control", "move all in c", "MOVE() control reads"},
		{"CLOSE is session control", "close all", "CLOSE CURSOR() control reads"},
		{"COPY out reads, and counts as a SELECT", "copy orders (id, total) to stdout", "COPY TO(public.orders) reads in SELECT"},
		{"COPY in writes, and counts as an INSERT", "copy orders from stdin with (format csv)", "COPY FROM(+public.orders) in INSERT"},
		{"COPY of a query", "copy (select * from a join b using (id)) to stdout", "COPY TO(public.a public.b) reads in SELECT; SELECT(public.a public.b) reads in COPY TO"},
		{"COPY of a data-modifying query", "copy (delete from orders returning *) to stdout", "COPY TO() in SELECT; DELETE(+public.orders) unfiltered"},
		{"COPY FROM with a condition", "copy orders from stdin where id > 3", "COPY FROM(+public.orders) in INSERT"},
		{"CREATE TABLE AS reads and creates", "create table x as select * from a", "CREATE TABLE AS(+public.x public.a); SELECT(public.a) reads in CREATE TABLE AS"},
		{"CREATE TABLE AS EXECUTE", "create table x as execute p", "CREATE TABLE AS(+public.x); EXECUTE() control"},
		{"SELECT INTO is a CREATE TABLE AS", "select * into x from a", "CREATE TABLE AS(+public.x public.a); SELECT(public.a) reads in CREATE TABLE AS"},
		{"SELECT INTO a temporary table, in a set operation", "select * into temp x from a union select * from b", "CREATE TABLE AS(+pg_temp.x public.a public.b); SELECT(public.a public.b) reads in CREATE TABLE AS"},
		{"CREATE MATERIALIZED VIEW", "create materialized view m as select * from a", "CREATE MATERIALIZED VIEW(+public.m public.a); SELECT(public.a) reads in CREATE MATERIALIZED VIEW"},
		{"CREATE VIEW reads what it shows", "create or replace view v as select * from a", "CREATE VIEW(+public.v public.a); SELECT(public.a) reads in CREATE VIEW"},
		{"CREATE RECURSIVE VIEW", "create recursive view v (n) as select 1 from a union all select n from v", "CREATE VIEW(+public.v public.a); SELECT(public.a) reads in CREATE VIEW"},
		{"CREATE RULE holds statements", "create rule r as on insert to t where new.id > 1 do instead (delete from a; insert into b values (new.id))", "CREATE RULE(+public.t); DELETE(+public.a) unfiltered in CREATE RULE; INSERT(+public.b) in CREATE RULE"},
		{"CREATE SCHEMA makes what it holds in itself", "create schema s create table t (id int) create view v as select * from t", "CREATE SCHEMA(+s.*); CREATE TABLE(+s.t) in CREATE SCHEMA; CREATE VIEW(+s.v s.t|public.t) in CREATE SCHEMA; SELECT(s.t|public.t) reads in CREATE SCHEMA/CREATE VIEW"},
	})
}

func TestOpaque(t *testing.T) {
	recognises(t, []recognised{
		{"DO is opaque", "do $$ begin delete from orders; end $$", "DO() opaque"},
		{"CALL is opaque", "call app.rebuild((select 1 from a))", "CALL(public.a) opaque; SELECT(public.a) reads in CALL"},
		{"CREATE FUNCTION is opaque", "create function f() returns int language sql as 'delete from orders returning 1'", "CREATE FUNCTION() opaque"},
		{"CREATE FUNCTION with a body in SQL is opaque and walked", "create function f() returns int begin atomic select 1 from a; end", "CREATE FUNCTION(public.a) opaque; SELECT(public.a) reads in CREATE FUNCTION"},
		{"CREATE PROCEDURE is opaque", "create procedure p() language plpgsql as $$ begin end $$", "CREATE PROCEDURE() opaque"},
		{"CREATE EXTENSION is opaque", "create extension dblink", "CREATE EXTENSION() opaque"},
		{"ALTER EXTENSION is opaque", "alter extension dblink update", "ALTER EXTENSION() opaque"},
		{"CREATE LANGUAGE is a CREATE EXTENSION", "create language plperl", "CREATE EXTENSION() opaque"},
	})
}
