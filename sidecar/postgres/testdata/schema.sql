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
