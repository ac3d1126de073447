// node-postgres: plain and parameterised queries, named statements, cursors, COPY streams.
'use strict';

const fs = require('node:fs');
const { once } = require('node:events');
const { text } = require('node:stream/consumers');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');

const pg = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');

const RUN = process.env.RUN;
const FAILING = 'select 1 / (n - 1) from numbers where n = 1';
const TLS = { ca: fs.readFileSync(process.env.PGSSLROOTCERT), servername: process.env.PGHOST, rejectUnauthorized: true };

// What is shown is what came over the wire as text: the parsers of this driver lose digits.
const asText = { getTypeParser: () => (value) => value };

async function withClient(run, options = {}) {
  const client = new pg.Client({ ssl: TLS, connectionTimeoutMillis: 15_000, ...options });
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}

async function rows(client, query, values) {
  return (await client.query({ text: query, values, rowMode: 'array' })).rows;
}

async function one(client, query, values) {
  return (await rows(client, query, values))[0][0];
}

async function refused(client, query, values) {
  try {
    await client.query(query, values);
  } catch (error) {
    return error.code ?? String(error);
  }
  return 'no error';
}

const behaviours = {
  connect: () => withClient(async (c) => [await one(c, 'select current_database()'), true]),

  'direct tls': () =>
    withClient(async (c) => [await one(c, 'select current_database()'), true], { sslnegotiation: 'direct' }),

  select: () => withClient((c) => rows(c, 'select id, name from parts order by id')),

  parameters: () =>
    withClient(async (c) => {
      const query = 'select name from parts where id = $1 and price < $2';
      return [await one(c, query, [2, 0.75]), await one(c, query, [1, 0.75])];
    }),

  'parameters, binary results': () =>
    withClient((c) => rows(c, 'select name from parts where id < $1 order by id', [4]), { binary: true }),

  prepared: () =>
    withClient(async (c) => {
      const seen = [];
      for (const id of [1, 2, 3]) {
        const result = await c.query({ name: 'by id', text: 'select name from parts where id = $1', values: [id] });
        seen.push(result.rows[0].name);
      }
      return seen;
    }),

  // The driver queues them by itself and sends one after the other.
  queued: () =>
    withClient(async (c) => {
      const all = Array.from({ length: 50 }, (_, n) => one(c, 'select n from numbers where n = $1', [n + 1]));
      return (await Promise.all(all)).reduce((sum, n) => sum + n, 0);
    }),

  batch: () =>
    withClient(async (c) => {
      const run = RUN + 'batch';
      await c.query('insert into deliveries (run, n) select $1, * from unnest($2::int[])', [run, Array.from({ length: 100 }, (_, n) => n + 1)]);
      const [count, sum] = (await rows(c, 'select count(*), sum(n) from deliveries where run = $1', [run]))[0];
      return [Number(count), Number(sum)];
    }),

  rollback: () =>
    withClient(async (c) => {
      const count = async () => Number(await one(c, 'select count(*) from deliveries where run = $1', [RUN + 'rollback']));
      const before = await count();
      await c.query('begin');
      await c.query('insert into deliveries (run, n) values ($1, 1)', [RUN + 'rollback']);
      const inside = await count();
      await c.query('rollback');
      return [before, inside, await count()];
    }),

  'error in transaction': () =>
    withClient(async (c) => {
      await c.query('begin');
      const seen = [await refused(c, FAILING), await refused(c, 'select 1')];
      await c.query('rollback');
      return [...seen, await one(c, 'select 1')];
    }),

  denied: () =>
    withClient(async (c) => [
      await refused(c, 'drop table keepsakes'),
      await refused(c, { text: 'drop table keepsakes', name: 'drop' }),
      Number(await one(c, 'select count(*) from keepsakes')),
    ]),

  'denied in transaction': () =>
    withClient(async (c) => {
      await c.query('begin');
      const seen = await refused(c, 'drop table keepsakes');
      await c.query('rollback');
      return [seen, await one(c, 'select 1')];
    }),

  'several statements': () =>
    withClient(async (c) => (await c.query('select 1 as n; select 2 as n; select 3 as n')).map((r) => r.rows[0].n)),

  'denied among several statements': () =>
    withClient(async (c) => [
      await refused(c, `insert into deliveries (run, n) values ('${RUN}several', 1); drop table keepsakes`),
      Number(await one(c, 'select count(*) from deliveries where run = $1', [RUN + 'several'])),
    ]),

  // Portals that suspend, outside a transaction block as well: one Sync at the end.
  'fetch size': () =>
    withClient(async (c) => {
      const cursor = c.query(new Cursor('select n from numbers order by n', [], { rowMode: 'array' }));
      const all = [];
      for (let some = await cursor.read(100); some.length > 0; some = await cursor.read(100)) {
        all.push(...some.flat());
      }
      await cursor.close();
      return [all.length, all.reduce((sum, n) => sum + n, 0)];
    }),

  'fetch size, closed early': () =>
    withClient(async (c) => {
      const cursor = c.query(new Cursor('select n from numbers order by n', [], { rowMode: 'array' }));
      const some = await cursor.read(10);
      await cursor.close();
      return [some.length, await one(c, 'select 1')];
    }),

  'copy out': () =>
    withClient((c) => text(c.query(copy.to('copy (select id, name from parts order by id) to stdout')))),

  'copy in': () =>
    withClient(async (c) => {
      const run = RUN + 'copy';
      const stream = c.query(copy.from('copy deliveries (run, n, note) from stdin'));
      await pipeline(Readable.from([`${run}\t10\ta\n${run}\t2`, `0\t\\N\n${run}\t30\tc\n`]), stream);
      return [stream.rowCount, Number(await one(c, 'select sum(n) from deliveries where run = $1', [run]))];
    }),

  notify: () =>
    withClient(async (listener) => {
      const heard = once(listener, 'notification');
      await listener.query(`listen "${RUN}"`);
      await withClient((sender) => sender.query(`notify "${RUN}", 'hello'`));
      return [(await heard)[0].payload];
    }),

  masked: () =>
    withClient(async (c) => {
      const query = 'select id, supplier_email from parts order by id';
      return {
        text: await rows(c, query),
        binary: await withClient((binary) => rows(binary, query, []), { binary: true }),
        copy: await text(c.query(copy.to(`copy (${query}) to stdout`))),
      };
    }),

  // This driver has no cancel of its own but the low-level message, on a connection of its own.
  cancel: () =>
    withClient(async (c) => {
      const started = Date.now();
      const running = refused(c, 'select pg_sleep(10)');
      await new Promise((resolve) => setTimeout(resolve, 500));
      const canceller = new pg.Connection({ ssl: TLS });
      canceller.connect(Number(process.env.PGPORT), process.env.PGHOST);
      canceller.on('connect', () => canceller.requestSsl());
      canceller.on('sslconnect', () => canceller.cancel(c.processID, c.secretKey));
      canceller.on('error', () => {});
      const seen = await running;
      return [seen, Date.now() - started < 8_000, await one(c, 'select 1')];
    }),

  types: () =>
    withClient(async (c) => {
      const seen = {};
      for (const id of [1, 2, 3]) {
        seen[`text ${id}`] = (await rows(c, 'select * from every_type where id = $1', [id]))[0];
      }
      return seen;
    }, { types: asText }),
};

async function main() {
  const chosen = process.argv.slice(2);
  for (const [name, run] of Object.entries(behaviours)) {
    if (chosen.length > 0 && !chosen.includes(name)) {
      continue;
    }
    let outcome;
    try {
      outcome = { saw: await within(30_000, run()) };
    } catch (error) {
      // One behaviour that fails must not hide the others.
      outcome = { failed: String(error) };
    }
    console.log(JSON.stringify({ behaviour: name, ...outcome }));
  }
  // What still hangs must not hold the process.
  process.exit(0);
}

function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('too late')), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

main();
