/** A unit of UTF-16, moved so that surrogates (code points from 0x10000 on) come behind all others. */
const moved = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit);

/** Compares texts by their bytes in UTF-8, as stores order keys: below 0, 0, or above 0. */
export const byteOrder = (a: string, b: string): number => {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const [one, other] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (one !== other) return moved(one) - moved(other);
  }
  return a.length - b.length;
};
