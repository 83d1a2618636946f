"""Checks of psycopg 3."""
from checks import ROOT, STRANGER, binding, check, parameters, run  # before psycopg: it says where libpq is

import datetime
import decimal
import threading
import uuid

import psycopg
from psycopg.types.json import Jsonb


def connect(autocommit=False, **more):
    return psycopg.connect(autocommit=autocommit, **parameters(**more))


def tls(mode, root=ROOT):
    with connect(sslmode=mode, sslrootcert=root) as conn:
        return [conn.pgconn.ssl_in_use, conn.execute("SELECT 1").fetchone()]


def diagnosis(e):
    d = e.diag
    return [type(e).__name__, d.severity, d.sqlstate, d.message_primary, d.message_detail, d.message_hint, d.statement_position,
            d.schema_name, d.table_name, d.constraint_name]


def table(conn, name, columns="id int PRIMARY KEY, name text"):
    conn.execute(f"DROP TABLE IF EXISTS {name}")
    conn.execute(f"CREATE TABLE {name} ({columns})")


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
    except psycopg.OperationalError as e:
        return "certificate verify failed" in str(e)


@check
def channel_binding_require():
    return binding(psycopg.connect, psycopg.OperationalError)


@check
def simple_queries():
    with connect() as conn:
        cursor = psycopg.ClientCursor(conn)
        cursor.execute("SELECT %s, %s::int; SELECT 'second'", ("it's", 7))
        out = [cursor.fetchall()]
        cursor.nextset()
        return out + [cursor.fetchall(), cursor.statusmessage]


@check
def parameters_in_text_and_binary():
    with connect() as conn:
        values = (1, -2**40, "ü€", b"\x00\xff", decimal.Decimal("3.1400"), datetime.date(2026, 2, 28), datetime.timedelta(days=1, seconds=2),
                  uuid.UUID(int=5), [1, None, 3], Jsonb({"a": [1]}), None, True, 1.5)
        query = "SELECT " + ", ".join(["%s"] * len(values))
        return [conn.execute(query, values).fetchone(), conn.cursor(binary=True).execute(query, values).fetchone()]


@check
def prepared_statements():
    with connect() as conn:
        conn.prepare_threshold = 0
        table(conn, "psycopg_prepared")
        for i in range(20):
            conn.execute("INSERT INTO psycopg_prepared VALUES (%s, %s)", (i, f"n{i}"))
        rows = [conn.execute("SELECT name FROM psycopg_prepared WHERE id = %s", (i,)).fetchone() for i in range(20)]
        conn.execute("ALTER TABLE psycopg_prepared ALTER name TYPE varchar(20)")
        conn.commit()
        left = conn.execute("SELECT count(*) > 0 FROM pg_prepared_statements").fetchone()
        try:
            conn.execute("SELECT name FROM psycopg_prepared WHERE id = %s", (3,))
        except psycopg.Error as e:
            return [rows, left, diagnosis(e)]


@check
def more_prepared_statements_than_the_client_keeps():
    with connect() as conn:
        conn.prepare_threshold, conn.prepared_max = 0, 5
        rows = [conn.execute(f"SELECT {i} + %s", (i,)).fetchone() for i in range(30)]
        return [rows, conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()]


@check
def batches():
    with connect() as conn:
        table(conn, "psycopg_batch")
        cursor = conn.cursor()
        cursor.executemany("INSERT INTO psycopg_batch VALUES (%s, %s) RETURNING id", [(i, str(i)) for i in range(2000)], returning=True)
        returned = [cursor.fetchone()]
        while cursor.nextset():
            returned.append(cursor.fetchone())
        return [len(returned), returned[-1], conn.execute("SELECT count(*), sum(id) FROM psycopg_batch").fetchone()]


@check
def pipelines():
    with connect(autocommit=True) as conn:
        table(conn, "psycopg_pipeline")
        out = []
        with conn.pipeline() as p:
            cursors = [conn.execute("INSERT INTO psycopg_pipeline VALUES (%s, 'x') RETURNING id", (i,)) for i in range(100)]
            p.sync()
            out.append([c.fetchone()[0] for c in cursors][-1])
        try:
            with conn.pipeline() as p:
                conn.execute("INSERT INTO psycopg_pipeline VALUES (1000, 'x')")
                conn.execute("INSERT INTO psycopg_pipeline VALUES (1, 'twice')")
                conn.execute("INSERT INTO psycopg_pipeline VALUES (1001, 'x')")
                p.sync()
        except psycopg.Error as e:
            out.append(diagnosis(e))
        return out + [conn.execute("SELECT count(*) FROM psycopg_pipeline").fetchone()]


