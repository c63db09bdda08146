import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type BundleFile, bundle } from '../../../plugin-configs/bundle.ts';

t.setTimeout(120_000);

const root = join(import.meta.dirname, '../../..');
/** The clouds' clients: 30 MB of memory each. */
const VENDORS = /node_modules\/(@aws-sdk|@smithy|@aws-crypto|@alicloud)\//;

const folderFor = (t: Test): string => {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-bundle-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};

const fileOf = (files: readonly BundleFile[], name: string): BundleFile => {
  const found = files.find((file) => file.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
};

/** The sources that are loaded together with a file. */
const loadedWith = (files: readonly BundleFile[], name: string): string[] => {
  const names = new Set([name]);
  for (const one of names) for (const need of fileOf(files, one).needs) names.add(need);
  return [...names].flatMap((one) => fileOf(files, one).sources);
};

const run = (...argv: string[]) => spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 20_000 });

t.test('what is imported later is a file of its own, and shares its classes with what was there before', async (t) => {
  const folder = folderFor(t);
  const files = await bundle(join(import.meta.dirname, 'bundle-fixture/main.ts'), folder);
  const { later } = fileOf(files, 'main.cjs');
  t.equal(later.length, 1);
  t.notOk(loadedWith(files, 'main.cjs').some((path) => path.endsWith('later.ts')));
  t.same(readdirSync(folder).sort(), files.flatMap(({ name }) => [name, `${name}.map`]).sort());
  const { stdout, stderr } = run(join(folder, 'main.cjs'));
  t.equal(stdout, 'started function\nloaded\none class true\n', stderr);
});

for (const plugin of ['network', 'volume']) {
  t.test(`the ${plugin} plugin loads no client of a cloud before it is asked for one`, async (t) => {
    const folder = folderFor(t);
    const files = await bundle(join(root, `${plugin}-plugin/main.ts`), folder);
    t.same(
      loadedWith(files, 'main.cjs').filter((path) => VENDORS.test(path)),
      [],
    );
    const later = files.flatMap(({ name }) => fileOf(files, name).later);
    const clients = [...new Set(later)].filter((name) => loadedWith(files, name).some((path) => VENDORS.test(path)));
    t.ok(clients.length > 0, 'they are in files that are loaded later');
    // Who asks one service of AWS carries the client of no other.
    for (const name of clients) {
      const services = loadedWith(files, name).flatMap((path) => /@aws-sdk\/client-(\w+)\//.exec(path)?.[1] ?? []);
      t.ok(new Set(services).size <= 1, `${name}: ${[...new Set(services)].join(', ')}`);
    }
    // Nothing but what was bundled can be found from this folder.
    const script = clients.map(
      (name) => `console.log(Object.keys(require(${JSON.stringify(join(folder, name))})).length)`,
    );
    const { stdout, stderr } = run('-e', script.join('\n'));
    t.match(stdout, new RegExp(`^([1-9]\\d*\\n){${clients.length}}$`), stderr);
  });
}
