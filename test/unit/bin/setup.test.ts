import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '../../..');
const setup = join(root, 'bin/setup.mjs');

function run(
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly out: string; readonly error: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [setup, ...args], { timeout: 60_000 }, (error, out, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, error: stderr });
    });
  });
}

t.test('every npm script is a command of it', async (t) => {
  const { code, error } = await run('nonsense');
  t.equal(code, 1);
  const known = /setup\.mjs ([a-z:|]+)/.exec(error)?.[1]?.split('|');
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const [name, script] of Object.entries(scripts)) {
    t.equal(script, `node bin/setup.mjs ${name}`);
    t.ok(known?.includes(name), name);
  }
});

t.test('it hands arguments and the exit code on, and says nothing when nothing is missing', async (t) => {
  const listed = await run('test', '--list', 'test/unit/bin/setup');
  t.same(listed, { code: 0, out: 'test/unit/bin/setup.test.ts\n', error: '' });
  t.equal((await run('test', 'no-such-test')).code, 1);
});
