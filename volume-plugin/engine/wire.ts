import type { LogLevel } from '../../shared/log.ts';
import type { StoreDescription } from '../object/description.ts';

/**
 * What the driver and the engine of a volume tell each other. In the engine's folder:
 *
 *     options.json   what the engine is to be; for root's eyes only, for it has the keys of the store
 *     control.sock   JSON lines: a request, and its answers
 *     clean          the last engine has left nothing that is not in the store; absent while one runs, and after a crash
 */

export const OPTIONS_FILE = 'options.json';
export const CONTROL_SOCKET = 'control.sock';
export const CLEAN_FILE = 'clean';

/** Of the form of options.json. */
export const FORMAT = 1;

export const CONSISTENCIES = ['close-to-open', 'strict', 'relaxed'] as const;
export const DURABILITIES = ['server', 'local'] as const;
export const ATTRIBUTES = ['listed', 'objects'] as const;

/** What an engine is to be. */
export interface EngineOptions {
  readonly format: typeof FORMAT;
  readonly volume: string;
  /** Tells it from others that have had the name. */
  readonly uuid: string;
  /** This host: random and made once, and its name for people. */
  readonly host: { readonly id: string; readonly name: string };
  /** The driver's name of the bucket. */
  readonly bucket: string;
  readonly store: StoreDescription;
  /** Keys of the volume begin with it; empty, or with a slash at its end. */
  readonly prefix: string;
  readonly readonly: boolean;
  readonly access: 'many' | 'single-writer';
  readonly consistency: (typeof CONSISTENCIES)[number];
  readonly durability: (typeof DURABILITIES)[number];
  readonly attributes: (typeof ATTRIBUTES)[number];
  /** Of objects that do not say. */
  readonly uid: number;
  readonly gid: number;
  readonly fileMode: number;
  readonly dirMode: number;
  /** Bytes of the local disk, and of memory beside what Node itself takes. */
  readonly cacheBytes: number;
  readonly memoryBytes: number;
  /** Milliseconds for which a writer waits for a store that does not answer. */
  readonly retryMs: number;
  readonly logLevel: LogLevel;
}

/** For `docker volume inspect`: plain numbers and texts. */
export type EngineStatus = Readonly<Record<string, string | number | boolean>>;

/** What waits for the store. */
export interface Left {
  readonly bytes: number;
  readonly files: number;
}

/** `drain` is answered by `left` now and then, and by `done` when everything is in the store; `end` by nothing but the engine's end. */
export type ControlAct = 'status' | 'drain' | 'end';

export interface ControlRequest {
  readonly id: number;
  readonly act: ControlAct;
}

export interface ControlAnswer {
  readonly id: number;
  readonly status?: EngineStatus;
  readonly left?: Left;
  readonly done?: true;
  readonly error?: string;
}

/** Answers undefined for what is none of these messages. */
export const readMessage = (line: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const found: unknown = JSON.parse(line);
    return typeof found === 'object' && found !== null && !Array.isArray(found)
      ? (found as Readonly<Record<string, unknown>>)
      : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

export const writeMessage = (message: ControlRequest | ControlAnswer): string => `${JSON.stringify(message)}\n`;

const isOneOf = <T extends string>(value: unknown, of: readonly T[]): value is T => of.some((one) => one === value);

/** Reads what the driver has written. @throws Error when it is not that, or is of another version. */
export const readEngineOptions = (text: string): EngineOptions => {
  const found = readMessage(text);
  if (found === undefined || found['format'] !== FORMAT) throw new Error('options.json is of another version');
  const { volume, prefix, store, consistency, durability, attributes } = found;
  const isRight =
    typeof volume === 'string' &&
    typeof prefix === 'string' &&
    (prefix === '' || prefix.endsWith('/')) &&
    typeof store === 'object' &&
    isOneOf(consistency, CONSISTENCIES) &&
    isOneOf(durability, DURABILITIES) &&
    isOneOf(attributes, ATTRIBUTES);
  if (!isRight) throw new Error('options.json is damaged');
  // Written by the same version of this code: the rest is what its types say.
  return found as unknown as EngineOptions;
};

/** Calls `onLine` with each whole line of a stream of text. */
export const lineReader = (onLine: (line: string) => void): ((text: string) => void) => {
  let begun = '';
  return (text) => {
    const lines = `${begun}${text}`.split('\n');
    begun = lines.pop() ?? '';
    for (const line of lines) if (line !== '') onLine(line);
  };
};
