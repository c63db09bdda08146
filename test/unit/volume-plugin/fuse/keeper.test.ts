// @timeout 2m
// Who holds a mount, starts its engine again, and is known again by the driver's next life; and who starts the driver.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { codeOf } from '../../../../shared/error-code.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { enginesOf, findKeeper, killKeeper, startKeeper } from '../../../../volume-plugin/fuse/keeper.ts';
import { run, until } from '../../../rig/command.ts';
import { MemoryMount } from '../../../rig/memory-mount.ts';
import { inOwnMounts, scratch } from '../block/scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

const scripts = join(import.meta.dirname, '../../../../volume-plugin/fuse');
const context = (ms = 10_000) => newContext(silentLogger, ms);

t.test('the scripts are such that a plain shell takes them, and a checker finds nothing', async (t) => {
  const names = readdirSync(scripts).filter((name) => name.endsWith('.sh'));
  t.same(names.sort(), ['first.sh', 'keeper.sh', 'notify.sh']);
  for (const name of names) {
    const path = join(scripts, name);
    t.equal(spawnSync('sh', ['-n', path]).status, 0, name);
    t.notMatch(readFileSync(path, 'utf8'), /\beval\b/, name);
    t.ok((statSync(path).mode & 0o111) !== 0, `${name} can be executed`);
    const { error, stdout } = spawnSync('shellcheck', [path], { encoding: 'utf8' });
    if (error === undefined) t.equal(stdout, '', name);
  }
});

t.test('an engine that is killed is started again; files that were open stay open', async (t) => {
  const one = await MemoryMount.make(t);
  writeFileSync(one.path('file'), 'before');
  const fd = openSync(one.path('file'), 'r+');
  const keeper = one.keeper ?? 0;
  const first = await one.engine();
  process.kill(first, 'SIGKILL');
  writeFileSync(one.path('other'), 'made while there is no engine');
  const buffer = Buffer.alloc(6);
  t.equal(readSync(fd, buffer, 0, 6, 0), 6);
  t.equal(buffer.toString(), 'before');
  closeSync(fd);
  t.equal(one.keeper, keeper);
  t.not(await one.engine(), first);
  t.match(readFileSync(one.log, 'utf8'), /"message":"an engine has ended".*"status":137/);
});

t.test('the keeper is known again, and nobody else is taken for it', async (t) => {
  const one = await MemoryMount.make(t);
  const keeper = findKeeper(one.folder) ?? 0;
  t.match(readFileSync(`/proc/${keeper}/cmdline`, 'utf8'), /keeper\.sh/);
  const engine = await one.engine();
  t.same(enginesOf(keeper), [engine]);
  const file = join(one.folder, 'keeper');
  const [boot = '', stat = ''] = readFileSync(file, 'utf8').split('\n');
  const fields = stat.split(' ');
  writeFileSync(file, `${boot}\n${stat.replace(` ${fields[21]} `, ` ${Number(fields[21]) + 1} `)}\n`);
  t.equal(findKeeper(one.folder), undefined, 'a process that was started at another time has got its number');
  writeFileSync(file, `00000000-0000-0000-0000-000000000000\n${stat}\n`);
  t.equal(findKeeper(one.folder), undefined, 'the host was started again');
  writeFileSync(file, `${boot}\n`);
  t.equal(findKeeper(one.folder), undefined, 'cut short');
  writeFileSync(file, `${boot}\n${stat}\n`);
  t.equal(findKeeper(one.folder), keeper);
  t.equal(findKeeper(one.base), undefined, 'there never was one');
});

t.test('a keeper that is killed with its engine leaves a mount that says so, at once', async (t) => {
  const one = await MemoryMount.make(t);
  writeFileSync(one.path('file'), 'x');
  const keeper = one.keeper ?? 0;
  await killKeeper(one.folder, context());
  t.equal(one.keeper, undefined);
  t.same(enginesOf(keeper), []);
  const code = ((): string | undefined => {
    try {
      readFileSync(one.path('file'));
      return undefined;
    } catch (error) {
      return codeOf(error);
    }
  })();
  t.equal(code, 'ENOTCONN');
  await killKeeper(one.folder, context());
});

t.test('what mount(8) says is the reason when nothing can be mounted', async (t) => {
  const one = await MemoryMount.folders(t);
  const mount = { target: join(one.base, 'nowhere'), source: 'x' };
  const failed = startKeeper({ folder: one.folder, mount, engine: ['/bin/false'] }, context());
  const error = await failed.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  t.ok(error instanceof PluginError);
  t.match(String(error), /nowhere.*(does not exist|No such file)/s);
  t.equal(findKeeper(one.folder), undefined);
});

