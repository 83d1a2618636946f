CREATE TABLE customers (
  id int PRIMARY KEY, name text NOT NULL, email text, card_number text, balance numeric(12,2), born date, note jsonb
);
INSERT INTO customers VALUES
  (1, 'Ada',   'ada@example.com',   '4111 1111 1111 1111', 10.50, '1815-12-10', '{"card": "4111 1111 1111 1111"}'),
  (2, 'Blaise','blaise@example.com','5500-0000-0000-0004',  0.00, '1623-06-19', NULL),
  (3, 'Carl',  NULL,                NULL,                  99.99, '1777-04-30', '{"n": 1}');
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, total int, memo text);
INSERT INTO orders SELECT g, 1 + g % 3, g * 10, 'order ' || g FROM generate_series(1, 50) g;
CREATE TABLE notes (id int PRIMARY KEY, body text);
INSERT INTO notes VALUES (1, 'paid with 4111 1111 1111 1111 today'), (2, 'nothing here');
CREATE VIEW customer_cards AS SELECT id AS who, card_number AS what FROM customers;
CREATE VIEW customer_names AS SELECT id, name FROM customers;
CREATE FUNCTION card_of(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT card_number FROM public.customers WHERE id = $1';
CREATE TABLE scratch (id int, body text);
CREATE FUNCTION shout(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; END $$;
CREATE VIEW shifting AS SELECT name AS c FROM customers WHERE id = 1;
CREATE FUNCTION constant_card() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT card_number FROM public.customers WHERE id = 1';
CREATE FUNCTION complain(int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'card %', public.card_of($1) USING ERRCODE = '25000'; END $$;
CREATE FUNCTION opens() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE r refcursor := 'rc'; BEGIN OPEN r SCROLL FOR SELECT name, 'card ' || card_number FROM public.customers WHERE id = 1; RETURN r; END $$;
CREATE FUNCTION tells_name() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('application_name', name, false) FROM public.customers WHERE id = 1; END $$;
CREATE DOMAIN letters AS text CHECK (VALUE <> '');
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN price AS numeric(6,3);
-- A column of each kind of type. The second row is the first again, the third another value of each, the last NULL.
CREATE TABLE typed (
  id int PRIMARY KEY, c_text text, c_varchar varchar(3), c_bpchar char(6), c_name name, c_char "char", c_domain letters, c_json json, c_jsonb jsonb,
  c_bytea bytea, c_int2 int2, c_int4 int4, c_int8 int8, c_oid oid, c_float4 float4, c_float8 float8, c_numeric numeric,
  c_date date, c_timestamp timestamp, c_timestamptz timestamptz, c_uuid uuid, c_bool bool, c_inet inet, c_cidr cidr,
  c_array text[], c_interval interval, c_time time, c_bit bit(8), c_enum mood, c_range int4range, c_point point, c_money money, c_xml xml, c_row pair,
  c_price numeric(5,2), c_share numeric(3,5), c_rounded numeric(4,-2), c_long numeric(30,25), c_amount numeric(20,4), c_prices price,
  c_varbit varbit(5), c_times time(3), c_intervals interval(2), c_stamp timestamp(0), c_letter varchar(1)
);
INSERT INTO typed SELECT g, '4111 1111 1111 1111', 'abc', 'abcd', 'custom', 'x', 'abcdef', '{"a": 1}', '{"a": 1}',
  '\x0102030405060708', 12345, 123456789, 4111111111111111, 123456, 1.5, 2.25, 12.34,
  '1815-12-10', '1815-12-10 11:12:13.5', '2026-01-02 03:04:05.25+00', '12345678-1234-1234-1234-12345678789a', true, '192.0.2.7', '192.0.2.0/24',
  '{4111,1111}', '3 days', '11:12', '10101010', 'glad', '[1,7)', '(1,2)', '12.50', '<a/>', '(1,b)',
  123.45, 0.00123, 123400, 12345.678, 1234567.8901, 123.456, '101', '11:12:13.125', '3 days', '1815-12-10 11:12:13', 'a' FROM generate_series(1, 2) g;
INSERT INTO typed VALUES (3, '5500 0000 0000 0004', 'abd', 'abce', 'costum', 'y', 'abcdeg', '{"a": 2}', '{"a": 2}',
  '\x0102030405060709', 12346, 123456788, 4111111111111112, 123457, 1.25, 2.5, 12.35,
  '1815-12-11', '1815-12-10 11:12:13.25', '2026-01-02 03:04:05.5+00', '12345678-1234-1234-1234-12345678789b', true, '192.0.2.8', '192.0.3.0/24',
  '{4111,1112}', '4 days', '11:13', '10101011', 'sad', '[1,8)', '(1,3)', '12.51', '<b/>', '(1,c)',
  123.46, 0.00124, 123500, 12345.679, 1234567.8902, 123.457, '100', '11:12:13.25', '4 days', '1815-12-10 11:12:14', 'b');
INSERT INTO typed (id) VALUES (4);
