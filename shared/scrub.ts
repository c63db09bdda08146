/** Takes secrets out of text that may reach a log, an error or a status. */

const SENSITIVE_KEY =
  /pass(word|wd|phrase)?$|secret|token|credential|authorization|cookie|(private|access|secret|api)[-_]?key/i;

/** Does a field, header or setting of this name hold something that must never be printed? */
export const isSensitiveName = (name: string): boolean => SENSITIVE_KEY.test(name);

export const REDACTED = '***';

/** Replaces passwords in URLs, bearer tokens and `password=…` pairs. */
export const scrub = (text: string): string =>
  text
    .replace(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi, `$1:${REDACTED}@`)
    .replace(/\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}/gi, `$1 ${REDACTED}`)
    .replace(
      /\b([\w.-]*(?:password|passwd|secret|token|access[-_]?key)[\w.-]*["']?\s*[=:]\s*["']?)[^\s"',;&]+/gi,
      `$1${REDACTED}`,
    );
