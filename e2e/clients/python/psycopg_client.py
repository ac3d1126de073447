"""psycopg 3 through its synchronous API. Connection parameters come from libpq's environment."""

import os
import threading
import time

import psycopg
from psycopg import sql

from behaviours import chosen, report

RUN = os.environ["RUN"]


def connect(**options):
    return psycopg.connect(sslmode="verify-full", **{"autocommit": True, **options})


def refused(connection, query, *arguments):
    """SQLSTATE of a query that must fail."""
    try:
        connection.execute(query, *arguments)
    except psycopg.Error as error:
        return error.sqlstate
    return "no error"


def one(connection, query, *arguments):
    return connection.execute(query, *arguments).fetchone()[0]


def connects():
    with connect() as c:
        return [one(c, "select current_database()"), c.pgconn.ssl_in_use]


def select():
    with connect() as c:
        return c.execute("select id, name from parts order by id").fetchall()


def parameters():
    with connect() as c:
        query = "select name from parts where id = %s and price < %s"
        return [one(c, query, (2, 0.75)), c.execute(query, (1, 0.75), binary=True).fetchone()[0]]


def prepared():
    with connect() as c:
        query = "select name from parts where id = %s"
        return [c.execute(query, (n,), prepare=True).fetchone()[0] for n in (1, 2, 3)]


def prepared_by_threshold():
    with connect(prepare_threshold=2) as c:
        return [one(c, "select n from numbers where n = %s", (n,)) for n in range(1, 8)]


def pipeline():
    with connect() as c:
        with c.pipeline():
            cursors = [c.execute("select n from numbers where n = %s", (n,)) for n in range(1, 51)]
        return sum(cursor.fetchone()[0] for cursor in cursors)


def pipeline_with_an_error():
    with connect() as c:
        seen = []
        try:
            with c.pipeline() as p:
                first = c.execute("select 1")
                p.sync()
                seen.append(first.fetchone()[0])
                c.execute("select 1 / (n - 1) from numbers where n = 1")
                c.execute("select 2")
                p.sync()
        except psycopg.Error as error:
            seen.append(error.sqlstate)
        return seen + [one(c, "select 3")]


def batch():
    with connect() as c:
        c.cursor().executemany(
            "insert into deliveries (run, n) values (%s, %s)", [(RUN + "batch", n) for n in range(1, 101)]
        )
        return list(c.execute("select count(*), sum(n) from deliveries where run = %s", (RUN + "batch",)).fetchone())


def rollback():
    with connect(autocommit=False) as c:
        count = "select count(*) from deliveries where run = %s"
        run = (RUN + "rollback",)
        before = one(c, count, run)
        c.execute("insert into deliveries (run, n) values (%s, 1)", run)
        inside = one(c, count, run)
        c.rollback()
        return [before, inside, one(c, count, run)]


def savepoint():
    with connect(autocommit=False) as c:
        seen = []
        try:
            with c.transaction():
                c.execute("select 1 / (n - 1) from numbers where n = 1")
        except psycopg.Error as error:
            seen.append(error.sqlstate)
        c.execute("select 1")
        try:
            with c.transaction():
                c.execute("select 1 / (n - 1) from numbers where n = 1")
        except psycopg.Error as error:
            seen.append(error.sqlstate)
        return seen + [one(c, "select 2")]


def error_in_transaction():
    with connect() as c:
        c.execute("begin")
        seen = [refused(c, "select 1 / (n - 1) from numbers where n = 1"), refused(c, "select 1")]
        c.execute("rollback")
        return seen + [one(c, "select 1")]


def denied():
    with connect() as c:
        return [
            refused(c, "drop table keepsakes"),
            refused(c, "drop table keepsakes", [], ),
            one(c, "select count(*) from keepsakes"),
        ]


def denied_in_transaction():
    with connect() as c:
        c.execute("begin")
        seen = [refused(c, "drop table keepsakes")]
        c.execute("rollback")
        return seen + [one(c, "select 1")]


