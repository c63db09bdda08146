/** Every error that a user of Drayage can see: one table of codes, texts and fixes, in parts by subject. */
import { COMMON_ERRORS } from './error-table/common.ts';
import type { RetryClass } from './error-table/entry.ts';
import { NETWORK_ERRORS } from './error-table/networks.ts';
import { VOLUME_ERRORS } from './error-table/volumes.ts';
import { scrub } from './scrub.ts';

export type { RetryClass } from './error-table/entry.ts';

export const ERRORS = { ...COMMON_ERRORS, ...NETWORK_ERRORS, ...VOLUME_ERRORS } as const;

export type ErrorCode = keyof typeof ERRORS;
export type ErrorContext = Record<string, string | number | undefined>;

const LONGEST_VALUE = 300;

/** One line of limited length and without secrets or control characters, so that no value can break out of a sentence. */
const clean = (value: string | number): string => {
  // Cut before the patterns see it: a value may be a megabyte of a request.
  const line = scrub(String(value).slice(0, 10 * LONGEST_VALUE))
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return line.length > LONGEST_VALUE ? `${line.slice(0, LONGEST_VALUE)}…` : line;
};

const fill = (template: string, context: ErrorContext): string =>
  template
    .split(/(\[[^\]]*\])/)
    .map((part) => {
      const optional = part.startsWith('[');
      let missing = false;
      const text = (optional ? part.slice(1, -1) : part).replace(/\{(\w+)\}/g, (_, name: string) => {
        const value = context[name];
        missing ||= value === undefined || value === '';
        return value === undefined ? 'unknown' : clean(value) || '""';
      });
      return optional && missing ? '' : text;
    })
    .join('')
    // A value that ends in a mark of its own must not give two.
    .replace(/([.?!]"?)\.(?=\s|$)/g, '$1')
    .trim();

/** An error whose text may be shown to a user. The cause is for the log only. */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  readonly code: ErrorCode;
  readonly context: Readonly<ErrorContext>;
  readonly retry: RetryClass;
  readonly requestId: string | undefined;

  constructor(
    code: ErrorCode,
    context: ErrorContext = {},
    options: { cause?: unknown; requestId?: string | undefined } = {},
  ) {
    super(
      `${code}: ${fill(ERRORS[code].text, context)}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.context = context;
    this.retry = ERRORS[code].retry;
    this.requestId = options.requestId;
  }

  /** What the user can do about it: one sentence. */
  get fix(): string {
    return fill(ERRORS[this.code].fix, this.context);
  }

  /** `CODE: what happened. What to do. [req 7f3a]` */
  toUserText(requestId: string | undefined = this.requestId): string {
    return `${this.message} ${this.fix}${requestId === undefined ? '' : ` [req ${requestId}]`}`;
  }
}

/** Anything that was thrown, as a PluginError. Foreign errors become INTERNAL: their text stays in the log (as cause). */
export const asPluginError = (thrown: unknown): PluginError => {
  if (thrown instanceof PluginError) return thrown;
  if (thrown instanceof Error) {
    // Node wraps the reason of an AbortSignal; what aborted is what happened.
    if (thrown.name === 'AbortError' && thrown.cause instanceof PluginError) return thrown.cause;
    const code: unknown = 'code' in thrown ? thrown.code : undefined;
    // Codes such as ENOSPC are safe to show and often all that one needs to know.
    const reason = typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : undefined;
    return new PluginError('INTERNAL', { reason }, { cause: thrown });
  }
  return new PluginError('INTERNAL', {}, { cause: thrown });
};
