import type { Description } from './content.ts';
import { callContext, type World } from './content-world.ts';
import { wholeInParts } from './parts-plan.ts';
import { PartsUpload } from './parts-upload.ts';
import { eachOf, type Freight, newToken, readSnapshot } from './uploader.ts';
import { Patience } from './uploader-patience.ts';

const PARTS_AT_ONCE = 4;

/**
 * Keeps bytes that lost against somebody else's change as an object of their own. What came from the object before their
 * change, and is not on this host, cannot be had any more: `whole` false, and zeros there. Errors: StoreError, Errno.
 */
export const keepAside = async (
  world: World,
  freight: Pick<Freight, 'node' | 'snapshot' | 'base' | 'describe'>,
  key: string,
): Promise<{ readonly whole: boolean }> => {
  const { size } = freight.snapshot;
  const patience = new Patience(world);
  const described: Description = freight.describe();
  let whole = true;
  const read = (start: number, into: Buffer): Promise<void> =>
    readSnapshot(world, freight, start, into, () => {
      whole = false;
    });
  if (size <= world.sizes.putMost) {
    const lent = await world.memory.take(size, world.context);
    try {
      await read(0, lent.buffer);
      await patience.call(() => world.store.put(key, [lent.buffer], described, callContext(world, size)));
      lent.free();
    } finally {
      lent.leave();
    }
    return { whole };
  }
  const parts = wholeInParts(size, world.sizes);
  const upload = await PartsUpload.begin(world, freight.node, key, newToken(), described, patience, {
    copies: false,
    layers: 0,
  });
  try {
    await eachOf(parts, PARTS_AT_ONCE, (part) => upload.upload(part, (into) => read(part.start, into), patience));
    await patience.call(() => upload.complete(parts, undefined));
  } finally {
    upload.abandon();
  }
  return { whole };
};
