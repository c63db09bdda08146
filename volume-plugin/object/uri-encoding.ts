import { StoreError } from './store.ts';

const PLAIN = /^[A-Za-z0-9\-._~]*$/;
const PLAIN_PATH = /^[A-Za-z0-9\-._~/]*$/;
const LEFT_ALONE = /[!'()*]/g;

const percent = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;

/** Every byte but A-Z a-z 0-9 - . _ ~ as %XX, as RFC 3986 has it and all signers want it. Errors: INVALID for half a pair. */
export const encodeComponent = (text: string): string => {
  if (PLAIN.test(text)) return text;
  if (!text.isWellFormed()) throw new StoreError('INVALID', 'the name is no Unicode text');
  return encodeURIComponent(text).replace(LEFT_ALONE, percent);
};

/** The same, with slashes left as they are: two in a row, `.` and `..` too, for keys are not paths. */
export const encodePath = (text: string): string =>
  PLAIN_PATH.test(text) ? text : encodeComponent(text).replaceAll('%2F', '/');
