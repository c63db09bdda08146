// Holds the sources to the rules in test/architecture/rules.ts, and shows on made-up trees that breaking one is noticed.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findViolations, longFiles } from './architecture/check.ts';

const root = join(import.meta.dirname, '..');
const rooms = ['shared', 'network-plugin', 'volume-plugin', 'plugin-configs', 'bin', 'test'];

/** All sources but the rules and this file, which are full of bad examples. */
function readSources(): Map<string, string> {
  const files = rooms
    .filter((room) => existsSync(join(root, room)))
    .flatMap((room) =>
      readdirSync(join(root, room), { recursive: true, encoding: 'utf8' }).map((name) => join(room, name)),
    )
    .filter(
      (path) =>
        /\.(ts|mjs)$/.test(path) &&
        !path.includes('node_modules') &&
        !path.startsWith('test/fixtures/') &&
        !path.startsWith('test/architecture'),
    );
  return new Map(files.sort().map((path) => [path, readFileSync(join(root, path), 'utf8')]));
}

/** What is wrong with a made-up tree, given as path → text. */
function violations(tree: Readonly<Record<string, string>>): string[] {
  return findViolations(new Map(Object.entries(tree)));
}

t.test('the sources keep to the rules', async (t) => {
  const sources = readSources();
  t.ok(sources.size > 30, 'the sources were found');
  t.same(findViolations(sources), []);
  for (const line of longFiles(sources)) t.comment(`long: ${line}`);
});

t.test('an import upward is noticed', async (t) => {
  const tree = { 'shared/a.ts': `import { b } from '../network-plugin/b.ts';`, 'network-plugin/b.ts': '' };
  t.match(violations(tree), ['shared/a.ts: shared code imports network-plugin/b.ts', /imports upward/]);
  const inside = { 'network-plugin/route/a.ts': `import '../driver.ts';`, 'network-plugin/driver.ts': '' };
  t.match(violations(inside), [/imports upward: network-plugin\/driver\.ts/]);
  const beside = { 'network-plugin/driver.ts': `import { p } from './protocol.ts';`, 'network-plugin/protocol.ts': '' };
  t.match(violations(beside), [/protocol\.ts, which stands above it/]);
});

t.test('plugins that know each other, and production code that knows a test, are noticed', async (t) => {
  const plugins = { 'network-plugin/a.ts': `export { b } from '../volume-plugin/b.ts';`, 'volume-plugin/b.ts': '' };
  t.match(violations(plugins), [/one plugin imports another's/]);
  const test = { 'bin/a.ts': `import type { B } from '../test/b.ts';`, 'test/b.ts': '' };
  t.match(violations(test), [/imports a test's file/, /upward/]);
});

t.test('neighbours exchange types and no values', async (t) => {
  const contract = { 'network-plugin/datapath/datapath.ts': '' };
  const types = `import type { P } from '../datapath/datapath.ts';\nimport { type Q } from '../datapath/datapath.ts';`;
  t.same(violations({ 'network-plugin/route/engine.ts': types, ...contract }), []);
  const values = `import { type Q, q } from '../datapath/datapath.ts';`;
  t.match(violations({ 'network-plugin/route/engine.ts': values, ...contract }), [/only types may cross/]);
});

t.test('only a main and a registry name implementations; a family knows its own parts', async (t) => {
  const parts = { 'network-plugin/route/etcd.ts': '', 'network-plugin/route/etcd-lease.ts': '' };
  const driver = { 'network-plugin/driver.ts': `import { etcd } from './route/etcd.ts';`, ...parts };
  t.match(violations(driver), [/names the implementation/]);
  t.same(violations({ 'network-plugin/route/registry.ts': `import { etcd } from './etcd.ts';`, ...parts }), []);
  t.same(violations({ ...parts, 'network-plugin/route/etcd.ts': `import { lease } from './etcd-lease.ts';` }), []);
  const other = { ...parts, 'network-plugin/route/host.ts': `import { lease } from './etcd-lease.ts';` };
  t.match(violations(other), [/names the implementation/]);
});

t.test('koffi, child processes, shells, the environment and the console have their places', async (t) => {
  t.match(violations({ 'shared/kernel/link.ts': `import koffi from 'koffi';` }), [/may not use koffi/]);
  t.same(violations({ 'shared/kernel/syscalls.ts': `import koffi from 'koffi';` }), []);
  t.match(violations({ 'shared/a.ts': `import { spawn } from 'node:child_process';` }), [/may not use child_process/]);
  t.match(violations({ 'bin/a.ts': `spawn('x', { shell: true });` }), [/may not use a shell/]);
  t.match(violations({ 'shared/a.ts': 'const x = process.env.X;' }), [/may not use process\.env/]);
  t.match(violations({ 'shared/a.ts': `console.log('x');` }), [/may not use console/]);
  t.same(violations({ 'shared/a.ts': `// console.log('x')\n/* process.env */` }), [], 'comments are free');
});

t.test('cycles, wrong names, missing files and long files are noticed', async (t) => {
  const cycle = { 'shared/a.ts': `import { b } from './b.ts';`, 'shared/b.ts': `import { a } from './a.ts';` };
  t.same(violations(cycle), ['import cycle: shared/a.ts → shared/b.ts → shared/a.ts']);
  const typed = { ...cycle, 'shared/b.ts': `import type { A } from './a.ts';` };
  t.same(violations(typed), [], 'types are erased and make no cycle');
  t.match(violations({ 'shared/fooBar.ts': '' }), [/kebab-case/]);
  t.match(violations({ 'shared/a.ts': `import './gone.ts';` }), [/is not there/]);
  const long = new Map([['shared/a.ts', 'x;\n'.repeat(401)]]);
  t.match(findViolations(long), [/401 lines/]);
  t.same(longFiles(long), ['401 shared/a.ts']);
});
