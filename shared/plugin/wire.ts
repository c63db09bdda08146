import { PluginError } from '../errors.ts';

/**
 * Readers for the JSON bodies that the engine sends. Each names the field and what it found instead, and throws
 * BAD_REQUEST: a body that is not understood is never guessed at, since the engine may send a retry without one.
 */

export type Fields = Readonly<Record<string, unknown>>;

const kind = (value: unknown): string => {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
};

const bad = (field: string, wanted: string, value: unknown): PluginError =>
  new PluginError('BAD_REQUEST', { reason: `${field} must be ${wanted}, not ${kind(value)}` });

const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function record(value: unknown, field: string): Fields {
  if (!isRecord(value)) throw bad(field, 'an object', value);
  return value;
}

/** The engine writes an empty map as `null`. */
export const optionalRecord = (fields: Fields, field: string): Fields => {
  const value = fields[field];
  return value === undefined || value === null ? {} : record(value, field);
};

export function text(fields: Fields, field: string): string {
  const value = fields[field];
  if (typeof value !== 'string' || value === '') throw bad(field, 'text', value);
  return value;
}

/** Empty text and `null` are the engine's way to leave a field out. */
export function optionalText(fields: Fields, field: string): string | undefined {
  const value = fields[field];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw bad(field, 'text', value);
  return value;
}

export function wholeNumber(fields: Fields, field: string, largest: number): number {
  const value = fields[field] ?? 0;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > largest) {
    throw bad(field, `a whole number from 0 to ${largest}`, value);
  }
  return value;
}

export function flag(fields: Fields, field: string): boolean {
  const value = fields[field];
  if (value === undefined || value === null) return false;
  if (typeof value === 'boolean') return value;
  // Compose and older engines pass labels through as text.
  if (value === 'true') return true;
  if (value === 'false' || value === '') return false;
  throw bad(field, 'true or false', value);
}

export function list(fields: Fields, field: string): readonly Fields[] {
  const value = fields[field];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw bad(field, 'a list', value);
  return value.map((entry, index) => record(entry, `${field}[${index}]`));
}

/** A map of text to text, as option maps are; numbers and booleans are taken as their text. */
export function textMap(fields: Fields, field: string): Record<string, string> {
  const entries = Object.entries(optionalRecord(fields, field));
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (typeof value === 'string') return [key, value];
      if (typeof value === 'number' || typeof value === 'boolean') return [key, String(value)];
      throw bad(`${field}.${key}`, 'text', value);
    }),
  );
}
