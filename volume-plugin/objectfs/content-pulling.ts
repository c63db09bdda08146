import type { Context } from '../../shared/context.ts';
import type { Base } from './content.ts';
import type { Stack } from './content-stack.ts';
import type { World } from './content-world.ts';

const PIECE = 4 * 1024 * 1024;

/** Brings all bytes that are in `base` alone to this host, as if they had been written. Errors: StoreError, Errno. */
export const pullBase = async (
  world: World,
  stack: Stack,
  base: Base,
  write: (offset: number, data: Buffer) => void,
  c: Context,
): Promise<void> => {
  for (const { start, end, from } of [...stack.pieces(0, stack.size(base))]) {
    if (from !== 'base') continue;
    for (let at = start; at < end; at += PIECE) {
      const lent = await world.memory.take(Math.min(PIECE, end - at), c);
      try {
        await world.fetch(base, at, lent.buffer, c);
        // What was written meanwhile stays.
        for (const now of [...stack.pieces(at, Math.min(at + lent.buffer.length, stack.size(base)))]) {
          if (now.from === 'base') write(now.start, lent.buffer.subarray(now.start - at, now.end - at));
        }
        lent.free();
      } finally {
        lent.leave();
      }
    }
  }
};
