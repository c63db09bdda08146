import { mkdirSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { dropAbandoned, keepNewest } from '../../rig/sweep.ts';

/** A folder with others in it, by the minutes since they were used last. */
const folderOf = (t: { testdir(): string }, ages: Readonly<Record<string, number>>): string => {
  const folder = t.testdir();
  for (const [name, minutes] of Object.entries(ages)) {
    const used = new Date(Date.now() - minutes * 60_000);
    mkdirSync(join(folder, name));
    utimesSync(join(folder, name), used, used);
  }
  return folder;
};

t.test('of each kind those stay that were used last', async (t) => {
  const folder = folderOf(t, { 'a-1': 30, 'a-2': 10, 'a-3': 20, 'b-1': 90 });
  await keepNewest(folder, 2, (name) => name.startsWith('a-'));
  t.same(readdirSync(folder).sort(), ['a-2', 'a-3', 'b-1']);
  await keepNewest(folder, 1);
  t.same(readdirSync(folder), ['a-2']);
});

t.test('what was begun goes when nobody can be at it any more', async (t) => {
  const folder = folderOf(t, { '.old': 61, '.new': 59, old: 90 });
  await dropAbandoned(folder, (name) => name.startsWith('.'));
  t.same(readdirSync(folder).sort(), ['.new', 'old']);
});

t.test('a cache that is not there yet is fine', async (t) => {
  const folder = join(t.testdir(), 'none');
  await keepNewest(folder, 1);
  await dropAbandoned(folder);
  t.pass();
});
