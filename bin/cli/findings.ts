import { stripVTControlCharacters } from 'node:util';
import { isRecord } from './client.ts';

/** The worst first. */
const ORDER = ['bad', 'unknown', 'warning', 'good'];

const clean = (value: unknown): string =>
  typeof value === 'string' ? stripVTControlCharacters(value).replace(/\p{Cc}/gu, ' ') : '';

/**
 * Lays out findings of `drayage doctor`: one a line, its remedy below it, and how many of each kind there are at the end.
 * @param records `{Check, State, Found, Remedy?}` as the plugin answers them.
 */
export function findings(records: readonly unknown[]): string {
  const rows = records.filter(isRecord).map(({ Check, State, Found, Remedy }) => ({
    ...{ check: clean(Check), state: clean(State), found: clean(Found), remedy: clean(Remedy) },
  }));
  rows.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  const width = Math.max(0, ...rows.map(({ check }) => check.length));
  const margin = ' '.repeat(9 + width + 2);
  const lines = rows.flatMap(({ check, state, found, remedy }) => [
    `${state.padEnd(9)}${check.padEnd(width)}  ${found}`,
    ...(remedy === '' ? [] : [`${margin}→ ${remedy}`]),
  ]);
  const count = (state: string): number => rows.filter((row) => row.state === state).length;
  const summary = ORDER.filter((state) => count(state) > 0).map((state) => `${count(state)} ${state}`);
  return [...lines, '', summary.join(', ') || 'Nothing was looked at.'].join('\n');
}
