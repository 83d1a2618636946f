"""Checks of psycopg2."""
from checks import ROOT, STRANGER, binding, check, parameters, run  # before psycopg: it says where libpq is

import io
import select
import threading

import psycopg2
import psycopg2.extensions
import psycopg2.extras


def connect(autocommit=False, **more):
    conn = psycopg2.connect(**parameters(**more))
    conn.autocommit = autocommit
    return conn


def tls(mode, root=ROOT):
    conn = connect(sslmode=mode, sslrootcert=root)
    cursor = conn.cursor()
    cursor.execute("SELECT 1")
    return [conn.info.ssl_in_use, cursor.fetchone()]


def ask(conn, query, *values):
    cursor = conn.cursor()
    cursor.execute(query, values)
    return cursor.fetchall()


def diagnosis(e):
    d = e.diag
    return [type(e).__name__, d.severity, d.sqlstate, d.message_primary, d.message_detail, d.message_hint, d.statement_position]


def table(conn, name):
    conn.cursor().execute(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id int PRIMARY KEY, name text)")


@check
def sslmode_disable():
    return tls("disable")


@check
def sslmode_prefer():
    return tls("prefer")


@check
def sslmode_require():
    return tls("require")


@check
def sslmode_verify_ca():
    return tls("verify-ca")


@check
def sslmode_verify_full():
    return tls("verify-full")


@check
def sslmode_verify_full_with_a_root_that_signed_nothing():
    try:
        return tls("verify-full", STRANGER)
    except psycopg2.OperationalError as e:
        return "certificate verify failed" in str(e)


@check
def channel_binding_require():
    return binding(psycopg2.connect, psycopg2.OperationalError)


@check
def simple_queries():
    conn = connect()
    return [ask(conn, "SELECT %s, %s, %s, %s", 1, "it's", None, [1, 2]), ask(conn, "SELECT 1; SELECT 'last'")]


@check
def prepared_statements():
    conn = connect()
    ask(conn, "PREPARE p (int) AS SELECT $1 + 1; SELECT 1")
    return [ask(conn, "EXECUTE p (%s)", i) for i in range(5)] + [ask(conn, "DEALLOCATE p; SELECT 'gone'")]


@check
def batches():
    conn = connect()
    table(conn, "psycopg2_batch")
    cursor = conn.cursor()
    cursor.executemany("INSERT INTO psycopg2_batch VALUES (%s, %s)", [(i, str(i)) for i in range(200)])
    psycopg2.extras.execute_batch(cursor, "INSERT INTO psycopg2_batch VALUES (%s, %s)", [(i, str(i)) for i in range(200, 2200)], page_size=500)
    rows = [(i, str(i)) for i in range(2200, 4200)]
    ids = psycopg2.extras.execute_values(cursor, "INSERT INTO psycopg2_batch VALUES %s RETURNING id", rows, page_size=1000, fetch=True)
    return [len(ids), ask(conn, "SELECT count(*), sum(id) FROM psycopg2_batch")]


@check
def copy_in_and_out():
    conn = connect()
    table(conn, "psycopg2_copy")
    cursor = conn.cursor()
    cursor.copy_expert("COPY psycopg2_copy FROM STDIN CSV", io.StringIO("".join(f"{i},n{i}\n" for i in range(3000))))
    cursor.copy_from(io.StringIO("9999\tlast\n"), "psycopg2_copy")
    out = io.StringIO()
    cursor.copy_expert("COPY (SELECT * FROM psycopg2_copy ORDER BY id) TO STDOUT", out)
    binary = io.BytesIO()
    cursor.copy_expert("COPY psycopg2_copy TO STDOUT (FORMAT binary)", binary)
    return [len(out.getvalue()), out.getvalue()[-40:], len(binary.getvalue())]


@check
def cursors_of_the_server():
    conn = connect()
    with conn.cursor("forward") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT generate_series(1, 1050)")
        out = [sum(r[0] for r in cursor)]
    with conn.cursor("both ways", scrollable=True, withhold=True) as cursor:
        cursor.execute("SELECT generate_series(1, 50)")
        conn.commit()
        out.append(cursor.fetchmany(3))
        cursor.scroll(-2)
        out.append(cursor.fetchall()[:2])
    return out


