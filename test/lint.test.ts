// Formatting, lint and types of the whole tree: as `npm run lint`, so that `npm test` is all that one needs.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
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

/** biome's findings as `file:line title: message`. */
function findings(output: string): string[] {
  const form = /^::\w+ title=([^,]*),file=([^,]*),line=(\d+)[^:]*::(.*)$/gm;
  return [...output.matchAll(form)].map(
    ([, title, file = '', line, message]) => `${relative(root, file)}:${line} ${title}: ${message}`,
  );
}

const check = ['check', '--error-on-warnings', '--max-diagnostics=200', '--reporter=github'];

t.test('biome finds nothing to say (biome check --write repairs most)', async (t) => {
  const { code, output } = await run('@biomejs/biome/bin/biome', ...check, '.');
  t.same(findings(output), []);
  t.equal(code, 0, output);
});

t.test('an any, an enum and an unused name would be noticed', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const bad = join(folder, 'bad.ts');
  writeFileSync(bad, 'enum A {}\nlet b: any;\nexport const c = (d: number): number => 1;\n');
  const flags = [...check, '--config-path=.', '--vcs-enabled=false'];
  const { code, output } = await run('@biomejs/biome/bin/biome', ...flags, bad);
  t.not(code, 0);
  for (const rule of ['noEnum', 'noExplicitAny', 'noUnusedVariables', 'noUnusedFunctionParameters'])
    t.match(output, rule);
});

t.test('the types agree', async (t) => {
  const { code, output } = await run('typescript/bin/tsc', '-p', '.');
  t.same(
    output.split('\n').filter((line) => line !== ''),
    [],
  );
  t.equal(code, 0, 'tsc exits with 0');
});
