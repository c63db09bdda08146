import { stripVTControlCharacters } from 'node:util';
import { isRecord } from './client.ts';

/**
 * Lays out records as a table with aligned columns.
 * @param columns the fields to show first, in order; fields that only the records have follow.
 * @param empty what to say when there is no record.
 */
export function table(records: readonly unknown[], columns: readonly string[], empty: string): string {
  const rows = records.filter(isRecord);
  if (rows.length === 0) return empty;
  const fields = [...new Set([...columns, ...rows.flatMap((row) => Object.keys(row))])];
  const lines = [fields.map(heading), ...rows.map((row) => fields.map((field) => cell(row[field])))];
  const widths = fields.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Lays out one record as `Name: value` lines, deeper ones indented. */
export function listing(record: Readonly<Record<string, unknown>>, depth = 0): string {
  const names = Object.keys(record);
  const width = Math.max(0, ...names.map((name) => title(name).length + 1));
  const margin = '  '.repeat(depth);
  return names
    .map((name) => {
      const value = record[name];
      const label = `${margin}${`${title(name)}:`.padEnd(width)}`;
      if (isRecord(value)) return `${label.trimEnd()}\n${listing(value, depth + 1)}`;
      return `${label} ${cell(value)}`.trimEnd();
    })
    .join('\n');
}

/** `HostPort` → `HOST PORT`. */
function heading(field: string): string {
  return title(field).toUpperCase();
}

/** `HostPort` → `Host port`, `HostIP` → `Host IP`. */
function title(field: string): string {
  const [first = '', ...rest] = field.replace(/([a-z0-9])([A-Z])/g, '$1 $2').split(' ');
  return [first, ...rest.map((word) => (/^[A-Z]{2,}$/.test(word) ? word : word.toLowerCase()))].join(' ');
}

/** Docker's own commands show its ids so; --json has all of them. */
const dockerId = /^[0-9a-f]{64}$/;

/** A value on one line. What comes from containers' names must not reach the terminal as control characters. */
function cell(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  if (value === true) return 'yes';
  if (value === false) return 'no';
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(cell).join(', ');
  if (isRecord(value)) {
    return Object.entries(value)
      .map(([field, inner]) => `${title(field).toLowerCase()} ${cell(inner)}`)
      .join(' ');
  }
  const text = String(value);
  if (dockerId.test(text)) return text.slice(0, 12);
  return stripVTControlCharacters(text).replace(/\p{Cc}/gu, ' ');
}
