import { writeSync } from 'node:fs';
import { isSensitiveName, REDACTED, scrub } from './scrub.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFields = Record<string, unknown>;

/** Structured log. The only place where stacks may appear; never secrets. */
export interface Logger {
  readonly level: LogLevel;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  child(fields: LogFields): Logger;
}

const DEEPEST = 6;
const LONGEST_TEXT = 8_000;
const LONGEST_LIST = 200;

/** A value as plain JSON: secrets redacted, errors with stack and cause, cycles and depth cut. */
export const loggable = (value: unknown, depth = 0, parents: readonly object[] = []): unknown => {
  if (typeof value === 'string') {
    return scrub(value.length > LONGEST_TEXT ? `${value.slice(0, LONGEST_TEXT)}…` : value);
  }
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return String(value).slice(0, 80);
  if (typeof value !== 'object' || value === null) return value;
  if (parents.includes(value)) return '[circular]';
  if (depth >= DEEPEST) return '[deep]';
  const inner = (item: unknown): unknown => loggable(item, depth + 1, [...parents, value]);
  if (value instanceof Error) {
    const own = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, field(key, item, inner)]));
    return {
      ...own,
      name: value.name,
      message: scrub(value.message),
      stack: value.stack === undefined ? undefined : scrub(value.stack),
      ...(value.cause === undefined ? {} : { cause: inner(value.cause) }),
    };
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Map) return inner(Object.fromEntries(value));
  if (value instanceof Set) return inner([...value]);
  if (Array.isArray(value)) {
    const items = value.slice(0, LONGEST_LIST).map(inner);
    return value.length > LONGEST_LIST ? [...items, `… ${value.length - LONGEST_LIST} more`] : items;
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, field(key, item, inner)]));
};

const field = (key: string, item: unknown, inner: (item: unknown) => unknown): unknown =>
  isSensitiveName(key) && item !== undefined && item !== null && item !== '' ? REDACTED : inner(item);

/**
 * A writer to stderr that never throws: while the Docker daemon is away nobody reads the log of a plugin, and a plugin
 * that ended because of that would take its containers' network with it. Lost lines are counted in the next line.
 */
const stderrWriter = (): ((line: string) => void) => {
  let lost = 0;
  return (line) => {
    try {
      writeSync(
        2,
        lost === 0 ? line : `${JSON.stringify({ level: 'warn', message: 'log lines were lost', lost })}\n${line}`,
      );
      lost = 0;
    } catch {
      lost += 1;
    }
  };
};

/**
 * JSON lines (`time`, `level`, `message`, then the fields), by default to stderr, where the engine collects them.
 * `write` gets each line with its line feed.
 */
export const createLogger = (options: {
  level: LogLevel;
  write?: (line: string) => void;
  fields?: LogFields;
}): Logger => {
  const { level, write = stderrWriter(), fields: base = {} } = options;
  const threshold = LOG_LEVELS.indexOf(level);
  const at =
    (own: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (LOG_LEVELS.indexOf(own) < threshold) return;
      const plain = loggable({ ...base, ...fields }) as LogFields;
      write(
        `${JSON.stringify({ time: new Date().toISOString(), level: own, message: scrub(message.slice(0, LONGEST_TEXT)), ...plain })}\n`,
      );
    };
  return {
    level,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => createLogger({ level, write, fields: { ...base, ...fields } }),
  };
};

const nothing = (): void => undefined;

/** Says nothing: for tests and for commands that print by other means. */
export const silentLogger: Logger = {
  level: 'error',
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silentLogger,
};
