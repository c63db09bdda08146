import { kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import type { Context } from '../../shared/context.ts';
import type { AliyunLooking } from './aliyun-looking.ts';
import { missing } from './aliyun-refusals.ts';
import { isDisk } from './aliyun-tags.ts';
import { VOLUME } from './cloud-tags.ts';
import type { OwnWrites } from './own-writes.ts';

/** Brings disks to this host, and takes them from hosts. */
export class AliyunAttaching {
  readonly #looking: AliyunLooking;
  readonly #writes: OwnWrites;

  constructor(looking: AliyunLooking, writes: OwnWrites) {
    this.#looking = looking;
    this.#writes = writes;
  }

  /** To the instance `self`. What is free is had soonest without a look before, and the answer is as true as it gets. */
  async attach(id: string, self: string, c: Context): Promise<void> {
    if (!isDisk(id)) throw missing(id);
    const attach = async (volume?: string): Promise<boolean> => {
      try {
        await this.#looking.client.attach(id, self, c);
      } catch (error) {
        if (kindOfError(error) === 'disk-state') return false;
        const known = volume ?? (await this.#looking.look(id, c))?.tags[VOLUME] ?? id;
        throw this.#looking.refused(error, {
          what: `to attach disk ${id} of volume ${known}`,
          volume: known,
          disk: id,
        });
      }
      this.#writes.attached(id);
      return true;
    };
    if (await attach()) return;
    await this.#looking.until('attaching', id, c, async (found) => {
      if (found === undefined) throw missing(id);
      const { instance, status, tags } = found;
      if (status === 'Available') return attach(tags[VOLUME]);
      // Whose it is going to be may not be told before it is.
      if (instance === undefined || status === 'Detaching') return false;
      if (instance !== self) throw await this.#looking.busy(found, instance, c);
      return true;
    });
  }

  /** See DiskProvider.detach. */
  async detach(id: string, host: string, c: Context): Promise<void> {
    await this.#looking.until('detaching', id, c, async (found) => {
      if (found === undefined || found.status === 'Available' || found.status === 'Detaching') return true;
      if (found.instance === undefined) return false;
      if (found.instance !== host) return true;
      if (found.status !== 'In_use') return false;
      try {
        await this.#looking.client.detach(id, host, c);
      } catch (error) {
        const kind = kindOfError(error);
        if (kind === 'disk-state') return false;
        const volume = found.tags[VOLUME] ?? id;
        const what = `to detach disk ${id} of volume ${volume} from ${host}`;
        // Of an instance that is released the disks are freed by Aliyun itself.
        if (kind !== 'no-disk' && kind !== 'no-instance')
          throw this.#looking.refused(error, { what, volume, disk: id });
      }
      return true;
    });
  }
}
