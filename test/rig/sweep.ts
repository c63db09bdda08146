/** Keeps the rig's caches small. What lies there is used by its name; when it was used last is the time of its folder. */
import { existsSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';

/** What nobody goes on with after so long was left by a process that was killed. */
const ABANDONED_MS = 3_600_000;

type Names = (name: string) => boolean;

const everything: Names = () => true;

/** Removes all but the `kept` ones of `folder` that were used last, of those that `isMeant` names. */
export async function keepNewest(folder: string, kept: number, isMeant = everything): Promise<void> {
  const found = await entries(folder, isMeant);
  await removeAll(folder, found.sort((a, b) => b.used - a.used).slice(kept));
}

/** Removes what was begun in `folder` and never ended, of that which `isMeant` names. */
export async function dropAbandoned(folder: string, isMeant = everything): Promise<void> {
  const found = await entries(folder, isMeant);
  await removeAll(
    folder,
    found.filter(({ used }) => Date.now() - used > ABANDONED_MS),
  );
}

interface Entry {
  readonly name: string;
  readonly used: number;
}

async function entries(folder: string, isMeant: Names): Promise<Entry[]> {
  if (!existsSync(folder)) return [];
  const names = (await readdir(folder)).filter(isMeant);
  return await Promise.all(names.map(async (name) => ({ name, used: (await stat(path.join(folder, name))).mtimeMs })));
}

async function removeAll(folder: string, found: readonly Entry[]): Promise<void> {
  for (const { name } of found) await rm(path.join(folder, name), { recursive: true, force: true });
}
