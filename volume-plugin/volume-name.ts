import { PluginError } from '../shared/errors.ts';

/** Docker's own rule for names; it does not hold plugins' volumes to it. */
const ALLOWED = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const LONGEST = 128;
/** What Docker calls a volume that nobody named. */
const ANONYMOUS = /^[0-9a-f]{64}$/;

/** Why this cannot be a volume's name (which becomes a folder's and a tag); undefined when it can. */
export function nameProblem(name: string): string | undefined {
  if (name.length < 2) return 'it is too short';
  if (name.length > LONGEST) return `it is longer than ${LONGEST} characters`;
  if (name.includes('/')) return 'it has a slash';
  if (/\p{Cc}/u.test(name)) return 'it has control characters';
  if (!/^[a-zA-Z0-9]/.test(name)) return 'it does not begin with a letter or a digit';
  return ALLOWED.test(name) ? undefined : 'it has characters that are not allowed';
}

/** Throws VOLUME_NAME. */
export function checkName(name: string): void {
  const reason = nameProblem(name);
  if (reason !== undefined) throw new PluginError('VOLUME_NAME', { volume: name, reason });
}

/** A name that Docker made up for a volume that nobody named. */
export const isAnonymous = (name: string): boolean => ANONYMOUS.test(name);