t.test('without a mount the engine runs until it has ended with 0', async (t) => {
  const one = await MemoryMount.folders(t);
  const count = join(one.folder, 'count');
  const script = 'echo life >> "$1/count"; ls -l /proc/self/fd/3 2>/dev/null; [ "$(wc -l < "$1/count")" -ge 3 ]';
  const errors = openSync(one.log, 'a');
  await startKeeper({ folder: one.folder, engine: ['/bin/sh', '-c', script, 'engine'], errors }, context());
  closeSync(errors);
  await until('the end of the keeper', () => findKeeper(one.folder) === undefined);
  t.equal(readFileSync(count, 'utf8'), 'life\n'.repeat(3));
});

t.test('an engine that dies again and again is given time, and TERM ends it for good', async (t) => {
  const one = await MemoryMount.folders(t);
  const errors = openSync(one.log, 'a');
  const engine = ['/bin/sh', '-c', 'date +%s%N >> "$1/lives"; exit 3', 'engine'];
  const keeper = await startKeeper({ folder: one.folder, engine, errors }, context());
  closeSync(errors);
  const lives = (): number[] => readFileSync(join(one.folder, 'lives'), 'utf8').trim().split('\n').map(Number);
  await until('five lives', () => existsSync(join(one.folder, 'lives')) && lives().length >= 5);
  const [first = 0, , , fourth = 0, fifth = 0] = lives().map((at) => at / 1e9);
  t.ok(fourth - first >= 0.2, `${fourth - first}`);
  t.ok(fifth - fourth >= 0.9, `${fifth - fourth}`);
  process.kill(keeper, 'SIGTERM');
  await until('the end of the keeper', () => findKeeper(one.folder) === undefined);
});

t.test('a keeper outlives who has started it', async (t) => {
  const one = await MemoryMount.folders(t);
  const script =
    `import { startKeeper } from ${JSON.stringify(join(scripts, 'keeper.ts'))};\n` +
    `import { newContext } from ${JSON.stringify(join(scripts, '../../shared/context.ts'))};\n` +
    `import { silentLogger } from ${JSON.stringify(join(scripts, '../../shared/log.ts'))};\n` +
    `await startKeeper({ folder: process.argv[1], engine: ['/bin/sh', '-c', 'exec sleep 60'] }, newContext(silentLogger, 10_000));\n` +
    `process.kill(process.pid, 'SIGKILL');`;
  const errors = openSync(one.log, 'a');
  const driver = spawn(process.execPath, ['--input-type=module', '-e', script, one.folder], {
    stdio: ['ignore', 'ignore', errors],
  });
  closeSync(errors);
  await once(driver, 'exit');
  t.equal(driver.signalCode, 'SIGKILL');
  t.type(findKeeper(one.folder), 'number');
});

t.test(
  'a driver that is killed, or fails later, is started again; TERM reaches it, and its end is the end',
  async (t) => {
    const folder = scratch(t);
    const driver =
      'echo $$ > "$1/driver"; echo life >> "$1/lives"; trap "echo told >> $1/lives; exit 0" TERM; while :; do sleep 0.05; done';
    const first = spawn('/bin/sh', [join(scripts, 'first.sh'), '/bin/sh', '-c', driver, 'driver', folder], {
      stdio: 'ignore',
    });
    t.teardown(() => first.kill('SIGKILL'));
    const lives = (): string[] =>
      existsSync(join(folder, 'lives')) ? readFileSync(join(folder, 'lives'), 'utf8').trim().split('\n') : [];
    for (const count of [1, 2, 3]) {
      await until(`life ${count}`, () => lives().length === count);
      await sleep(100);
      if (count < 3) process.kill(Number(readFileSync(join(folder, 'driver'), 'utf8')), 'SIGKILL');
    }
    first.kill('SIGTERM');
    const [status] = (await once(first, 'exit')) as [number];
    t.equal(status, 0);
    t.same(lives(), ['life', 'life', 'life', 'told']);
  },
);

t.test('a driver whose settings are wrong ends at once with its code, and is not started again', async (t) => {
  const folder = scratch(t);
  const script = 'echo life >> "$1/lives"; exit 7';
  const { code } = await run([join(scripts, 'first.sh'), '/bin/sh', '-c', script, 'driver', folder]);
  t.equal(code, 7);
  t.equal(readFileSync(join(folder, 'lives'), 'utf8'), 'life\n');
});

t.test('processes that have lost their parents are buried', async (t) => {
  const folder = scratch(t);
  // The first process of a namespace inherits what others leave.
  const script = '(sleep 0.1 & echo $! > "$1/orphan"); sleep 0.6; ls /proc/$(cat "$1/orphan") > "$1/left" 2>&1; exit 0';
  const init = ['--pid', '--fork', '--kill-child', '--mount-proc', join(scripts, 'first.sh')];
  await run(['unshare', ...init, '/bin/sh', '-c', script, 'driver', folder]);
  t.match(readFileSync(join(folder, 'left'), 'utf8'), /No such file/);
});
