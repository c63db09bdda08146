// Formatting, lint and types of the whole tree: as `npm run lint`, so that `npm test` is all that one needs.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '..');

/** Runs a package's program on this Node; answers its exit code and output. */
function run(
  script: string,
  ...args: readonly string[]
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, 'node_modules', script), ...args], {
      cwd: root,
      timeout: 60_000,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

t.setTimeout(120_000);

t.test('biome finds nothing to say', async (t) => {
  const { code, output } = await run('@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.');
  if (code !== 0) process.stderr.write(output);
  t.equal(code, 0, 'npm run lint shows all of it, node_modules/.bin/biome check --write repairs most of it');
});

t.test('the types agree', async (t) => {
  const { code, output } = await run('typescript/bin/tsc', '-p', '.');
  if (code !== 0) process.stderr.write(output);
  t.equal(code, 0, 'npm run check:types shows all of it');
});
