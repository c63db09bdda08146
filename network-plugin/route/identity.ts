import { randomUUID } from 'node:crypto';
import type { StateStore } from '../../shared/state/store.ts';
import type { NetworkState } from '../state.ts';

/** This host's identity, made at the first call and kept: names may be given twice, this is not. */
export const hostIdentity = (store: StateStore<NetworkState>): Promise<string> =>
  store.update((tx) => {
    const known = tx.get('hosts', 'self');
    if (known !== undefined) return known.id;
    const id = randomUUID();
    tx.put('hosts', 'self', { id });
    return id;
  });
