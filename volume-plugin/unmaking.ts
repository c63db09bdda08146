import type { Context } from '../shared/context.ts';
import { asPluginError } from '../shared/errors.ts';
import type { Transaction } from '../shared/state/store.ts';
import type { FoundVolume } from './backends/backend-set.ts';
import type { DriverDeps } from './parts.ts';
import type { UnmadeRecord, VolumeRecord, VolumeState } from './state.ts';

/**
 * Makings that were given up while nobody knew whether the cloud had heard of them: what it makes of them later is no
 * volume, and is removed again.
 */

/** No cloud does later what it was asked for, in milliseconds. */
const LATEST_MS = 24 * 3_600_000;

const keyOf = ({ volume, making }: UnmadeRecord): string => `${volume}|${making}`;

/** Writes down, with the removal of its record, that a volume is not wanted any more whose making never came to an end. */
export const noteUnmade = (
  tx: Transaction<VolumeState>,
  { name, type, handle, created }: VolumeRecord,
  now: number,
): void => {
  if (Object.keys(handle).length > 0) return;
  const unmade: UnmadeRecord = { volume: name, type, making: created, since: now };
  tx.put('unmade', keyOf(unmade), unmade);
};

/** A volume of that name is wanted again: whatever was made for it may be it. */
export const forgetUnmade = (tx: Transaction<VolumeState>, name: string): void => {
  for (const [key, { volume }] of [...tx.all('unmade')]) if (volume === name) tx.delete('unmade', key);
};

/** Is it what came too late of a making that was given up, and used by nobody since? */
export const isUnmade = ({ store, backends }: DriverDeps, { name, type, origin }: FoundVolume): boolean =>
  origin !== undefined &&
  [...store.all('unmade').values()].some(
    (one) => one.volume === name && one.type === type && backends.all.get(type)?.origin?.(name, one.making) === origin,
  );

/** Removes what came late under a name that no volume has. The caller has the name's lock. Errors: the back-ends'. */
export const unmakeNamed = async (deps: DriverDeps, name: string, c: Context): Promise<void> => {
  if (deps.store.get('volumes', name) !== undefined) return;
  for (const { volume, type, making } of [...deps.store.all('unmade').values()])
    if (volume === name) await deps.backends.working(type, name).discard?.(name, making, c);
};

/** The same for all that a list shows. What cannot be removed now is with the next list. */
export const unmakeAll = async (deps: DriverDeps, found: readonly FoundVolume[], c: Context): Promise<void> => {
  const { store, now, locks } = deps;
  for (const one of found) {
    c.log.warn('what came late of a volume that was removed is removed, too', { volume: one.name });
    await locks
      .run(one.name, () => unmakeNamed(deps, one.name, c), c)
      .catch((thrown: unknown) => {
        c.log.warn('what came late of a removed volume is still there', {
          volume: one.name,
          error: asPluginError(thrown),
        });
      });
  }
  const old = [...store.all('unmade')].filter(([, { since }]) => now() - since > LATEST_MS);
  if (old.length === 0) return;
  await store.update((tx) => {
    for (const [key] of old) tx.delete('unmade', key);
  });
};
