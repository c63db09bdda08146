/**
 * Tags of a disk as clouds keep them: values have a greatest length there, so long ones are kept in pieces, `name`,
 * `name.2`, `name.3`, …, whose number stands before the first: `3|…`.
 */

const PIECES = /^(\d{1,2})\|/s;

/** Names and values as they are kept. `longest` is the greatest length of a value. */
export const toPieces = (tags: Readonly<Record<string, string>>, longest: number): Record<string, string> =>
  Object.fromEntries(
    Object.entries(tags).flatMap(([name, value]) => {
      if (value.length <= longest && !PIECES.test(value)) return [[name, value]];
      const room = longest - 3;
      const pieces = Array.from({ length: Math.ceil(value.length / room) }, (_, n) =>
        value.slice(n * room, (n + 1) * room),
      );
      return pieces.map((piece, n): [string, string] =>
        n === 0 ? [name, `${pieces.length}|${piece}`] : [`${name}.${n + 1}`, piece],
      );
    }),
  );

/** The reverse; a value of which a piece is missing is left out. */
export const fromPieces = (kept: Readonly<Record<string, string>>): Record<string, string> => {
  const whole = Object.entries(kept).flatMap(([name, value]): [string, string][] => {
    // A piece is no tag of its own, unless there is nothing that it is a piece of.
    const [, base = ''] = /^(.+)\.\d{1,2}$/s.exec(name) ?? [];
    if (PIECES.test(kept[base] ?? '')) return [];
    const count = PIECES.exec(value)?.[1];
    if (count === undefined) return [[name, value]];
    const rest = Array.from({ length: Number(count) - 1 }, (_, n) => kept[`${name}.${n + 2}`]);
    if (rest.includes(undefined)) return [];
    return [[name, value.slice(count.length + 1) + rest.join('')]];
  });
  return Object.fromEntries(whole);
};

/** Names under which earlier, longer values of these tags may still have pieces: they go when the tag is set anew. */
export const leftoverPieces = (names: readonly string[], kept: Readonly<Record<string, string>>): string[] =>
  Object.keys(kept).filter((name) =>
    names.some((one) => name.startsWith(`${one}.`) && /^\d{1,2}$/.test(name.slice(one.length + 1))),
  );
