import type { Context } from '../../shared/context.ts';
import { Errno } from '../fuse/file-system.ts';
import { type ObjectFacts, type ObjectStore, type Part, StoreError, type WriteCondition } from '../object/store.ts';
import type { Base, Description } from './content.ts';

export interface CopyWishes {
  /** Instead of the source's. */
  readonly replace?: Description | undefined;
  /** Of the target. */
  readonly condition?: WriteCondition | undefined;
}

/** A part of a copy of an object that is too large for one; stores copy these side by side. */
const PART_BYTES = 256 * 2 ** 20;
const PARTS_AT_ONCE = 16;

/**
 * Copies an object within its store, by parts where it is too large. Failures: CONFLICT when the source has another ETag, or
 * the condition does not hold; NOT_FOUND. Where the vendor has no conditions of copies the target is looked at before.
 */
export const copyObject = async (
  store: ObjectStore,
  source: Base,
  to: string,
  { replace, condition }: CopyWishes,
  c: Context,
): Promise<ObjectFacts> => {
  const isLarge = source.size > store.limits.copyMax;
  const canCheck = isLarge ? store.limits.conditionalComplete : store.limits.conditionalCopy;
  if (condition !== undefined && !canCheck) await checkTarget(store, to, condition, c);
  const held = canCheck ? condition : undefined;
  if (isLarge) return await copyParts(store, source, to, replace, held, c);
  return await store.copy(
    source.key,
    to,
    {
      ifSourceMatch: source.etag,
      ...(replace !== undefined && { replace }),
      ...(held !== undefined && { condition: held }),
    },
    c,
  );
};

const checkTarget = async (store: ObjectStore, key: string, condition: WriteCondition, c: Context): Promise<void> => {
  const there = await store.head(key, c);
  const isRight = condition.ifAbsent === true ? there === undefined : there?.etag === condition.ifMatch;
  if (!isRight) throw new StoreError('CONFLICT', `${key} is not what it was`, { key });
};

const copyParts = async (
  store: ObjectStore,
  source: Base,
  to: string,
  replace: Description | undefined,
  condition: WriteCondition | undefined,
  c: Context,
): Promise<ObjectFacts> => {
  const { limits } = store;
  if (!limits.copyPart) throw new Errno('EFBIG', 'this store cannot copy objects of that size');
  const description = replace ?? (await store.head(source.key, c));
  if (description === undefined) throw new StoreError('NOT_FOUND', `there is no ${source.key}`, { key: source.key });
  const { meta, contentType } = description;
  const length = Math.min(limits.partMax, Math.max(limits.partMin, PART_BYTES, Math.ceil(source.size / limits.parts)));
  const count = Math.ceil(source.size / length);
  const id = await store.beginUpload(to, { meta, ...(contentType !== undefined && { contentType }) }, c);
  try {
    const parts: Part[] = [];
    let next = 1;
    const work = async (): Promise<void> => {
      for (let number = next; number <= count; number = next) {
        next += 1;
        const offset = (number - 1) * length;
        const range = { offset, length: Math.min(length, source.size - offset) };
        parts.push(await store.copyPart(to, id, number, { key: source.key, range, ifMatch: source.etag }, c));
      }
    };
    await Promise.all(Array.from({ length: Math.min(count, PARTS_AT_ONCE) }, work));
    parts.sort((a, b) => a.number - b.number);
    return await store.completeUpload(to, id, parts, condition, c);
  } catch (error) {
    await store.abortUpload(to, id, c).catch(() => undefined);
    throw error;
  }
};
