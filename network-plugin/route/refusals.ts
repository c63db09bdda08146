import { type ErrorCode, PluginError } from '../../shared/errors.ts';

/** The prefix is somebody else's: asking again for the same one changes nothing, another one may be free. */
const TAKEN: ReadonlySet<ErrorCode> = new Set(['PREFIX_OWNED', 'PREFIX_OVERLAP', 'PREFIX_IS_LOCAL', 'ROUTE_CONFLICT']);
/** The call as a whole was refused: nothing was written by it. */
const REFUSED: ReadonlySet<ErrorCode> = new Set([
  ...TAKEN,
  'NODE_NAME_TAKEN',
  'PROVIDER_AUTH',
  'PROVIDER_PERMISSION',
  'PROVIDER_REFUSED',
  'QUOTA_EXCEEDED',
  'ROUTE_TABLE_MISSING',
]);

const isOneOf = (codes: ReadonlySet<ErrorCode>, error: unknown): error is PluginError =>
  error instanceof PluginError && codes.has(error.code);

/** Too much is going on at the provider: asking again later may do. */
const BUSY: ReadonlySet<ErrorCode> = new Set(['DEADLINE', 'PROVIDER_THROTTLED']);

export const isBusy = (error: unknown): error is PluginError => isOneOf(BUSY, error);
export const isTaken = (error: unknown): error is PluginError => isOneOf(TAKEN, error);
export const isRefused = (error: unknown): error is PluginError => isOneOf(REFUSED, error);
export const isMissingTable = (error: unknown): error is PluginError =>
  error instanceof PluginError && error.code === 'ROUTE_TABLE_MISSING';
