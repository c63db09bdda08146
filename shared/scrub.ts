/** Takes secrets out of text that may reach a log, an error or a status. */

const SENSITIVE_KEY =
  /pass(word|wd|phrase)?$|secret|token|credential|authorization|cookie|(private|access|secret|api)[-_]?key/i;

/** Does a field, header or setting of this name hold something that must never be printed? */
export const isSensitiveName = (name: string): boolean => SENSITIVE_KEY.test(name);

export const REDACTED = '***';

/**
 * Replaces passwords in URLs, bearer tokens and `password=…` pairs. Every repetition is bounded: hostile text of any
 * length takes time in proportion to its length.
 */
export const scrub = (text: string): string =>
  text
    .replace(/(\b[a-z][a-z0-9+.-]{0,20}:\/\/[^\s/:@]{0,200}):[^\s/]{1,200}@/gi, `$1:${REDACTED}@`)
    .replace(/\b(bearer|basic)[ \t]{1,4}[a-z0-9._~+/=-]{8,}/gi, `$1 ${REDACTED}`)
    .replace(
      /((?:password|passwd|secret|token|access[-_]?key)[\w.-]{0,40}["']?\s{0,4}[=:]\s{0,4}["']?)[^\s"',;&]+/gi,
      `$1${REDACTED}`,
    );
