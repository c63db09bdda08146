import { PluginError } from '../shared/errors.ts';
import { parseOptions, type Schema } from '../shared/options.ts';
import { REDACTED } from '../shared/scrub.ts';
import type { Backend } from './backends/backend.ts';

/** The option that chooses the back-end; the others are the back-end's. */
const TYPE = 'type';

export interface AskedVolume {
  readonly type: string;
  /** In canonical form; what was left out is not there. */
  readonly options: Readonly<Record<string, string>>;
}

/**
 * Reads `-o` options by the schema of their type. Errors: VOLUME_TYPE, OPTION_UNKNOWN (with the nearest known one),
 * OPTION_INVALID.
 */
export function readOptions(
  volume: string,
  given: Readonly<Record<string, string>>,
  backends: ReadonlyMap<string, Pick<Backend, 'schema'>>,
  usual: string,
): AskedVolume {
  const { [TYPE]: type = usual, ...rest } = given;
  const schema = backends.get(type)?.schema;
  if (schema === undefined) {
    const known = [...backends.keys()].join(', ') || 'none';
    throw new PluginError('VOLUME_TYPE', { volume, reason: `this host has no volumes of type ${type}`, known });
  }
  const values: Readonly<Record<string, unknown>> = parseOptions(schema, rest, 'volume option');
  const canonical = Object.keys(rest)
    .sort()
    .map((name): [string, string] => {
      const value = values[name];
      return [name, value === undefined || value === null ? '' : (schema[name]?.format(value) ?? '')];
    });
  return { type, options: Object.fromEntries(canonical) };
}

/** How two volumes of one name differ, in words for VOLUME_EXISTS; undefined when they do not. */
export function differences(asked: AskedVolume, existing: AskedVolume, schema: Schema | undefined): string | undefined {
  if (asked.type !== existing.type) return `type=${existing.type}, not ${asked.type}`;
  const names = [...new Set([...Object.keys(asked.options), ...Object.keys(existing.options)])].sort();
  const found = names.flatMap((name) => {
    const known = schema?.[name];
    // What one side leaves out is its default.
    const fallback = known?.spec.default === undefined ? undefined : known.format(known.spec.default);
    const [mine, theirs] = [asked.options[name] ?? fallback, existing.options[name] ?? fallback];
    if (mine === theirs) return [];
    const show = (value: string | undefined): string =>
      value === undefined ? 'nothing' : known?.spec.sensitive === true ? REDACTED : value;
    return [`${name}=${show(theirs)}, not ${show(mine)}`];
  });
  return found.length === 0 ? undefined : found.join('; ');
}
