import type { ObjectDetails } from '../object/store.ts';
import type { Description } from './content.ts';
import { callContext, type World } from './content-world.ts';
import { NAME_MAX } from './naming.ts';
import { wholeInParts } from './parts-plan.ts';
import { PartsUpload, TOKEN, withToken } from './parts-upload.ts';
import { isFailure } from './store-errno.ts';
import { eachOf, type Freight, newToken, readSnapshot } from './uploader.ts';
import { Patience } from './uploader-patience.ts';

const PARTS_AT_ONCE = 4;

/** Names that are tried, when others that lost within the same second have been kept already. */
const NAMES = 100;

/**
 * Keeps bytes that lost against somebody else's change as an object of their own: `key`, or one beside it where that is taken.
 * What came from the object before their change, and is not on this host, cannot be had any more: `whole` false, and zeros
 * there. Errors: StoreError, Errno.
 */
export const keepAside = async (
  world: World,
  freight: Pick<Freight, 'node' | 'snapshot' | 'base' | 'describe'>,
  key: string,
): Promise<{ readonly keptAs: string; readonly whole: boolean }> => {
  const token = newToken();
  const patience = new Patience(world);
  const headed = (name: string): Promise<ObjectDetails | undefined> =>
    patience.call(() => world.store.head(name, callContext(world, 0)));
  let whole = true;
  for (let number = 1; ; number += 1) {
    const keptAs = number === 1 ? key : besides(key, number);
    try {
      if ((await headed(keptAs)) === undefined) {
        ({ whole } = await keep(world, freight, keptAs, token, patience));
        return { keptAs, whole };
      }
    } catch (error) {
      if (!isFailure(error, 'CONFLICT') || number === NAMES) throw error;
      // Its answer was lost, and it was sent again.
      if ((await headed(keptAs))?.meta[TOKEN] === token) return { keptAs, whole };
    }
  }
};

/** `name.conflict-host-time-2`, with no longer a name than is allowed. */
const besides = (key: string, number: number): string => {
  const cut = key.lastIndexOf('/') + 1;
  let name = [...`${key.slice(cut)}-${number}`];
  while (Buffer.byteLength(name.join('')) > NAME_MAX) name = name.slice(1);
  return key.slice(0, cut) + name.join('');
};

const keep = async (
  world: World,
  freight: Pick<Freight, 'node' | 'snapshot' | 'base' | 'describe'>,
  key: string,
  token: string,
  patience: Patience,
): Promise<{ readonly whole: boolean }> => {
  const { size } = freight.snapshot;
  const { limits } = world.store;
  const described: Description = freight.describe();
  const absent = { ifAbsent: true } as const;
  let whole = true;
  const read = (start: number, into: Buffer): Promise<void> =>
    readSnapshot(world, freight, start, into, () => {
      whole = false;
    });
  if (size <= world.sizes.putMost) {
    const lent = await world.memory.take(size, world.context);
    try {
      await read(0, lent.buffer);
      const object = { ...withToken(described, token), ...(limits.conditionalPut && { condition: absent }) };
      await patience.call(() => world.store.put(key, [lent.buffer], object, callContext(world, size)));
      lent.free();
    } finally {
      lent.leave();
    }
    return { whole };
  }
  const parts = wholeInParts(size, world.sizes);
  const upload = await PartsUpload.begin(world, freight.node, key, token, described, patience, {
    copies: false,
    layers: 0,
  });
  try {
    await eachOf(parts, PARTS_AT_ONCE, (part) => upload.upload(part, (into) => read(part.start, into), patience));
    await patience.call(() => upload.complete(parts, limits.conditionalComplete ? absent : undefined));
  } finally {
    upload.abandon();
  }
  return { whole };
};
