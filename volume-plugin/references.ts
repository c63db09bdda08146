import type { Transaction } from '../shared/state/store.ts';
import type { ReferenceRecord, VolumeState } from './state.ts';

/**
 * Docker's holds on volumes, counted by (volume, mount id): `docker cp` holds a running container's volume a second time
 * under the same id. Only what is written down here keeps a volume on this host.
 */

type Readable = Pick<Transaction<VolumeState>, 'all' | 'get'>;

const keyOf = (volume: string, id: string): string => `${volume}|${id}`;

/** Adds one hold. `replay`: the ones that are there are known to be nobody's. */
export function countUp(
  tx: Transaction<VolumeState>,
  hold: Pick<ReferenceRecord, 'volume' | 'id' | 'boot' | 'since'>,
  replay: boolean,
): void {
  const key = keyOf(hold.volume, hold.id);
  const before = tx.get('references', key);
  const count = before === undefined || before.boot !== hold.boot || replay ? 1 : before.count + 1;
  tx.put('references', key, { ...hold, count });
}

/** Takes one hold away; of an id that has none nothing. Answers whether there was one. */
export function countDown(tx: Transaction<VolumeState>, volume: string, id: string, since: number): boolean {
  const key = keyOf(volume, id);
  const before = tx.get('references', key);
  if (before === undefined) return false;
  if (before.count > 1) tx.put('references', key, { ...before, count: before.count - 1, since });
  else tx.delete('references', key);
  return true;
}

export const referencesOf = (state: Readable, volume: string): readonly ReferenceRecord[] =>
  [...state.all('references').values()].filter((one) => one.volume === volume);

/** How many holds there are in all. */
export const holdsOn = (state: Readable, volume: string): number =>
  referencesOf(state, volume).reduce((sum, { count }) => sum + count, 0);

/** Docker's hold under one id. */
export const reference = (state: Readable, volume: string, id: string): ReferenceRecord | undefined =>
  state.get('references', keyOf(volume, id));

/** Forgets all holds on a volume: nothing uses it. */
export function dropReferences(tx: Transaction<VolumeState>, volume: string): void {
  for (const { id } of referencesOf(tx, volume)) tx.delete('references', keyOf(volume, id));
}
