/** What comes in to EFS: bodies of JSON, tags, pages. */
import { badRequest } from './efs-answers.ts';
import type { Tags } from './storage.ts';

type Body = Readonly<Record<string, unknown>>;

/** A text that must be there. */
export const wanted = (body: Body, name: string): string => {
  const { [name]: value } = body;
  if (typeof value === 'string' && value !== '') return value;
  throw badRequest(`${name} must be given.`);
};

export const objectOf = (value: unknown): object | undefined =>
  typeof value === 'object' && value !== null ? value : undefined;

/** A list of texts, if there is one. */
export const textsOf = (value: unknown): readonly string[] | undefined =>
  Array.isArray(value) ? value.map((one) => String(one)) : undefined;

export const tagsIn = ({ Tags: list }: Body): Tags => {
  if (list === undefined) return {};
  if (!Array.isArray(list)) throw badRequest('Tags must be a list.');
  const pairs = list.map((one: unknown): [string, string] => {
    const { Key, Value } = (objectOf(one) ?? {}) as { readonly Key?: unknown; readonly Value?: unknown };
    if (typeof Key !== 'string' || typeof Value !== 'string') throw badRequest('A tag has a key and a value.');
    return [Key, Value];
  });
  return Object.fromEntries(pairs);
};

/** As EFS takes them: from its reference of `Tag`. */
export const checkTags = (tags: Tags): Tags => {
  for (const [key, value] of Object.entries(tags)) {
    if (!/^(?![aA]{1}[wW]{1}[sS]{1}:)[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/u.test(key)) {
      throw badRequest(`Invalid tag key: ${key}`);
    }
    if (!/^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u.test(value)) throw badRequest(`Invalid tag value: ${value}`);
  }
  if (Object.keys(tags).length > 50) throw badRequest('The maximum number of tags has been reached: 50.');
  return tags;
};

const cut = <T>(items: readonly T[], size: number, token: string | undefined): { items: T[]; next?: string } => {
  const start = token === undefined ? 0 : Number(Buffer.from(token, 'base64url').toString().replace('from ', ''));
  if (!Number.isInteger(start) || !Number.isInteger(size) || size < 1) throw badRequest('Invalid page.');
  const end = start + size;
  const chosen = items.slice(start, end);
  return end >= items.length
    ? { items: chosen }
    : { items: chosen, next: Buffer.from(`from ${end}`).toString('base64url') };
};

type Query = Readonly<Record<string, string>>;

/** A page by Marker and MaxItems, of which 100 is the most. */
export const marked = <T>(items: readonly T[], { MaxItems, Marker }: Query, usual: number) =>
  cut(items, Math.min(100, Number(MaxItems ?? usual)), Marker);

/** A page by NextToken and MaxResults. */
export const paged = <T>(items: readonly T[], { MaxResults, NextToken }: Query, usual: number) =>
  cut(items, Math.min(100, Number(MaxResults ?? usual)), NextToken);