@check
def notifications():
    one, other = connect(autocommit=True), connect(autocommit=True)
    one.cursor().execute("LISTEN psycopg2_news")
    other.cursor().execute("NOTIFY psycopg2_news, 'first'")
    while not one.notifies:
        if select.select([one], [], [], 30) == ([], [], []):
            return "nothing came"
        one.poll()
    n = one.notifies[0]
    return [n.channel, n.payload, n.pid == other.info.backend_pid]


@check
def notices():
    conn = connect()
    conn.cursor().execute("DO $$ BEGIN RAISE NOTICE 'careful'; END $$")
    return conn.notices


@check
def cancelling():
    conn = connect()
    timer = threading.Timer(0.3, conn.cancel)
    timer.start()
    try:
        ask(conn, "SELECT pg_sleep(60)")
        out = ["it was not cancelled"]
    except psycopg2.extensions.QueryCanceledError as e:
        out = diagnosis(e)
    timer.join()
    conn.rollback()
    return out + ask(conn, "SELECT 1")


@check
def statement_timeout():
    conn = connect(options="-c statement_timeout=300")
    try:
        ask(conn, "SELECT pg_sleep(60)")
        return "it was not stopped"
    except psycopg2.extensions.QueryCanceledError as e:
        return diagnosis(e)


@check
def asynchronous_connections():
    conn = psycopg2.connect(async_=True, **parameters())

    def wait():
        while True:
            state = conn.poll()
            if state == psycopg2.extensions.POLL_OK:
                return
            reading = state == psycopg2.extensions.POLL_READ
            select.select([conn] if reading else [], [] if reading else [conn], [], 30)

    wait()
    cursor = conn.cursor()
    cursor.execute("SELECT generate_series(1, 3)")
    wait()
    return cursor.fetchall()


@check
def transactions_and_errors():
    conn = connect()
    table(conn, "psycopg2_tx")
    conn.commit()
    out = []
    for query in ("SELECT 1 FORM x", "SELECT 1/0", "INSERT INTO psycopg2_tx VALUES (NULL)", "SELECT * FROM nowhere"):
        try:
            conn.cursor().execute(query)
        except psycopg2.Error as e:
            out.append(diagnosis(e))
        out.append(conn.info.transaction_status)
        conn.rollback()
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True)
    try:
        conn.cursor().execute("INSERT INTO psycopg2_tx VALUES (1)")
    except psycopg2.Error as e:
        out.append(diagnosis(e))
    return out


@check
def two_phase_commit():
    conn = connect()
    table(conn, "psycopg2_tpc")
    conn.commit()
    conn.tpc_begin("psycopg2")
    conn.cursor().execute("INSERT INTO psycopg2_tpc VALUES (1, 'x')")
    conn.tpc_prepare()
    conn.tpc_commit()
    return ask(conn, "SELECT count(*) FROM psycopg2_tpc")


@check
def large_objects_through_SQL():
    conn = connect()
    [(oid,)] = ask(conn, "SELECT lo_from_bytea(0, 'hello')")
    return [bytes(ask(conn, "SELECT lo_get(%s)", oid)[0][0]).decode(), ask(conn, "SELECT lo_unlink(%s)", oid)]


@check
def large_objects_of_the_client():
    conn = connect()
    large = conn.lobject(0, "wb")
    large.write(b"hello")
    large.close()
    return conn.lobject(large.oid, "rb").read().decode()


@check
def types():
    conn = connect()
    psycopg2.extras.register_uuid()
    row = ask(conn, """SELECT 1::int2, 2^40::int8, 1.50::numeric, 1.5::float8, 'ü€', date '2026-02-28', timestamptz '2026-02-28 12:00+02',
        interval '1 day', '{"a": [1]}'::jsonb, '00000000-0000-0000-0000-000000000005'::uuid, ARRAY['a', NULL], int4range(1, 5), NULL""")
    [(binary,)] = ask(conn, "SELECT %s::bytea", psycopg2.Binary(b"\x00\xff"))
    return row + [bytes(binary).hex()]


run()
