"""What the checks of every Python client share: their registry, and how each reports.

A check is a function that returns what it saw. Each runs with its own connections, which name it in their
application_name, and prints one line: its name, a tab, and what it saw, or how it broke.
"""
import ctypes.util
import json
import os
import sys
import threading
import traceback

HOST = os.environ["CHECK_HOST"]  # the name that the server's certificate proves
PORT = int(os.environ["CHECK_PORT"])  # on 127.0.0.1
ASKING_PORT = int(os.environ["CHECK_ASKING_PORT"])  # where ROLE has to prove PASSWORD
ROLE = os.environ["CHECK_ROLE"]
PASSWORD = os.environ["CHECK_PASSWORD"]
ROOT = os.environ["CHECK_ROOT"]  # the root certificate that the client names
STRANGER = os.environ["CHECK_STRANGER"]  # one that signed nothing
CLIENT = os.environ["CHECK_CLIENT"]
ONLY = os.environ.get("CHECK_ONLY", "")

# psycopg 3 looks for libpq where the system keeps libraries, and not where the loader is told to look.
find_library = ctypes.util.find_library
ctypes.util.find_library = lambda name: "libpq.so.5" if name == "pq" else find_library(name)

checks = []
current = threading.local()


def check(f):
    checks.append(f)
    return f


def parameters(**more):
    """Connection parameters; TLS is not asked for unless more says so."""
    name = current.name.replace("_", " ")
    return {
        "host": HOST, "hostaddr": "127.0.0.1", "port": PORT, "user": "postgres", "dbname": "clients", "sslmode": "disable",
        "connect_timeout": 30, "application_name": f"{CLIENT}/{name}", **more,
    }


def binding(connect, error):
    """What a client sees where it has to prove a password and binds the proof to the server's certificate (libpq)."""

    def tried(**more):
        # Named apart: what does not connect here is not a refusal of the check's own, the server asks for a password too.
        asked = {"application_name": "binding", "port": ASKING_PORT, "user": ROLE, "password": PASSWORD, "sslmode": "verify-full", "sslrootcert": ROOT, "channel_binding": "require"}
        try:
            conn = connect(**parameters(**{**asked, **more}))
        except error as e:
            return [words for words in ("password authentication failed", "channel binding") if words in str(e)]
        try:
            cursor = conn.cursor()
            cursor.execute("SELECT current_user")
            return cursor.fetchone()
        finally:
            conn.close()

    return {
        "bound": tried(),
        "bound, with a wrong password": tried(password="wrong"),
        "not bound": tried(channel_binding="disable"),
        "bound in clear": tried(sslmode="disable"),
        "bound where nothing is asked": tried(port=PORT, user="postgres"),
    }


def run():
    for f in checks:
        current.name = f.__name__
        name = f.__name__.replace("_", " ")
        if ONLY and name not in ONLY.split(","):
            continue
        try:
            saw = "saw " + json.dumps(f(), default=str)
        except Exception as e:  # whatever breaks a check is what it reports
            traceback.print_exc(file=sys.stderr)
            first = str(e).strip().split("\n")[0]
            saw = f"broke {type(e).__name__}: {first}"
        print(f"{name}\t{saw}", flush=True)
