"""asyncpg: always the extended protocol, always binary, statements named and cached by itself."""

import asyncio
import os
import ssl
import time

import asyncpg

from behaviours import chosen, report

RUN = os.environ["RUN"]


async def connect(**options):
    context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    return await asyncpg.connect(ssl=context, timeout=15, **options)


async def refused(call):
    try:
        await call
    except asyncpg.PostgresError as error:
        return error.sqlstate
    return "no error"


async def connects():
    c = await connect()
    return [await c.fetchval("select current_database()"), True]


async def direct_tls():
    c = await connect(direct_tls=True)
    return await c.fetchval("select 1")


async def select():
    c = await connect()
    return [list(row) for row in await c.fetch("select id, name from parts order by id")]


async def simple_protocol():
    c = await connect()
    return await c.execute("select id from parts; select 1")


async def parameters():
    c = await connect()
    query = "select name from parts where id = $1 and price < $2"
    return [await c.fetchval(query, 2, 0.75), await c.fetchval(query, 1, 0.75)]


async def prepared():
    c = await connect()
    statement = await c.prepare("select name from parts where id = $1")
    return [await statement.fetchval(n) for n in (1, 2, 3)]


async def uncached():
    c = await connect(statement_cache_size=0)
    return [await c.fetchval("select n from numbers where n = $1", n) for n in (1, 2, 3)]


async def batch():
    c = await connect()
    run = RUN + "batch"
    await c.executemany("insert into deliveries (run, n) values ($1, $2)", [(run, n) for n in range(1, 101)])
    return list(await c.fetchrow("select count(*), sum(n)::int from deliveries where run = $1", run))


async def rollback():
    c = await connect()
    count = "select count(*) from deliveries where run = $1"
    run = RUN + "rollback"
    before = await c.fetchval(count, run)
    transaction = c.transaction(isolation="serializable")
    await transaction.start()
    await c.execute("insert into deliveries (run, n) values ($1, 1)", run)
    inside = await c.fetchval(count, run)
    await transaction.rollback()
    return [before, inside, await c.fetchval(count, run)]


async def error_in_transaction():
    c = await connect()
    await c.execute("begin")
    seen = [
        await refused(c.fetch("select 1 / (n - 1) from numbers where n = 1")),
        await refused(c.fetch("select 1")),
    ]
    await c.execute("rollback")
    return seen + [await c.fetchval("select 1")]


async def denied():
    c = await connect()
    return [
        await refused(c.execute("drop table keepsakes")),
        await refused(c.fetch("drop table keepsakes")),
        await c.fetchval("select count(*) from keepsakes"),
    ]


async def denied_in_transaction():
    c = await connect()
    try:
        async with c.transaction():
            await c.execute("drop table keepsakes")
    except asyncpg.PostgresError as error:
        return [error.sqlstate, await c.fetchval("select 1")]


async def fetch_size():
    c = await connect()
    async with c.transaction():
        rows = [row[0] async for row in c.cursor("select n from numbers order by n", prefetch=100)]
    return [len(rows), sum(rows)]


async def copy_out():
    c = await connect()
    blocks = []

    async def keep(block):
        blocks.append(block)

    await c.copy_from_query("select id, name from parts order by id", output=keep)
    return b"".join(blocks).decode()


async def copy_in():
    c = await connect()
    run = RUN + "copy"
    rows = [(run, n, "tab\there") for n in (10, 20, 30)]
    await c.copy_records_to_table("deliveries", records=rows, columns=["run", "n", "note"])
    return list(await c.fetchrow("select count(*), sum(n)::int from deliveries where run = $1", run))


async def notify():
    listener, sender = await connect(), await connect()
    heard = asyncio.get_running_loop().create_future()
    await listener.add_listener(RUN, lambda _connection, _pid, _channel, payload: heard.set_result(payload))
    await sender.execute(f"notify \"{RUN}\", 'hello'")
    return [await asyncio.wait_for(heard, 10)]


async def masked():
    c = await connect()
    query = "select id, supplier_email from parts order by id"
    return {"binary": [list(row) for row in await c.fetch(query)]}


async def cancel():
    c = await connect()
    started = time.monotonic()
    # When the timeout strikes, asyncpg sends a cancel request and waits for the server's answer to it.
    try:
        await c.execute("select pg_sleep(10)", timeout=0.5)
        seen = "no error"
    except asyncio.TimeoutError:
        seen = "57014"
    return [seen, time.monotonic() - started < 8, await c.fetchval("select 1")]


async def types():
    c = await connect()
    seen = {}
    for n in (1, 2, 3):
        row = await c.fetchrow("select * from every_type where id = $1", n)
        seen[f"binary {n}"] = [repr(value) for value in row]
    return seen


async def introspection():
    """A type that asyncpg does not know: it asks the catalogue, with a recursive query of its own."""
    c = await connect()
    return [repr(value) for value in await c.fetchval("select array_agg(p) from (select id, name from parts order by id) p")]


async def reset():
    """What a pool does to a connection that is given back."""
    c = await connect()
    await c.reset()
    return await c.fetchval("select 1")


async def main():
    behaviours = {
        "connect": connects,
        "select": select,
        "simple protocol": simple_protocol,
        "parameters": parameters,
        "prepared": prepared,
        "uncached": uncached,
        "batch": batch,
        "rollback": rollback,
        "error in transaction": error_in_transaction,
        "denied": denied,
        "denied in transaction": denied_in_transaction,
        "fetch size": fetch_size,
        "copy out": copy_out,
        "copy in": copy_in,
        "notify": notify,
        "masked": masked,
        "cancel": cancel,
        "types": types,
        "introspection": introspection,
        "reset": reset,
    }
    for name, run in chosen(behaviours).items():
        try:
            report(name, saw=await asyncio.wait_for(run(), 30))
        except Exception as error:  # one behaviour that fails must not hide the others
            report(name, failed=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    asyncio.run(main())
