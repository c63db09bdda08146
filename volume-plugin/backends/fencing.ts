import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { LeasedShare } from '../nfs/leases.ts';
import { removeUser, usersOf } from '../nfs/users.ts';
import type { Volume } from './backend.ts';
import type { HostParts, Writers } from './writers.ts';

/** Takes a volume from a host on an operator's word that the host is dead: see Backend.fence. `on`: what the volume is on. */
export const fenceVolume = async (
  { writers, host: self }: Pick<HostParts, 'host'> & { readonly writers: Writers },
  { name, options }: Volume,
  host: string,
  on: LeasedShare,
  c: Context,
): Promise<void> => {
  const isLeased = options['access'] === 'single-writer';
  if (isLeased) await writers.fence(name, host, on, c);
  const users = await usersOf(on.files, name, c);
  const dead = users.filter((user) => user.name === host && user.id !== self.id);
  if (dead.length === 0 && !isLeased && users.length > 0) {
    if (host === self.name) throw new PluginError('VOLUME_IN_USE', { volume: name });
    const holder = users.map((user) => user.name).join(', ');
    throw new PluginError('VOLUME_BUSY', { volume: name, holder, reason: `not on ${host}` });
  }
  for (const user of dead) await removeUser(on.files, name, user, c);
  if (dead.length > 0) c.log.warn('a host counts as gone on the word of an operator', { volume: name, host });
};
