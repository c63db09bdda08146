import { createHash, randomUUID } from 'node:crypto';
import type { NewVolume } from './backend.ts';

/** What tells a volume from others that have its name: 32 hexadecimal digits, the same when a making is repeated. `host`: an id. */
export const uuidOf = (host: string, { name, making }: Pick<NewVolume, 'name' | 'making'>): string => {
  if (making === undefined) return randomUUID().replaceAll('-', '');
  return createHash('sha256')
    .update(JSON.stringify([host, name, making]))
    .digest('hex')
    .slice(0, 32);
};
