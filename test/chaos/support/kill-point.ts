import { existsSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StateStore } from '../../../shared/state/store.ts';

/** The test and the plugin speak through files in the state folder: they are there before, during and after a crash. */

/** Says at which update of the state the plugin is to die; the plugin takes it away before it does. */
export const KILL_FILE = 'kill-point.json';
/** Says how long what looks abandoned is left alone; without it the plugin's own times hold. */
export const WINDOWS_FILE = 'windows.json';

export interface KillPoint {
  /** Number of the update, counted from 1 since the file was written. */
  readonly at: number;
  /** `before`: the update is not even begun; `after`: it is durable, and its maker does not know. */
  readonly when: 'before' | 'after';
  /** Different for each file, so that the count starts anew. */
  readonly token: string;
}

/** Ends the process without any clean-up. A first process of its PID namespace is not killed by its own SIGKILL. */
const die = (): never => {
  const { reallyExit } = process as unknown as { reallyExit(code: number): never };
  return reallyExit(137);
};

/** A store that ends the process at the update that the file in `folder` names. */
export function watchedStore<S>(folder: string, store: StateStore<S>): StateStore<S> {
  const file = join(folder, KILL_FILE);
  let token = '';
  let count = 0;
  const due = (when: KillPoint['when'], point: KillPoint | undefined, number: number): boolean =>
    point !== undefined && point.when === when && point.at === number;
  return {
    get: (collection, id) => store.get(collection, id),
    all: (collection) => store.all(collection),
    update: async (change, lasting) => {
      const point = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as KillPoint) : undefined;
      if (point !== undefined && point.token !== token) {
        token = point.token;
        count = 0;
      }
      count += 1;
      const number = count;
      const end = (when: KillPoint['when']): void => {
        if (!due(when, point, number)) return;
        unlinkSync(file);
        die();
      };
      end('before');
      const result = await store.update(change, lasting);
      end('after');
      return result;
    },
    // Not a step of its own: a death before the next one loses it.
    soon: (change) => store.soon(change),
    close: () => store.close(),
  };
}

/** Times that the test changes while the plugin runs: those in the file hold in the place of the usual ones. */
export const windowsOf = <W extends object>(folder: string, usual: W): W =>
  new Proxy(usual, {
    get: (target, name) => {
      const file = join(folder, WINDOWS_FILE);
      const changed = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as W) : usual;
      return Reflect.get(changed, name) ?? Reflect.get(target, name);
    },
  });

/** For the test: from now on the plugin dies at this point of its next call, once. */
export const armKill = (folder: string, at: number, when: KillPoint['when']): void => {
  const point: KillPoint = { at, when, token: `${at}-${when}-${process.hrtime.bigint()}` };
  writeFileSync(join(folder, KILL_FILE), JSON.stringify(point));
};

/** For the test: no further death. False when the plugin had died. */
export const disarmKill = (folder: string): boolean => {
  const file = join(folder, KILL_FILE);
  if (!existsSync(file)) return false;
  unlinkSync(file);
  return true;
};
