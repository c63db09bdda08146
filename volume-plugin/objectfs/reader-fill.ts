import type { Context } from '../../shared/context.ts';
import type { CachedObject } from './block-cache-object.ts';
import type { Base } from './content.ts';
import { callContext, type World } from './content-world.ts';
import { eachOf } from './uploader.ts';

/** Pieces at once: others read, too. */
const AT_ONCE = 4;

/** Fetches what the cache does not have of an object. Ends early when the disk takes no more. Errors: StoreError, the context's reason. */
export const fill = async (
  world: World,
  base: Base,
  cached: CachedObject,
  piece: number,
  c: Context,
): Promise<void> => {
  const pieces: { readonly start: number; readonly end: number }[] = [];
  for (const { start, end } of cached.missing()) {
    for (let at = start; at < end; at += piece) pieces.push({ start: at, end: Math.min(end, at + piece) });
  }
  let full = false;
  await eachOf(pieces, AT_ONCE, async ({ start, end }) => {
    if (full || cached.has(start, end)) return;
    const lent = await world.memory.take(end - start, c);
    try {
      await world.fetch(base, start, lent.buffer, callContext(world, end - start, c));
      await new Promise<void>((resolve) => cached.keep(start, lent.buffer, resolve));
      full = !cached.has(start, end);
      lent.free();
    } finally {
      lent.leave();
    }
  });
};
