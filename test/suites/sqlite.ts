/** `node test/suites/sqlite.ts FOLDER ROWS write|check`: databases of SQLite, one for each journal mode. */
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const MODES = ['delete', 'truncate', 'persist', 'wal'] as const;
const IN_ONE = 50;

const [folder = '', rows = '', what = ''] = process.argv.slice(2);
const count = Number(rows);
const must = (fact: boolean, text: string): void => {
  if (!fact) throw new Error(text);
};

for (const mode of MODES) {
  const database = new DatabaseSync(path.join(folder, `${mode}.db`));
  const one = (query: string): unknown => Object.values(database.prepare(query).get() ?? {})[0];
  if (what === 'write') {
    must(one(`pragma journal_mode = ${mode}`) === mode, `${mode}: the journal has another mode`);
    database.exec(
      'pragma synchronous = full; create table t (n integer primary key, text); create index i on t (text)',
    );
    const insert = database.prepare('insert into t values (?, ?)');
    for (let at = 0; at < count; at += IN_ONE) {
      database.exec('begin');
      for (let n = at; n < Math.min(count, at + IN_ONE); n += 1) insert.run(n, `row ${n} ${'x'.repeat(n % 300)}`);
      // One in ten is taken back.
      database.exec((at / IN_ONE) % 10 === 9 ? 'rollback' : 'commit');
    }
    database.exec('delete from t where n % 7 = 3; update t set text = text || n where n % 5 = 1');
  }
  must(one('pragma integrity_check') === 'ok', `${mode}: it is damaged`);
  const kept = Array.from({ length: count }, (_, n) => n).filter(
    (n) => Math.floor(n / IN_ONE) % 10 !== 9 && n % 7 !== 3,
  );
  must(
    one('select count(*) from t') === kept.length,
    `${mode}: ${one('select count(*) from t')} rows of ${kept.length}`,
  );
  must(one('select sum(n) from t') === kept.reduce((sum, n) => sum + n, 0), `${mode}: other rows`);
  database.close();
}
