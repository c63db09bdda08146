import type { Context } from '../../shared/context.ts';

/** Brings bytes of one object. */
export interface BaseReader {
  /** Bytes that are all within the object; at once where they are at hand. Errors: StoreError. */
  read(offset: number, length: number, c: Context): readonly Buffer[] | Promise<readonly Buffer[]>;
  /** Nobody reads from it any more: forgets what it has fetched ahead. */
  close(): void;
}