@check
def copy_in_and_out():
    with connect() as conn:
        table(conn, "psycopg_copy")
        cursor = conn.cursor()
        with cursor.copy("COPY psycopg_copy FROM STDIN") as copy:
            for i in range(5000):
                copy.write_row((i, f"tab\t{i}"))
        out = [cursor.rowcount]
        with cursor.copy("COPY psycopg_copy TO STDOUT (FORMAT csv)") as copy:
            out.append(sum(len(block) for block in copy))
        with cursor.copy("COPY (SELECT id, name FROM psycopg_copy ORDER BY id LIMIT 3) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            out.append(list(copy.rows()))
        with cursor.copy("COPY psycopg_copy FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((9999, "binary"))
        return out + [conn.execute("SELECT count(*), max(id) FROM psycopg_copy").fetchone()]


@check
def copy_that_fails():
    with connect(autocommit=True) as conn:
        table(conn, "psycopg_copy_fails")
        out = []
        try:
            with conn.cursor().copy("COPY psycopg_copy_fails FROM STDIN") as copy:
                copy.write(b"1\tone\nnot a number\ttwo\n")
        except psycopg.Error as e:
            out.append([type(e).__name__, e.diag.sqlstate, e.diag.context])
        try:
            with conn.cursor().copy("COPY psycopg_copy_fails FROM STDIN") as copy:
                copy.write(b"1\tone\n")
                raise ValueError("the client's own")
        except psycopg.Error as e:
            out.append(diagnosis(e))
        return out + [conn.execute("SELECT count(*) FROM psycopg_copy_fails").fetchone()]


@check
def cursors_of_the_server():
    with connect() as conn:
        with conn.cursor(name="forward") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT generate_series(1, 1050)")
            out = [sum(r[0] for r in cursor)]
        with conn.cursor(name="both ways", scrollable=True, binary=True) as cursor:
            cursor.execute("SELECT generate_series(1, %s)", (50,))
            out.append(cursor.fetchmany(3))
            cursor.scroll(-2)
            out.append(cursor.fetchone())
            cursor.scroll(40, mode="absolute")
            out.append(cursor.fetchall())
        with conn.cursor(name="held", withhold=True) as cursor:
            cursor.execute("SELECT generate_series(1, 5)")
            conn.commit()
            out.append(cursor.fetchall())
        return out


@check
def rows_as_they_come():
    with connect() as conn:
        return sum(r[0] for r in conn.cursor().stream("SELECT generate_series(1, %s)", (20000,)))


@check
def notifications():
    with connect(autocommit=True) as one, connect(autocommit=True) as other:
        one.execute("LISTEN psycopg_news")
        other.execute("NOTIFY psycopg_news, 'first'")
        other.execute("SELECT pg_notify('psycopg_news', %s)", ("second",))
        out = []
        for n in one.notifies():
            out.append([n.channel, n.payload, n.pid == other.info.backend_pid])
            if len(out) == 2:
                break
        return out


@check
def notices():
    with connect() as conn:
        out = []
        conn.add_notice_handler(lambda d: out.append([d.severity, d.sqlstate, d.message_primary, d.message_hint]))
        conn.execute("DO $$ BEGIN RAISE WARNING 'careful' USING HINT = 'look'; END $$")
        return out


@check
def cancelling():
    with connect() as conn:
        timer = threading.Timer(0.3, conn.cancel)
        timer.start()
        try:
            conn.execute("SELECT pg_sleep(60)")
            out = ["it was not cancelled"]
        except psycopg.errors.QueryCanceled as e:
            out = diagnosis(e)
        timer.join()
        conn.rollback()
        return out + [conn.execute("SELECT 1").fetchone()]


@check
def statement_timeout():
    with connect(options="-c statement_timeout=300") as conn:
        try:
            conn.execute("SELECT pg_sleep(60)")
            return "it was not stopped"
        except psycopg.errors.QueryCanceled as e:
            return diagnosis(e)


@check
def transactions_and_savepoints():
    with connect(autocommit=True) as conn:
        table(conn, "psycopg_tx")
        out = []
        with conn.transaction():
            conn.execute("INSERT INTO psycopg_tx VALUES (1, 'kept')")
            try:
                with conn.transaction():
                    conn.execute("INSERT INTO psycopg_tx VALUES (2, 'undone')")
                    conn.execute("INSERT INTO psycopg_tx VALUES (1, 'twice')")
            except psycopg.errors.UniqueViolation as e:
                out.append(diagnosis(e))
            out.append(conn.info.transaction_status.name)
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        conn.read_only = True
        conn.autocommit = False
        try:
            conn.execute("INSERT INTO psycopg_tx VALUES (3, 'x')")
        except psycopg.Error as e:
            out.append(diagnosis(e))
        out.append(conn.info.transaction_status.name)
        conn.rollback()
        return out + [conn.execute("SELECT * FROM psycopg_tx").fetchall()]


@check
def two_phase_commit():
    with connect() as conn:
        table(conn, "psycopg_tpc")
        conn.commit()
        conn.tpc_begin(conn.xid(1, "psycopg", "branch"))
        conn.execute("INSERT INTO psycopg_tpc VALUES (1, 'x')")
        conn.tpc_prepare()
        with connect() as other:
            pending = [str(x) for x in other.tpc_recover()]
        conn.tpc_commit()
        return [pending, conn.execute("SELECT count(*) FROM psycopg_tpc").fetchone()]


@check
def errors():
    with connect(autocommit=True) as conn:
        table(conn, "psycopg_errors")
        out = []
        for query in ("SELECT 1 FORM x", "SELECT nothing", "SELECT 1/0", "INSERT INTO psycopg_errors VALUES (NULL)", "SELECT * FROM nowhere", ""):
            try:
                out.append(conn.execute(query).statusmessage)
            except psycopg.Error as e:
                out.append(diagnosis(e))
        return out


@check
def a_value_of_sixteen_megabytes():
    with connect() as conn:
        text = "0123456789abcdef" * (1 << 20)
        length, back = conn.execute("SELECT length(%s), %s::text", (text, text)).fetchone()
        return [length, back == text]


@check
def what_the_server_says_of_itself():
    with connect() as conn:
        names = ("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings",
                 "session_authorization", "is_superuser", "application_name")
        same = conn.execute("SELECT pg_backend_pid()").fetchone()[0] == conn.info.backend_pid
        return [same, conn.info.server_version] + [conn.info.parameter_status(n) for n in names]


run()
