CREATE ROLE billing_app LOGIN PASSWORD 'correct-horse-battery-staple';
CREATE DATABASE billing OWNER billing_app;
\connect billing
SET ROLE billing_app;
CREATE TABLE public.customers (
  id          integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  name        text NOT NULL,
  email       text NOT NULL,
  card_number text NOT NULL,
  plan        text NOT NULL DEFAULT 'basic',
  since       date NOT NULL
);
INSERT INTO public.customers (name, email, card_number, plan, since) VALUES
  ('Ada Lovelace',     'ada@analytical.example',  '4929 1234 5678 9015', 'business', '2021-03-01'),
  ('Grace Hopper',     'grace@navy.example',      '5425233430109903',    'basic',    '2021-07-19'),
  ('Alan Turing',      'alan@bletchley.example',  '4012888888881881',    'business', '2022-01-05'),
  ('Edsger Dijkstra',  'edsger@paths.example',    '371449635398431',     'basic',    '2022-11-30'),
  ('Barbara Liskov',   'barbara@clu.example',     '6011111111111117',    'basic',    '2023-05-14'),
  ('Donald Knuth',     'don@tex.example',         '5555555555554444',    'business', '2024-02-29');
CREATE TABLE public.invoices (
  id       integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  customer integer NOT NULL REFERENCES public.customers,
  amount   numeric(10,2) NOT NULL,
  note     text,
  paid     boolean NOT NULL DEFAULT false
);
INSERT INTO public.invoices (customer, amount, note, paid)
SELECT 1 + n % 6, 19.90 + n * 3, CASE WHEN n % 4 = 0 THEN 'paid by card 4012 8888 8888 1881' END, n % 3 = 0
FROM generate_series(1, 24) n;
