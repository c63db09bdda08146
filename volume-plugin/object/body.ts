import { createHash } from 'node:crypto';

/** What is told of bodies, which are lists of buffers that are never joined. */

/** Bytes. */
export const sizeOf = (body: readonly Buffer[]): number => body.reduce((sum, { length }) => sum + length, 0);

export const md5Of = (body: readonly Buffer[], form: 'hex' | 'base64'): string => {
  const hash = createHash('md5');
  for (const bytes of body) hash.update(bytes);
  return hash.digest(form);
};
