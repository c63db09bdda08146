import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { PluginError } from '../../../shared/errors.ts';
import { createLogger, type LogLevel } from '../../../shared/log.ts';

const capture = (level: LogLevel = 'debug') => {
  const lines: string[] = [];
  const log = createLogger({ level, write: (line) => lines.push(line) });
  return { log, lines, last: (): Record<string, unknown> => JSON.parse(lines.at(-1) ?? '{}') };
};

t.test('one JSON line a message, with the fields of all its parents', async (t) => {
  const { log, lines, last } = capture();
  log.child({ requestId: 'ab' }).child({ method: 'Join' }).info('two\nlines', { n: 1 });
  t.match(last(), { level: 'info', message: 'two\nlines', requestId: 'ab', method: 'Join', n: 1 });
  t.match(lines[0], /^[^\n]+\n$/);
  t.match(String(last().time), /^\d{4}-\d\d-\d\dT/);
});

t.test('messages below the level are not written', async (t) => {
  const { log, lines } = capture('warn');
  log.debug('a');
  log.info('b');
  log.child({}).info('c');
  log.warn('d');
  log.error('e');
  t.equal(lines.length, 2);
});

t.test('secrets are redacted at any depth, in values and in text', async (t) => {
  const { log, lines } = capture();
  log.info('connect to http://me:hunter2@etcd:2379 with password=hunter2', {
    ETCD_PASSWORD: 'hunter2',
    deep: { list: [{ sessionToken: 'hunter2', accessKeyId: 'hunter2' }] },
    headers: { Authorization: 'Bearer hunter2hunter2' },
    env: ['AWS_SECRET_ACCESS_KEY=hunter2'],
    error: new Error('url http://me:hunter2@x', { cause: { secret: 'hunter2' } }),
  });
  t.notMatch(lines.join(''), 'hunter2');
  t.match(lines.join(''), 'http://me:***@etcd:2379');
});

t.test('errors come with stack, cause and context', async (t) => {
  const { log, last } = capture();
  log.error('x', {
    error: new PluginError('KERNEL', { what: 'a route', errno: 'EEXIST' }, { cause: new Error('inner') }),
  });
  t.match(last(), {
    error: {
      code: 'KERNEL',
      message: /^KERNEL: /,
      stack: /log\.test\.ts/,
      cause: { message: 'inner' },
      context: { errno: 'EEXIST' },
    },
  });
});

t.test('nothing that is logged can throw or grow without limit', async (t) => {
  const { log, lines, last } = capture();
  const loop: Record<string, unknown> = {
    big: 1n,
    map: new Map([['a', new Set([1])]]),
    bytes: Buffer.alloc(9),
    when: new Date(Number.NaN),
  };
  loop.self = loop;
  log.info('x', { loop, long: 'x'.repeat(100_000), list: Array(10_000).fill(1), run: () => 1 });
  t.match(last(), { loop: { self: '[circular]', big: '1', map: { a: [1] }, bytes: '[9 bytes]' } });
  t.ok((lines[0]?.length ?? 0) < 20_000);
});

t.test('a log that nobody reads any more does not end the process', async (t) => {
  const module = fileURLToPath(new URL('../../../shared/log.ts', import.meta.url));
  const code = `
    const { createLogger } = await import(${JSON.stringify(module)});
    const log = createLogger({ level: 'info' });
    log.info('first');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    log.info('second');
    log.info('third');
    process.exit(7);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['pipe', 'ignore', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  const text = await new Promise((resolve) => child.stderr.once('data', (data) => resolve(String(data))));
  t.match(text, 'first');
  child.stderr.destroy();
  setTimeout(() => child.stdin.end('go'), 50);
  t.equal(await new Promise((resolve) => child.once('exit', resolve)), 7);
});
