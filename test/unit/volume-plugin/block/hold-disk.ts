import type { Context } from '../../../../shared/context.ts';
import { holdDisk as holdUntil } from '../../../../volume-plugin/block/attach.ts';
import type { Disk, DiskHost, DiskProvider } from '../../../../volume-plugin/block/provider.ts';

/** As volumes are attached, without a device: made-up clouds have none. Answers the disk as the look that showed it here. */
export const holdDisk = (provider: DiskProvider, self: DiskHost, disk: Disk, c: Context): Promise<Disk> =>
  holdUntil(provider, self, disk, c, async (found) => ({ done: found }));
