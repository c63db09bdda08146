/** What answers are made of. */
import type { ObjectReply } from './message.ts';

/** Time in XML. */
export const iso = (ms: number): string => new Date(ms).toISOString();
/** Time in headers. */
export const httpDate = (ms: number): string => new Date(ms).toUTCString();

export const empty = (status: number, headers: Readonly<Record<string, string>> = {}): ObjectReply => ({
  status,
  headers,
  body: [],
});

export const unquoted = (etag: string): string => etag.trim().replace(/^"(.*)"$/, '$1');

/** Is the ETag among those that a condition names? */
export const names = (condition: string, etag: string): boolean =>
  condition.split(',').some((each) => each.trim() === '*' || unquoted(each.replace(/^ *W\//, '')) === etag);
