/** Actions and their parameters, read strictly: what the vendor does not know, or would silently ignore, is refused. */
import { type ApiCall, ApiError } from '../core/api.ts';

export type Parameters = Readonly<Record<string, string>>;

/** Who asks, for what depends on it. */
export interface Asker {
  readonly requestId: string;
  /** Access key id. */
  readonly caller: string;
}

type Answer = Readonly<Record<string, unknown>>;

/** One action. Names may have `N` for a number from 1: `RouteEntries.N.NextHop`. */
export interface Action {
  readonly required: readonly string[];
  readonly optional: readonly string[];
  perform(parameters: Parameters, asker: Asker): Answer | Promise<Answer>;
}

export type Actions = Readonly<Record<string, Action>>;

/** Taken by every action and without effect here. */
const IGNORED = ['OwnerAccount', 'OwnerId', 'RegionId', 'ResourceOwnerAccount', 'ResourceOwnerId'];

const patternOf = (name: string): RegExp =>
  new RegExp(`^${name.replaceAll('.', '\\.').replace(/\bN\b/g, '[1-9]\\d*')}$`);

/** Refuses what lacks a parameter, has one that the action does not know, or asks for another region. */
export function checkNames(action: Action, call: ApiCall, region: string): void {
  const given = Object.keys(call.parameters);
  for (const name of action.required) {
    if (!given.some((one) => patternOf(name).test(one) && call.parameters[one] !== '')) {
      throw new ApiError(`Missing${name.split('.')[0]}`, `${name.split('.')[0]} is mandatory for this action.`);
    }
  }
  const known = [...action.required, ...action.optional, ...IGNORED].map(patternOf);
  const stray = given.find((name) => !known.some((pattern) => pattern.test(name)));
  if (stray !== undefined) {
    // The real service ignores it in silence; a test should not.
    throw new ApiError('InvalidParameter', `The simulator knows no parameter ${stray} of ${call.action}.`);
  }
  const asked = call.parameters.RegionId;
  if (asked !== undefined && asked !== region) {
    throw new ApiError('InvalidRegionId.NotFound', 'The specified RegionId does not exist.', 404);
  }
}

/** A whole number within limits; refused with `Invalid<name>` otherwise. */
export function integer(
  parameters: Parameters,
  name: string,
  limits: { min: number; max: number; usual: number },
): number {
  const text = parameters[name];
  if (text === undefined || text === '') return limits.usual;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= limits.min && value <= limits.max) return value;
  throw new ApiError(`Invalid${name}`, `Specified parameter ${name} is not valid.`);
}

export const flag = (parameters: Parameters, name: string): boolean => parameters[name]?.toLowerCase() === 'true';

/** `Name.1.Key`, `Name.2.Key` … as objects, in order; the vendor refuses gaps. */
export function records(parameters: Parameters, name: string): Record<string, string>[] {
  const found: Record<string, string>[] = [];
  for (let n = 1; ; n += 1) {
    const prefix = `${name}.${n}.`;
    const fields = Object.entries(parameters).filter(([key]) => key.startsWith(prefix));
    if (fields.length === 0) return found;
    found.push(Object.fromEntries(fields.map(([key, value]) => [key.slice(prefix.length), value])));
  }
}

/** `Name.1`, `Name.2` … */
export function values(parameters: Parameters, name: string): string[] {
  const found: string[] = [];
  for (let n = 1; parameters[`${name}.${n}`] !== undefined; n += 1) found.push(parameters[`${name}.${n}`] ?? '');
  return found;
}

/** A JSON array of strings in one parameter; undefined when it is absent. Refused with `Invalid<name>.Malformed`. */
export function jsonList(parameters: Parameters, name: string): string[] | undefined {
  const text = parameters[name];
  if (text === undefined || text === '') return undefined;
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((one) => typeof one === 'string') && list.length <= 100) return list;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new ApiError(`Invalid${name}.Malformed`, `The specified parameter "${name}" is not valid.`);
}

/** One page by number, with the fields that go around it. */
export function numbered<T>(parameters: Parameters, all: readonly T[], limits: { max: number; usual: number }) {
  const size = integer(parameters, 'PageSize', { min: 1, ...limits });
  const number = integer(parameters, 'PageNumber', { min: 1, max: 1_000_000, usual: 1 });
  const page = all.slice((number - 1) * size, number * size);
  return { page, around: { TotalCount: all.length, PageNumber: number, PageSize: size } };
}

/** One page by token. Tokens name the last item, so that what is deleted in between neither hides nor repeats others. */
export function tokened<T>(
  parameters: Parameters,
  all: readonly T[],
  how: { id(item: T): string; size: number; bad(): ApiError },
): { readonly page: T[]; readonly next: string } {
  const token = parameters.NextToken ?? '';
  const [order = '', ...rest] = Buffer.from(token, 'base64url').toString('utf8').split(' ');
  const after = rest.join(' ');
  if (token !== '' && (order !== 'after' || after === '')) throw how.bad();
  const start = token === '' ? 0 : all.findIndex((item) => how.id(item) > after);
  const page = start < 0 ? [] : all.slice(start, start + how.size);
  const last = page.at(-1);
  const more = start >= 0 && start + how.size < all.length && last !== undefined;
  return { page, next: more ? Buffer.from(`after ${how.id(last)}`).toString('base64url') : '' };
}

/** The ids in a comma-separated parameter; none when it is absent. */
export const listed = (text = ''): string[] => text.split(',').filter((one) => one !== '');
