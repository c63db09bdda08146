// @timeout 8m
// @machines
/**
 * A database that is written under load dies with its machine, in the middle of transactions, and goes on in another
 * machine with every row that it had confirmed. Real kernels, file systems and NVMe disks; the cloud is simulated.
 */
import t from 'tap';
import { until } from '../rig/command.ts';
import { IMAGE } from '../rig/vm/guest.ts';
import { vmsFor } from '../rig/vm/rig.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import { SqlSession, startDatabase } from './support/sql-session.ts';

const WRITERS = [1, 2, 3];
/** Confirmed rows after which the power goes. */
const ROWS = 150;

const payload = (writer: number, n: number): string => `row ${n} of ${writer} `.repeat(40);

/** One client: row after row, each in a transaction of its own, until its connection breaks. Returns the number of the last confirmed one. */
async function write(session: SqlSession, writer: number, confirmed: () => void): Promise<number> {
  for (let n = 1; ; n += 1) {
    try {
      await session.ask(`INSERT INTO rows VALUES (${writer}, ${n}, '${payload(writer, n)}')`);
    } catch (error) {
      if (!session.closed) throw error;
      return n - 1;
    }
    confirmed();
  }
}

t.setTimeout(8 * 60_000);

const vms = await vmsFor(t, {
  machines: 2,
  cloud: 'aws',
  plugin: await pluginFolder('volume'),
  sim: { times: { createMs: 200, attachMs: 300, detachMs: 300, stopMs: 300 } },
});
const [first, second] = [vms.machine(1), vms.machine(2)];
await Promise.all([first, second].map((machine) => machine.enablePlugin(vms.settings)));

t.test('a database killed with its machine serves every committed row from another machine', async (t) => {
  await first.dockerMust(['volume', 'create', '-d', 'cloudvol', '-o', 'size=1g', 'pgdata']);
  await startDatabase(first, 'pgdata');
  const setup = await SqlSession.open(first);
  await setup.ask('CREATE TABLE rows (writer INTEGER, n INTEGER, payload TEXT, PRIMARY KEY (writer, n))');
  t.strictSame(await setup.ask('PRAGMA journal_mode'), ['wal']);
  t.strictSame(await setup.ask('PRAGMA synchronous'), ['2'], 'synchronous=FULL: a commit is on the disk');

  let rows = 0;
  const sessions = await Promise.all(WRITERS.map(() => SqlSession.open(first)));
  const writing = sessions.map((session, i) =>
    write(session, WRITERS[i] ?? 0, () => {
      rows += 1;
    }),
  );
  await until('rows are committed', () => rows >= ROWS, { timeoutMs: 60_000 });
  await first.kill9();
  for (const session of [setup, ...sessions]) session.close();
  const last = await Promise.all(writing);
  t.comment(`${rows} rows were confirmed: ${last.join(', ')}`);

  const run = ['run', '-d', '--name', 'early', '--network', 'host', '-v', 'pgdata:/data', IMAGE, 'true'];
  const early = await second.docker(run);
  t.not(early.code, 0, 'not while the cloud says that the machine runs: it might write still');
  t.match(early.stderr, /Volume pgdata is in use on host host1 by 1 container\./, 'and it says who has the volume');
  await second.docker(['rm', '-f', 'early']);

  await vms.cloud.terminate(1);
  const started = performance.now();
  await until(
    'the database starts on the other machine',
    async () => {
      const outcome = await startDatabase(second, 'pgdata').catch((error: Error) => error);
      if (outcome instanceof Error) t.comment(outcome.message.slice(0, 300));
      return !(outcome instanceof Error);
    },
    { timeoutMs: 60_000, everyMs: 500 },
  );
  t.comment(`from the end of the machine in the cloud to the database: ${Math.round(performance.now() - started)} ms`);
  const after = await SqlSession.open(second);
  t.strictSame(await after.ask('PRAGMA integrity_check'), ['ok']);
  for (const [i, writer] of WRITERS.entries()) {
    const found = await after.ask(`SELECT payload FROM rows WHERE writer = ${writer} ORDER BY n`);
    const confirmed = last[i] ?? 0;
    t.ok(
      found.length === confirmed || found.length === confirmed + 1,
      'all that was confirmed, and at most what was under way',
    );
    t.ok(
      found.every((text, n) => text === payload(writer, n + 1)),
      'with the content that was written',
    );
  }
  await after.ask(`INSERT INTO rows VALUES (9, 1, 'it goes on')`);
  after.close();
});
