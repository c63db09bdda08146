/** The parameters of a query request: `Filter.1.Value.2=…`, with EC2's strictness. */
import { combination, invalid } from './errors.ts';
import type { Xml } from './xml.ts';

export type Parameters = Readonly<Record<string, string>>;

/** Values of `Name.1`, `Name.2` … in order. */
export function listOf(parameters: Parameters, name: string): string[] {
  return Object.entries(parameters)
    .map(([key, value]) => ({ index: new RegExp(`^${name.replaceAll('.', '\\.')}\\.(\\d+)$`).exec(key)?.[1], value }))
    .filter(({ index }) => index !== undefined)
    .sort((a, b) => Number(a.index) - Number(b.index))
    .map(({ value }) => value);
}

export const booleanOf = (parameters: Parameters, name: string): boolean | undefined => {
  const value = parameters[name];
  if (value === undefined || value === 'true' || value === 'false')
    return value === undefined ? value : value === 'true';
  throw invalid(`Value (${value}) for parameter ${name} is invalid. It must be true or false.`);
};

interface Filter {
  readonly name: string;
  readonly values: readonly string[];
}

const filtersOf = (parameters: Parameters): Filter[] => {
  const filters: Filter[] = [];
  for (let n = 1; parameters[`Filter.${n}.Name`] !== undefined; n++) {
    const values = listOf(parameters, `Filter.${n}.Value`);
    if (values.length === 0) throw invalid('The filter must have at least one value');
    filters.push({ name: parameters[`Filter.${n}.Name`] ?? '', values });
  }
  return filters;
};

/** A test for one value of a filter; `*` and `?` stand for any text and any letter, unless a backslash is before them. */
const matcher = (pattern: string): ((value: string) => boolean) => {
  if (!/[*?\\]/.test(pattern)) return (value) => value === pattern;
  const text = pattern.replace(/\\?[\s\S]/g, (sign) => {
    if (sign === '*') return '.*';
    if (sign === '?') return '.';
    return sign.slice(-1).replace(/[.*+?^${}()|[\]\\]/, '\\$&');
  });
  const expression = new RegExp(`^${text}$`, 's');
  return (value) => expression.test(value);
};

/** What a filter name looks at: the values that an object has for it. */
export type FilterTable<T> = Readonly<Record<string, (item: T) => readonly string[]>>;

/** Objects that pass every filter. A name that the action does not know is refused. `tags` answers the tags of an object. */
export function filtered<T>(
  items: readonly T[],
  parameters: Parameters,
  table: FilterTable<T>,
  tags: (item: T) => Readonly<Record<string, string>>,
): T[] {
  const tests = filtersOf(parameters).map(({ name, values }) => {
    const tag = /^tag:(.+)$/.exec(name)?.[1];
    const look =
      table[name] ??
      (tag === undefined ? undefined : (item: T) => [tags(item)[tag]].filter((value) => value !== undefined)) ??
      (name === 'tag-key' ? (item: T) => Object.keys(tags(item)) : undefined);
    if (look === undefined) throw invalid(`The filter '${name}' is invalid`);
    const matchers = values.map(matcher);
    return (item: T) => look(item).some((value) => matchers.some((matches) => matches(value)));
  });
  return items.filter((item) => tests.every((test) => test(item)));
}

export interface Paging {
  /** Bounds of MaxResults. */
  readonly least: number;
  readonly most: number;
  /** Page size when MaxResults is not given. */
  readonly usual: number;
  /** The parameter of ids, which does not go with MaxResults. */
  readonly ids: string;
}

/** One page, and the token of the next. Tokens say where they go on and are good for any later time. */
export function page<T>(items: readonly T[], parameters: Parameters, paging: Paging): { items: T[]; next?: string } {
  const { MaxResults, NextToken } = parameters;
  let size = paging.usual;
  if (MaxResults !== undefined) {
    if (listOf(parameters, paging.ids).length > 0) {
      throw combination(`The parameter ${paging.ids} cannot be used with the parameter MaxResults`);
    }
    size = Number(MaxResults);
    if (!Number.isInteger(size) || size < paging.least || size > paging.most) {
      throw invalid(
        `Value ( ${MaxResults} ) for parameter maxResults is invalid. Expecting a value between ${paging.least} and ${paging.most}.`,
      );
    }
  }
  const start = NextToken === undefined ? 0 : Number(Buffer.from(NextToken, 'base64').toString().replace('from ', ''));
  if (!Number.isInteger(start)) throw invalid('Invalid value for nextToken'.concat(`: ${NextToken}`));
  const end = start + size;
  const chosen = items.slice(start, end);
  if (end >= items.length) return { items: chosen };
  return { items: chosen, next: Buffer.from(`from ${end}`).toString('base64') };
}

export const tagSet = (tags: Readonly<Record<string, string>>): Xml =>
  Object.entries(tags).map(([key, value]) => ({ key, value }));
