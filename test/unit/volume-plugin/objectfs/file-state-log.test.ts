import { appendFileSync, copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { FileStateLog, readRecords } from '../../../../volume-plugin/objectfs/file-state-log.ts';
import type { StateRecord } from '../../../../volume-plugin/objectfs/state-log.ts';

const record = (n: number, more: Partial<StateRecord> = {}): StateRecord => ({ of: 'n', n, ...more });

t.test('what was appended is there for the next life, in its order and by its kind', async (t) => {
  const path = join(t.testdir(), 'log');
  const log = new FileStateLog(path);
  t.same(log.left('n'), []);
  log.append(record(1), { of: 'other', text: 'line\nfeed and ü', list: [1, 'a'], map: { a: 'b' }, no: null });
  log.append(record(2));
  t.equal(log.length, readFileSync(path).length);
  log.close();
  const next = new FileStateLog(path);
  t.same(next.left('n'), [record(1), record(2)]);
  t.same(next.left('other'), [{ of: 'other', text: 'line\nfeed and ü', list: [1, 'a'], map: { a: 'b' }, no: null }]);
  t.same(
    next.left('other', 'n').map(({ of }) => of),
    ['n', 'other', 'n'],
  );
  next.close();
});

t.test('a log that was cut anywhere has the records before the cut, and goes on behind them', async (t) => {
  const folder = t.testdir();
  const whole = join(folder, 'whole');
  const log = new FileStateLog(whole);
  const ends = [0];
  for (let n = 1; n <= 5; n += 1) {
    log.append(record(n, { text: 'ü'.repeat(n) }));
    ends.push(log.length);
  }
  log.close();
  for (let length = 0; length <= (ends.at(-1) ?? 0); length += 1) {
    const path = join(folder, 'cut');
    copyFileSync(whole, path);
    truncateSync(path, length);
    const cut = new FileStateLog(path);
    const kept = ends.filter((end) => end <= length).length - 1;
    const left = cut.left('n');
    if (left.length !== kept) t.fail(`cut at ${length}: ${left.length} records instead of ${kept}`);
    cut.append(record(99));
    cut.close();
    const next = new FileStateLog(path);
    if (next.left('n').at(-1)?.['n'] !== 99) t.fail(`cut at ${length}: what was appended then is lost`);
    next.close();
  }
  t.pass('at every byte');
});

t.test('bytes that are not what was written end the log', async (t) => {
  const path = join(t.testdir(), 'log');
  const log = new FileStateLog(path);
  log.append(record(1), record(2), record(3));
  log.close();
  const bytes = readFileSync(path);
  const second = bytes.indexOf('\n') + 1;
  bytes[second + 15] = (bytes[second + 15] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const next = new FileStateLog(path);
  t.same(next.left('n'), [record(1)]);
  next.close();
  appendFileSync(path, `${'\0'.repeat(500)}\n`);
  t.same(readRecords(readFileSync(path)).records, [record(1)], 'zeros of a host that has lost its power, too');
});

t.test('a log that has grown is begun anew by itself with what the parts keep', async (t) => {
  const path = join(t.testdir(), 'log');
  const log = new FileStateLog(path, 2_000);
  let last = 0;
  log.keeps(() => [record(last)]);
  log.keeps(() => [{ of: 'second', n: 7 }]);
  for (let n = 1; n <= 1_000; n += 1) {
    log.append(record(n));
    last = n;
    if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(readFileSync(path).length < 10_000, `${readFileSync(path).length} bytes`);
  log.close();
  const next = new FileStateLog(path);
  t.equal(next.left('n').at(-1)?.['n'], 1_000);
  t.same(next.left('second').at(0), { of: 'second', n: 7 });
  next.close();
});

t.test('what was written before a compaction that fails is there still', async (t) => {
  const path = join(t.testdir(), 'log');
  const log = new FileStateLog(path);
  let fails = true;
  log.keeps(function* () {
    yield record(1);
    if (fails) throw new Error('no');
  });
  log.append(record(1), record(2));
  t.throws(() => log.compact(), { code: 'EIO' });
  log.append(record(3));
  await log.sync();
  t.same(readRecords(readFileSync(path)).records.length, 3);
  fails = false;
  log.compact();
  await log.sync();
  log.append(record(4));
  t.same(readRecords(readFileSync(path)).records, [record(1), record(4)]);
  log.close();
});