def denied_in_pipeline():
    with connect() as c:
        seen = []
        try:
            with c.pipeline():
                first = c.execute("select n from numbers where n = %s", (7,))
                c.execute("drop table keepsakes")
                c.execute("select n from numbers where n = %s", (8,))
        except psycopg.Error as error:
            seen.append(error.sqlstate)
        return seen + [first.fetchone()[0], one(c, "select 1")]


def several_statements():
    with connect() as c:
        cursor = c.execute("select 1; select 2; select 3")
        seen = [cursor.fetchone()[0]]
        while cursor.nextset():
            seen.append(cursor.fetchone()[0])
        return seen


def fetch_size():
    with connect(autocommit=False) as c, c.cursor(name="rows") as cursor:
        cursor.itersize = 100
        cursor.execute("select n from numbers order by n")
        rows = [row[0] for row in cursor]
        return [len(rows), sum(rows)]


def copy_out():
    with connect() as c, c.cursor() as cursor:
        with cursor.copy("copy (select id, name from parts order by id) to stdout") as copy:
            return b"".join(bytes(block) for block in copy).decode()


def copy_in():
    with connect() as c, c.cursor() as cursor:
        with cursor.copy("copy deliveries (run, n, note) from stdin") as copy:
            for n in (10, 20, 30):
                copy.write_row((RUN + "copy", n, "tab\there"))
        query = "select count(*), sum(n) from deliveries where run = %s"
        return list(c.execute(query, (RUN + "copy",)).fetchone())


def copy_binary():
    with connect() as c, c.cursor() as cursor:
        with cursor.copy("copy (select id, name from parts order by id) to stdout (format binary)") as copy:
            copy.set_types(["int4", "text"])
            return [list(row) for row in copy.rows()]


def notify():
    with connect() as listener, connect() as sender:
        channel = sql.Identifier(RUN)
        listener.execute(sql.SQL("listen {}").format(channel))
        sender.execute(sql.SQL("notify {}, 'hello'").format(channel))
        return [n.payload for n in listener.notifies(timeout=10, stop_after=1)]


def masked():
    with connect() as c:
        query = "select id, supplier_email from parts order by id"
        with c.cursor() as cursor, cursor.copy("copy (" + query + ") to stdout") as copy:
            copied = b"".join(bytes(block) for block in copy).decode()
        return {
            "text": c.execute(query).fetchall(),
            "binary": c.execute(query, binary=True).fetchall(),
            "copy": copied,
        }


def cancel():
    with connect() as c:
        threading.Timer(0.5, c.cancel_safe).start()
        started = time.monotonic()
        seen = refused(c, "select pg_sleep(10)")
        return [seen, time.monotonic() - started < 8, one(c, "select 1")]


def types():
    def row(connection, n, binary):
        cursor = connection.execute("select * from every_type where id = %s", (n,), binary=binary)
        return [repr(value) for value in cursor.fetchone()]

    with connect() as c:
        # Dates of the year 1 and intervals of months are as psycopg makes them: the same in both runs.
        return {f"{form} {n}": row(c, n, form == "binary") for form in ("text", "binary") for n in (1, 2, 3)}


if __name__ == "__main__":
    behaviours = {
        "connect": connects,
        "select": select,
        "parameters": parameters,
        "prepared": prepared,
        "prepared by threshold": prepared_by_threshold,
        "pipeline": pipeline,
        "pipeline with an error": pipeline_with_an_error,
        "batch": batch,
        "rollback": rollback,
        "savepoint": savepoint,
        "error in transaction": error_in_transaction,
        "denied": denied,
        "denied in transaction": denied_in_transaction,
        "denied in pipeline": denied_in_pipeline,
        "several statements": several_statements,
        "fetch size": fetch_size,
        "copy out": copy_out,
        "copy in": copy_in,
        "copy binary": copy_binary,
        "notify": notify,
        "masked": masked,
        "cancel": cancel,
        "types": types,
    }
    for name, run in chosen(behaviours).items():
        try:
            report(name, saw=run())
        except Exception as error:  # one behaviour that fails must not hide the others
            report(name, failed=f"{type(error).__name__}: {error}")
