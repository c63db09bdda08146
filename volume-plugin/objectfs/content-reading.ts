import type { Stack } from './content-stack.ts';
import type { World } from './content-world.ts';

const ZEROS = Buffer.alloc(256 * 1024);

type Some = readonly Buffer[];

const copied = (buffers: Some): Some => buffers.map((one) => Buffer.from(one));

/** Bytes of a file with layers: `ofBase` reads what none of them has. */
export const readOver = (
  world: World,
  stack: Stack,
  offset: number,
  end: number,
  ofBase: (start: number, bytes: number) => Some | Promise<Some>,
): Some | Promise<Some> => {
  const found: (Some | Promise<Some>)[] = [];
  let waits = false;
  for (const { start, end: until, from } of stack.pieces(offset, end)) {
    const bytes = until - start;
    if (from === 'base') {
      const some = ofBase(start, bytes);
      waits ||= some instanceof Promise;
      // Pieces that come in different turns: only what is copied stays as it is.
      found.push(some instanceof Promise ? some.then(copied) : copied(some));
    } else if (from === 'zeros') {
      for (let left = bytes; left > 0; left -= ZEROS.length)
        found.push([ZEROS.subarray(0, Math.min(left, ZEROS.length))]);
    } else {
      const into = end - offset === bytes ? world.passing(bytes) : Buffer.allocUnsafe(bytes);
      from.staging.readNow(start, into);
      found.push([into]);
    }
  }
  return waits
    ? Promise.all(found).then((all) => all.flat())
    : found.flatMap((one) => (one instanceof Promise ? [] : one));
};
