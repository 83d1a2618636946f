CREATE EXTENSION dblink; CREATE EXTENSION tablefunc; CREATE EXTENSION pageinspect; CREATE EXTENSION file_fdw;
CREATE EXTENSION postgres_fdw; CREATE EXTENSION hstore; CREATE EXTENSION pgcrypto; CREATE EXTENSION fuzzystrmatch;
CREATE EXTENSION lo; CREATE EXTENSION pg_stat_statements; CREATE EXTENSION xml2; CREATE EXTENSION citext;
CREATE EXTENSION pgrowlocks; CREATE EXTENSION pgstattuple;

-- What is masked: the columns of customers from card_number on.
CREATE TABLE customers (
  id int PRIMARY KEY, name text, email text,
  card_number text UNIQUE, pin int, balance numeric(12,2), born date, token uuid, photo bytea, profile jsonb, tags text[]
);
INSERT INTO customers (id, name, email) VALUES (1, 'Ada', 'ada@example.com'), (2, 'Blaise', 'blaise@example.com'), (3, 'Carl', NULL);
CREATE TABLE kid (shoe int) INHERITS (customers);
INSERT INTO kid (id, name, shoe) VALUES (7, 'Dora', 38);
CREATE VIEW customer_cards AS SELECT id AS who, card_number AS what, name FROM customers;
CREATE VIEW customer_names AS SELECT id, name FROM customers;
CREATE MATERIALIZED VIEW customer_copies AS SELECT id, card_number AS copied FROM customers;
CREATE INDEX customers_by_card ON customers (upper(card_number));
CREATE FUNCTION card_of(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT card_number FROM public.customers WHERE id = $1';
CREATE FUNCTION constant_card() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT card_number FROM public.customers WHERE id = 1';
CREATE FUNCTION all_customers() RETURNS SETOF customers LANGUAGE sql STABLE AS 'SELECT * FROM public.customers';
CREATE FUNCTION complain(int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'card %', public.card_of($1) USING ERRCODE = '25000'; END $$;
CREATE FUNCTION chat(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'card %', public.card_of($1); RETURN 1; END $$;
CREATE FUNCTION open_cards() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE r refcursor := 'cards'; BEGIN OPEN r FOR SELECT card_number FROM public.customers; RETURN r; END $$;
CREATE PROCEDURE tell(INOUT c text) LANGUAGE plpgsql AS $$ BEGIN SELECT card_number INTO c FROM public.customers WHERE id = 1; END $$;
CREATE FUNCTION use_schema(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', $1, false); END $$;
CREATE FUNCTION card_compare(int, int) RETURNS text LANGUAGE sql STABLE AS 'SELECT card_number FROM public.customers WHERE id = $1';
CREATE OPERATOR ##> (LEFTARG = int, RIGHTARG = int, FUNCTION = card_compare);
-- Names of the server's, for functions, operators and casts that are not.
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE FUNCTION initcap(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT card_number FROM public.customers WHERE id = $1';
CREATE FUNCTION card_of_mood(mood, int) RETURNS text LANGUAGE sql STABLE AS 'SELECT card_number FROM public.customers WHERE id = $2';
CREATE OPERATOR <-> (LEFTARG = mood, RIGHTARG = int, FUNCTION = card_of_mood);
CREATE FUNCTION card_of_moods(text, mood) RETURNS text LANGUAGE sql STABLE AS 'SELECT card_number FROM public.customers WHERE id = 1';
CREATE AGGREGATE bool_or(mood) (SFUNC = card_of_moods, STYPE = text);
CREATE TYPE boxed AS (v text);
CREATE FUNCTION box_card(int) RETURNS boxed LANGUAGE sql STABLE AS 'SELECT ROW(card_number)::public.boxed FROM public.customers WHERE id = $1';
CREATE CAST (int AS boxed) WITH FUNCTION box_card(int);
CREATE VIEW titles AS SELECT initcap(1) AS title;
CREATE FUNCTION card_like(int, text) RETURNS bool LANGUAGE sql STABLE AS 'SELECT card_number LIKE $2 FROM public.customers WHERE id = $1';
CREATE OPERATOR ##? (LEFTARG = int, RIGHTARG = text, FUNCTION = card_like);
CREATE FUNCTION by_card(int, int) RETURNS bool LANGUAGE sql STABLE AS 'SELECT CASE WHEN length(card_number) > 10 THEN $1 < $2 ELSE $1 > $2 END FROM public.customers WHERE id = 1';
CREATE FUNCTION by_card_order(int, int) RETURNS int LANGUAGE sql STABLE AS 'SELECT CASE WHEN length(card_number) > 10 THEN sign($1 - $2) ELSE sign($2 - $1) END::int FROM public.customers WHERE id = 1';
CREATE OPERATOR ##< (LEFTARG = int, RIGHTARG = int, FUNCTION = by_card);
CREATE OPERATOR CLASS by_card FOR TYPE int USING btree AS OPERATOR 1 ##<, OPERATOR 3 =, FUNCTION 1 by_card_order(int, int);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, total int, memo text);
INSERT INTO orders SELECT g, 1 + g % 3, g * 10, 'order ' || g FROM generate_series(1, 20) g;
CREATE TABLE scratch (id int, body text);
INSERT INTO scratch VALUES (1, 'one'), (2, 'two');
CREATE SEQUENCE counter;
CREATE TABLE people (id int, ssn text, note text);
INSERT INTO people VALUES (1, 'none', 'harmless');

-- What nobody may read where the rules forbid it.
CREATE SCHEMA pii;
CREATE TABLE pii.people (id int PRIMARY KEY, ssn text, note text);
INSERT INTO pii.people VALUES (1, NULL, NULL);
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', dbname 'postgres');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'u', password 'WvXkQzForeignPassword');
