/**
 * One schema per set of options (a network's `-o`, a plugin's settings, …): it parses, explains, documents and redacts.
 */
import { PluginError } from './errors.ts';
import { nearest } from './nearest.ts';
import { type Option, Refusal } from './option-kinds.ts';
import { REDACTED } from './scrub.ts';

export { type HostPort, type Option, option, type Spec } from './option-kinds.ts';

export type Schema = Readonly<Record<string, Option<unknown>>>;
export type Parsed<S extends Schema> = { readonly [K in keyof S]: S[K] extends Option<infer T> ? T : never };

/** Where a `-o` or setting stands, for the sentence in the error: `network option`, `IPAM option`, `setting`. */
export type Where = 'network option' | 'IPAM option' | 'volume option' | 'setting' | (string & {});

const exampleOf = (known: Schema[string]): string | undefined => {
  if (known.spec.sensitive === true) return undefined;
  if (known.spec.example !== undefined) return known.spec.example;
  return known.spec.default === undefined ? undefined : known.format(known.spec.default);
};

/** Whose values they are: a plugin's settings bear its name, so that the remedy can be typed as it stands. */
type Owner = { readonly where: Where; readonly plugin?: string };

const invalid = (
  { where, plugin }: Owner,
  name: string,
  known: Schema[string],
  text: string,
  reason: string,
): PluginError =>
  new PluginError(where === 'setting' ? 'SETTING_INVALID' : 'OPTION_INVALID', {
    where: `The ${where}`,
    plugin,
    option: name,
    value: known.spec.sensitive === true ? REDACTED : text,
    reason,
    allowed: known.allowed,
    example: exampleOf(known),
  });

/** Parses one value; a problem is put into `errors`. */
const parseOne = (
  owner: Owner,
  name: string,
  known: Schema[string],
  text: string | undefined,
  errors: PluginError[],
) => {
  if (text === undefined) {
    if (known.spec.default === undefined && known.spec.required === true) {
      errors.push(invalid(owner, name, known, '', 'it is required'));
    }
    return known.spec.default;
  }
  try {
    return known.parse(text);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    errors.push(invalid(owner, name, known, text, error.message));
    return undefined;
  }
};

/** Parses all and collects what is wrong. `values` is only to be used when there are no errors. */
export const checkOptions = <S extends Schema>(
  schema: S,
  input: Readonly<Record<string, unknown>>,
  where: Where,
): { readonly values: Parsed<S>; readonly errors: readonly PluginError[] } => {
  const errors: PluginError[] = [];
  const names = Object.keys(schema);
  for (const name of Object.keys(input)) {
    if (Object.hasOwn(schema, name)) continue;
    const context = { where, option: name, nearest: nearest(name, names), known: names.join(', ') || 'none' };
    errors.push(new PluginError('OPTION_UNKNOWN', context));
  }
  const values = Object.entries(schema).map(([name, known]) => {
    const given = Object.hasOwn(input, name) ? input[name] : undefined;
    if (given !== undefined && typeof given !== 'string') {
      errors.push(invalid({ where }, name, known, JSON.stringify(given), 'it is not text'));
      return [name, undefined] as const;
    }
    return [name, parseOne({ where }, name, known, given, errors)] as const;
  });
  return { values: Object.fromEntries(values) as Parsed<S>, errors };
};

/**
 * Parses options as Docker hands them over (text by name). Throws the first problem: OPTION_UNKNOWN with the nearest
 * known name, OPTION_INVALID (SETTING_INVALID when `where` is `setting`) with what is allowed.
 */
export const parseOptions = <S extends Schema>(
  schema: S,
  input: Readonly<Record<string, unknown>>,
  where: Where,
): Parsed<S> => {
  const { values, errors } = checkOptions(schema, input, where);
  if (errors[0] !== undefined) throw errors[0];
  return values;
};

/** Name of an option in the environment. */
export const envName = (name: string, known: Schema[string]): string =>
  known.spec.env ?? name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();

/**
 * Parses settings from the environment; other variables are none of our business. An empty one counts as not set: a
 * managed plugin's settings are always present. All problems are listed, as SETTING_INVALID each; `plugin`: its name.
 */
export const checkEnv = <S extends Schema>(
  schema: S,
  env: Readonly<Record<string, string | undefined>>,
  plugin: string,
): { readonly values: Parsed<S>; readonly errors: readonly PluginError[] } => {
  const errors: PluginError[] = [];
  const values = Object.entries(schema).map(([name, known]) => {
    const variable = envName(name, known);
    return [name, parseOne({ where: 'setting', plugin }, variable, known, env[variable] || undefined, errors)];
  });
  return { values: Object.fromEntries(values) as Parsed<S>, errors };
};

/** As `checkEnv`, but throws the first problem. */
export const fromEnv = <S extends Schema>(
  schema: S,
  env: Readonly<Record<string, string | undefined>>,
  plugin: string,
): Parsed<S> => {
  const { values, errors } = checkEnv(schema, env, plugin);
  if (errors[0] !== undefined) throw errors[0];
  return values;
};

/** One entry of `env` in a managed plugin's config. */
export interface EnvEntry {
  readonly name: string;
  readonly description: string;
  readonly settable: readonly ['value'];
  readonly value: string;
}

export interface Description {
  /** Rows of a Markdown table: name, what may be written, default, meaning. */
  readonly rows: readonly (readonly [name: string, allowed: string, fallback: string, help: string])[];
  readonly env: readonly EnvEntry[];
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

/** The schema in words, for documents, and as the environment of a managed plugin. */
export const describe = (schema: Schema, as: 'setting' | 'option' = 'option'): Description => {
  const all = Object.entries(schema).map(([name, known]) => {
    const fallback = known.spec.default === undefined ? '' : known.format(known.spec.default);
    return { name: as === 'setting' ? envName(name, known) : name, variable: envName(name, known), known, fallback };
  });
  return {
    rows: all.map(({ name, known, fallback }) => [
      `\`${name}\``,
      cell(known.allowed),
      fallback === '' ? '' : `\`${cell(fallback)}\``,
      cell(`${known.spec.help}${known.spec.sensitive === true ? ' Never shown.' : ''}`),
    ]),
    env: all.map(({ variable, known, fallback }) => ({
      name: variable,
      description: `${known.spec.help} Allowed: ${known.allowed}.`,
      settable: ['value'],
      value: known.spec.sensitive === true ? '' : fallback,
    })),
  };
};

/** The rows of `describe` as a Markdown table. */
export const markdownTable = (schema: Schema, as: 'setting' | 'option' = 'option'): string =>
  [
    `| ${as === 'setting' ? 'Setting' : 'Option'} | Allowed | Default | Meaning |`,
    '|---|---|---|---|',
    ...describe(schema, as).rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');

/** Values as text by name, for logs and status: sensitive ones are hidden, those without a value are left out. */
export const redact = <S extends Schema>(schema: S, values: Parsed<S>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(schema).flatMap(([name, known]): [string, string][] => {
      const value: unknown = values[name];
      if (value === undefined || value === null) return [];
      return [[name, known.spec.sensitive === true ? REDACTED : known.format(value)]];
    }),
  );
